// SPDX-License-Identifier: Apache-2.0

// A helper program that does what its FILE says, for tests of datasets/helper.h.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "readers/serve.h"

namespace silurus::readers {
namespace {

/// Boxes with corners at their id. What `end` says happens after the last one.
class Boxes final : public Reader<2> {
 public:
  Boxes(std::uint64_t count, std::string end) : count_(count), end_(std::move(end)) {}

  Result<std::size_t> read(std::span<rtree::Entry<2>> batch) override {
    if (next_ == count_ && end_ == "crash") ::raise(SIGKILL);
    if (next_ == count_ && end_ == "fail") return fail(ErrorCode::kProtocol, "no more");
    const std::size_t count = std::min<std::uint64_t>(batch.size(), count_ - next_);
    for (auto& entry : batch.first(count)) {
      const auto at = static_cast<double>(next_);
      entry = {next_++, {{at, at}, {at, at}}};
    }
    if (count > 0 && end_ == "lie") batch[0].box.min[0] = std::numeric_limits<double>::quiet_NaN();
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return count_; }
  std::vector<Note> notes() const override {
    if (end_ != "notes") return {};
    return {{NoteKind::kDescription, "boxes, as they were asked for"},
            {NoteKind::kHint, "in two\nlines"}};
  }
  std::uint64_t skipped() const override { return end_ == "notes" ? 7 : 0; }
  std::string first_skipped() const override { return "the first was bad"; }

 private:
  std::uint64_t count_;
  std::string end_;
  std::uint64_t next_ = 0;
};

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 64; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

constexpr long kNoCall = 5000;  // number of a system call that only a later kernel may have
constexpr std::size_t kPageBytes = 4096;

/// What a reader that was taken over would try, as "what:errno", errno 0 for a success.
std::string attempts(const std::string& path) {
  std::string text;
  const auto tried = [&](const char* what, bool is_done) {
    text += std::string(what) + ":" + std::to_string(is_done ? 0 : errno) + " ";
  };
  tried("read", ::open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0);
  tried("read-other", ::open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
  tried("write", ::open(path.c_str(), O_WRONLY | O_CLOEXEC) >= 0);
  tried("truncate", ::truncate(path.c_str(), 0) == 0);
  tried("chmod", ::chmod(path.c_str(), S_IRUSR | S_IWUSR) == 0);
  tried("times", ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0);
  tried("signal", ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0) == 0);
  tried("own-signal", ::syscall(SYS_tgkill, ::getpid(), ::getpid(), 0) == 0);
  rlimit limit = {};
  tried("limit", ::prlimit(::getppid(), RLIMIT_CPU, nullptr, &limit) == 0);
  tried("own-limit", ::getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_max != RLIM_INFINITY);
  tried("socket", ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
  tried("remove", ::unlink(path.c_str()) == 0);
  tried("folder", ::mkdir((path + ".d").c_str(), S_IRWXU) == 0);
  tried("unknown-call", ::syscall(kNoCall) >= 0);
  tried("code", ::mmap(nullptr, kPageBytes, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0) != MAP_FAILED);
  void* page = ::mmap(nullptr, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  tried("page", page != MAP_FAILED);
  tried("page-to-code", ::mprotect(page, kPageBytes, PROT_READ | PROT_EXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  tried("fork", child >= 0);
  char name[] = "/bin/true";
  char* arguments[] = {name, nullptr};
  char* none[] = {nullptr};
  tried("exec", ::execve(name, arguments, none) == 0);
  tried("memory", ::mmap(nullptr, std::size_t{3} << 30, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
  return text + "variables:" + (std::getenv("HOME") != nullptr ? "many" : "few");
}

/// FILE: any folder, then "boxes-COUNT", "crash-COUNT", "fail-COUNT", "lie-COUNT", "notes-COUNT"
/// after that many boxes, or what shall happen while it is opened.
Result<std::unique_ptr<Reader<2>>> open_test(const Request& request) {
  const std::string& path = request.path;
  const std::string word = path.substr(path.rfind('/') + 1);
  if (word == "crash") ::raise(SIGKILL);
  if (word == "abort") std::fputs("corrupted\n\tlist\n", stderr), std::abort();
  if (word == "print") std::puts("a library prints"), std::fflush(stdout);
  if (word == "quit") ::_exit(0);
  if (word == "descriptors") {
    return fail(ErrorCode::kNotFound, std::to_string(open_descriptors()));
  }
  if (word.starts_with("attempts")) return fail(ErrorCode::kNotFound, attempts(path));
  const std::size_t dash = word.find('-');
  std::uint64_t count = 3;
  if (dash != std::string::npos) {
    std::from_chars(word.data() + dash + 1, word.data() + word.size(), count);
  }
  return std::make_unique<Boxes>(count, word.substr(0, dash));
}

}  // namespace
}  // namespace silurus::readers

int main(int argc, char** argv) {
  silurus::readers::serve(argc, argv, silurus::readers::open_test, nullptr);
}
