// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"
#include "datasets/bytes.h"

namespace silurus::datasets {

/// Reads a text file, or standard input, line by line with bounded memory. One owner, one thread.
class LineReader {
 public:
  /// No line of any format that we read is longer, nor a record of several lines.
  static constexpr std::size_t kMaxLineBytes = 1 << 16;

  struct Line {
    std::string_view text;     ///< without its end (LF or CRLF); valid until the next call
    bool is_end = false;       ///< there was no further line
    bool is_too_long = false;  ///< over kMaxLineBytes: passed over, text is its beginning
  };

  /// "-" is standard input. Errors are those of open_bytes(); next() also tells what is not text
  /// (check_is_text()).
  static Result<LineReader> open(const std::string& path);

  Result<Line> next();
  /// The line that next() returned, together with the one behind it: a record that goes on (a
  /// field in quotes may hold a line's end). is_end and is_too_long, both without a text, say that
  /// it does not. May be called again, for one line more.
  Result<Line> extend();
  /// Takes back what extend() did: the next line is the one behind that of next().
  void retreat();

  /// Number of the line that next() returned last; the first is 1.
  std::uint64_t line_number() const { return line_number_; }
  /// "points.csv", "standard input": for messages.
  const std::string& name() const { return name_; }
  Progress progress() const { return bytes_->progress(); }

 private:
  LineReader(std::unique_ptr<Bytes> bytes, std::string name);
  Status fill();
  Result<Line> pass_over_long_line();

  static constexpr std::size_t kBufferBytes = 1 << 18;
  static_assert(kBufferBytes > 2 * kMaxLineBytes);

  std::unique_ptr<Bytes> bytes_;
  std::string name_;
  std::uint64_t line_number_ = 0;
  std::uint64_t more_lines_ = 0;  // that extend() added
  std::unique_ptr<char[]> buffer_;
  std::size_t record_ = 0;          // where the line that next() returned begins
  std::size_t first_line_end_ = 0;  // where the one behind it does
  std::size_t begin_ = 0;           // start of what has not been handed out
  std::size_t end_ = 0;
  bool has_begun_ = false;
  bool is_at_end_ = false;  // the file has ended: nothing follows the buffer
  std::string long_line_;
};

}  // namespace silurus::datasets
