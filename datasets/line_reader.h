#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus::datasets {

/// Reads a text file, or standard input, line by line with bounded memory. One owner, one thread.
class LineReader {
 public:
  /// No line of any format that we read is longer.
  static constexpr std::size_t kMaxLineBytes = 4096;

  struct Line {
    std::string_view text;     ///< without its end (LF or CRLF); valid until the next call
    bool is_end = false;       ///< there was no further line
    bool is_too_long = false;  ///< over kMaxLineBytes: passed over, text is its beginning
  };

  /// "-" is standard input. kNotFound, kPermission, kIo.
  static Result<LineReader> open(const std::string& path);

  Result<Line> next();
  /// Of the line that next() returned last; the first is 1.
  std::uint64_t line_number() const { return line_number_; }
  /// "points.csv", "standard input": for messages.
  const std::string& name() const { return name_; }
  std::uint64_t bytes_read() const { return bytes_read_; }
  /// 0 if unknown (a pipe).
  std::uint64_t bytes_total() const { return bytes_total_; }

 private:
  /// Owns a file descriptor, unless it is standard input.
  class Descriptor {
   public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor();
    int get() const { return fd_; }

   private:
    int fd_;
  };

  LineReader(Descriptor fd, std::string name, std::uint64_t bytes_total);
  Status fill();
  Result<Line> pass_over_long_line();

  static constexpr std::size_t kBufferBytes = 1 << 18;
  static_assert(kBufferBytes > 2 * kMaxLineBytes);

  Descriptor fd_;
  std::string name_;
  std::uint64_t bytes_total_;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t line_number_ = 0;
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;  // of what has not been handed out
  std::size_t end_ = 0;
  bool is_at_end_ = false;  // of the file: nothing follows the buffer
  std::string long_line_;
};

}  // namespace silurus::datasets
