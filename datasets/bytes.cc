// SPDX-License-Identifier: Apache-2.0

#include "datasets/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "datasets/helper.h"

namespace silurus::datasets {
namespace {

ErrorCode code_of_open(int error) {
  if (error == ENOENT || error == ENOTDIR) return ErrorCode::kNotFound;
  return error == EACCES ? ErrorCode::kPermission : ErrorCode::kIo;
}

/// A file, a pipe or standard input, as it lies there. Owns its descriptor.
class PlainBytes final : public Bytes {
 public:
  PlainBytes(int fd, std::string name, std::uint64_t total)
      : fd_(fd), name_(std::move(name)), total_(total) {}
  PlainBytes(const PlainBytes&) = delete;
  PlainBytes& operator=(const PlainBytes&) = delete;
  ~PlainBytes() override {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }

  Result<std::size_t> read(std::span<char> into) override {
    ssize_t count = 0;
    do {
      count = ::read(fd_, into.data(), into.size());
    } while (count < 0 && errno == EINTR);
    if (count < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + name_, errno));
    done_ += static_cast<std::uint64_t>(count);
    return static_cast<std::size_t>(count);
  }
  Progress progress() const override { return {done_, total_}; }

 private:
  int fd_;
  std::string name_;
  std::uint64_t done_ = 0;
  std::uint64_t total_;
};

}  // namespace

Result<std::unique_ptr<Bytes>> open_bytes(const std::string& path) {
  const bool is_stdin = path == "-";
  const int fd = is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(code_of_open(errno), "cannot open " + path, errno));
  struct stat info = {};
  const bool is_known = ::fstat(fd, &info) == 0;
  const std::uint64_t total =
      is_known && S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  auto bytes = std::make_unique<PlainBytes>(fd, is_stdin ? "standard input" : path, total);
  if (!is_known) return fail(errno_error(ErrorCode::kIo, "cannot look at " + path, errno));
  if (S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is a directory: name a file");
  }
  if (!is_stdin && format_of(first_bytes_of(path)) == FileFormat::kGzip) {
    return unpack_with_helper({"silurus-read-gzip"}, path);
  }
  return bytes;
}

}  // namespace silurus::datasets
