#include "datasets/isolated.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace silurus::datasets {
namespace {

using rtree::Entry;

constexpr rlim_t kMaxCpuSeconds = 120;
constexpr std::size_t kBatchEntries = 4096;
constexpr std::size_t kMaxText = 4096;
constexpr int kChildPipe = 3;  // in the child, behind the standard descriptors

enum class FrameKind : std::uint32_t {
  kOpened = 1,   ///< count: entries in all plus 1, 0 if unknown
  kEntries = 2,  ///< count entries follow
  kFailed = 3,   ///< code; count bytes of text follow
  kEnd = 4,
};

/// What goes through the pipe between child and parent: same program, same machine.
struct Frame {
  FrameKind kind;
  std::uint32_t code;
  std::uint64_t count;
};
static_assert(sizeof(Frame) == 16 && std::is_trivially_copyable_v<Entry<3>>);

bool write_all(int fd, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = ::write(fd, bytes, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

bool read_all_bytes(int fd, void* data, std::size_t size) {
  auto* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = ::read(fd, bytes, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

/// Keeps nothing of the parent but the pipe, as descriptor 3; what a dying library prints is for
/// nobody.
void leave_parent_behind(int pipe) {
  if (pipe != kChildPipe) ::dup2(pipe, kChildPipe);
  ::close_range(kChildPipe + 1, ~0u, 0);
  const int null = ::open("/dev/null", O_RDWR);
  if (null >= 0) {
    for (int fd = 0; fd < kChildPipe; ++fd) ::dup2(null, fd);
    ::close(null);
  }
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const rlimit cpu = {kMaxCpuSeconds, kMaxCpuSeconds};
  ::setrlimit(RLIMIT_CPU, &cpu);
  for (const int signal : {SIGPIPE, SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGTERM, SIGXCPU}) {
    ::signal(signal, SIG_DFL);
  }
}

void send_error(int fd, const Error& error) {
  const std::string_view text = std::string_view(error.message).substr(0, kMaxText);
  const Frame frame = {FrameKind::kFailed, static_cast<std::uint32_t>(error.code), text.size()};
  if (write_all(fd, &frame, sizeof frame)) write_all(fd, text.data(), text.size());
}

/// The child's whole life.
template <int D>
void serve(int fd, const std::function<Result<std::unique_ptr<Source<D>>>()>& open) {
  auto source = open();
  if (!source) return send_error(fd, source.error());
  const auto total = (*source)->total_entries();
  Frame frame = {FrameKind::kOpened, 0, total ? *total + 1 : 0};
  if (!write_all(fd, &frame, sizeof frame)) return;
  std::vector<Entry<D>> batch(kBatchEntries);
  for (;;) {
    const auto count = (*source)->read(batch);
    if (!count) return send_error(fd, count.error());
    frame = {*count > 0 ? FrameKind::kEntries : FrameKind::kEnd, 0, *count};
    if (!write_all(fd, &frame, sizeof frame) || *count == 0) return;
    if (!write_all(fd, batch.data(), *count * sizeof(Entry<D>))) return;
  }
}

/// The child process and our end of the pipe. Reaps it, by force if need be.
class Child {
 public:
  Child(pid_t pid, int fd) : pid_(pid), fd_(fd) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), fd_(std::exchange(other.fd_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (fd_ >= 0) ::close(fd_);
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    reap();
  }

  int fd() const { return fd_; }

  /// Waits for its end; what it died of.
  std::string reap() {
    int status = 0;
    if (pid_ <= 0) return "is gone";
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    if (WIFSIGNALED(status)) return "died of signal " + std::to_string(WTERMSIG(status));
    return "ended with status " + std::to_string(WEXITSTATUS(status));
  }

 private:
  pid_t pid_;
  int fd_;
};

template <int D>
class IsolatedSource final : public Source<D> {
 public:
  IsolatedSource(std::string name, Child child)
      : name_(std::move(name)), child_(std::move(child)) {}

  /// The child's first word.
  Status start() {
    auto frame = next_frame();
    if (!frame) return fail(frame.error());
    if (frame->kind != FrameKind::kOpened) return crashed();
    if (frame->count > 0) total_ = frame->count - 1;
    return {};
  }

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    if (left_in_frame_ == 0 && !is_at_end_) {
      auto frame = next_frame();
      if (!frame) {
        is_at_end_ = true;
        return fail(frame.error());
      }
      is_at_end_ = frame->kind == FrameKind::kEnd;
      left_in_frame_ = frame->count;
    }
    const std::size_t count = std::min<std::uint64_t>(batch.size(), left_in_frame_);
    if (!read_all_bytes(child_.fd(), batch.data(), count * sizeof(Entry<D>))) {
      is_at_end_ = true;
      left_in_frame_ = 0;
      return crashed();
    }
    // A child whose heap is broken may send anything.
    for (const auto& entry : batch.first(count)) {
      if (!rtree::check_box(entry.box)) return crashed();
    }
    left_in_frame_ -= count;
    done_ += count;
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return total_; }
  Progress progress() const override { return {done_, total_.value_or(0)}; }

 private:
  tl::unexpected<Error> crashed() {
    return fail(ErrorCode::kProtocol, name_ + ": the file is damaged: the process reading it " +
                                          child_.reap() + "; get an intact copy");
  }

  /// A frame that is no error.
  Result<Frame> next_frame() {
    Frame frame{};
    if (!read_all_bytes(child_.fd(), &frame, sizeof frame)) return crashed();
    if (frame.kind == FrameKind::kFailed && frame.count <= kMaxText) {
      std::string text(frame.count, '\0');
      if (!read_all_bytes(child_.fd(), text.data(), text.size())) return crashed();
      return fail(static_cast<ErrorCode>(frame.code), std::move(text));
    }
    const bool is_good = frame.kind == FrameKind::kOpened || frame.kind == FrameKind::kEnd ||
                         (frame.kind == FrameKind::kEntries && frame.count <= kBatchEntries);
    if (!is_good) return crashed();
    return frame;
  }

  std::string name_;
  Child child_;
  std::optional<std::uint64_t> total_;
  std::uint64_t done_ = 0;
  std::uint64_t left_in_frame_ = 0;
  bool is_at_end_ = false;
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> isolate(
    const std::string& name, const std::function<Result<std::unique_ptr<Source<D>>>()>& open) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot make a pipe to read " + name, errno));
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    leave_parent_behind(ends[1]);
    serve<D>(kChildPipe, open);
    ::_exit(0);
  }
  const int fork_errno = errno;
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return fail(errno_error(ErrorCode::kIo, "cannot start a process to read " + name, fork_errno));
  }
  auto source = std::make_unique<IsolatedSource<D>>(name, Child(pid, ends[0]));
  if (auto status = source->start(); !status) return fail(status.error());
  return source;
}

template Result<std::unique_ptr<Source<2>>> isolate<2>(
    const std::string&, const std::function<Result<std::unique_ptr<Source<2>>>()>&);
template Result<std::unique_ptr<Source<3>>> isolate<3>(
    const std::string&, const std::function<Result<std::unique_ptr<Source<3>>>()>&);

}  // namespace silurus::datasets
