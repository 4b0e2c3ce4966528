#include "datasets/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace silurus::datasets {

LineReader::Descriptor::~Descriptor() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
}

LineReader::LineReader(Descriptor fd, std::string name, std::uint64_t bytes_total)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      bytes_total_(bytes_total),
      buffer_(std::make_unique<char[]>(kBufferBytes)) {}

Result<LineReader> LineReader::open(const std::string& path) {
  const bool is_stdin = path == "-";
  Descriptor fd(is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) {
    const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound
                           : errno == EACCES                   ? ErrorCode::kPermission
                                                               : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot look at " + path, errno));
  }
  if (S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is a directory: name a file");
  }
  const auto bytes_total = S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  return LineReader(std::move(fd), is_stdin ? "standard input" : path, bytes_total);
}

/// Reads more behind what is left in the buffer.
Status LineReader::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  for (;;) {
    const ssize_t count = ::read(fd_.get(), buffer_.get() + end_, kBufferBytes - end_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + name_, errno));
    end_ += static_cast<std::size_t>(count);
    bytes_read_ += static_cast<std::uint64_t>(count);
    is_at_end_ = count == 0;
    return {};
  }
}

Result<LineReader::Line> LineReader::pass_over_long_line() {
  long_line_.assign(buffer_.get() + begin_, kMaxLineBytes);
  for (;;) {
    const char* start = buffer_.get() + begin_;
    const auto* newline = static_cast<const char*>(std::memchr(start, '\n', end_ - begin_));
    if (newline != nullptr) {
      begin_ = static_cast<std::size_t>(newline - buffer_.get()) + 1;
      break;
    }
    begin_ = end_;
    if (is_at_end_) break;
    if (auto status = fill(); !status) return fail(status.error());
  }
  return Line{long_line_, false, true};
}

Result<LineReader::Line> LineReader::next() {
  std::size_t searched = 0;  // bytes from begin_ on known to hold no newline
  for (;;) {
    const char* start = buffer_.get() + begin_;
    const std::size_t length = end_ - begin_;
    const auto* newline =
        static_cast<const char*>(std::memchr(start + searched, '\n', length - searched));
    searched = newline != nullptr ? static_cast<std::size_t>(newline - start) : length;
    if (searched > kMaxLineBytes) {
      ++line_number_;
      return pass_over_long_line();
    }
    if (newline != nullptr || (is_at_end_ && length > 0)) {
      ++line_number_;
      std::string_view text(start, searched);
      begin_ += searched + (newline != nullptr ? 1 : 0);
      if (text.ends_with('\r')) text.remove_suffix(1);
      return Line{text, false, false};
    }
    if (is_at_end_) return Line{{}, true, false};
    if (auto status = fill(); !status) return fail(status.error());
  }
}

}  // namespace silurus::datasets
