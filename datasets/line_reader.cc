// SPDX-License-Identifier: Apache-2.0

#include "datasets/line_reader.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace silurus::datasets {

LineReader::LineReader(std::unique_ptr<Bytes> bytes, std::string name)
    : bytes_(std::move(bytes)),
      name_(std::move(name)),
      buffer_(std::make_unique<char[]>(kBufferBytes)) {}

Result<LineReader> LineReader::open(const std::string& path) {
  auto bytes = open_bytes(path);
  if (!bytes) return fail(bytes.error());
  return LineReader(std::move(*bytes), path == "-" ? "standard input" : path);
}

/// Reads more behind what is left in the buffer, which is at most the line at hand.
Status LineReader::fill() {
  if (record_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + record_, end_ - record_);
    first_line_end_ -= std::min(first_line_end_, record_);
    begin_ -= record_;
    end_ -= record_;
    record_ = 0;
  }
  const auto count = bytes_->read(std::span(buffer_.get() + end_, kBufferBytes - end_));
  if (!count) return fail(count.error());
  if (!std::exchange(has_begun_, true)) {
    if (auto ok = check_is_text({buffer_.get(), *count}, name_); !ok) return ok;
  }
  end_ += *count;
  is_at_end_ = *count == 0;
  return {};
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
    record_ = begin_ = end_;
    if (is_at_end_) break;
    if (auto status = fill(); !status) return fail(status.error());
  }
  record_ = first_line_end_ = begin_;
  return Line{long_line_, false, true};
}

Result<LineReader::Line> LineReader::next() {
  line_number_ += std::exchange(more_lines_, 0);
  record_ = begin_;
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
      first_line_end_ = begin_;
      if (text.ends_with('\r')) text.remove_suffix(1);
      return Line{text, false, false};
    }
    if (is_at_end_) return Line{{}, true, false};
    if (auto status = fill(); !status) return fail(status.error());
  }
}

Result<LineReader::Line> LineReader::extend() {
  std::size_t searched = 0;  // bytes from begin_ on known to hold no newline
  for (;;) {
    const char* start = buffer_.get() + begin_;
    const std::size_t length = end_ - begin_;
    const auto* newline =
        static_cast<const char*>(std::memchr(start + searched, '\n', length - searched));
    searched = newline != nullptr ? static_cast<std::size_t>(newline - start) : length;
    if (begin_ - record_ + searched > kMaxLineBytes) return Line{{}, false, true};
    if (newline != nullptr || (is_at_end_ && length > 0)) {
      ++more_lines_;
      begin_ += searched + (newline != nullptr ? 1 : 0);
      std::string_view text(buffer_.get() + record_, begin_ - record_);
      if (text.ends_with('\n')) text.remove_suffix(1);
      if (text.ends_with('\r')) text.remove_suffix(1);
      return Line{text, false, false};
    }
    if (is_at_end_) return Line{{}, true, false};
    if (auto status = fill(); !status) return fail(status.error());
  }
}

void LineReader::retreat() {
  begin_ = first_line_end_;
  more_lines_ = 0;
}

}  // namespace silurus::datasets
