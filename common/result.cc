// SPDX-License-Identifier: Apache-2.0

#include "common/result.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "silurus/api.h"

namespace silurus {

SILURUS_API std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid-argument";
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kOutOfMemory:
      return "out-of-memory";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kConnectionLost:
      return "connection-lost";
    case ErrorCode::kDeadlineExceeded:
      return "deadline-exceeded";
    case ErrorCode::kProtocol:
      return "protocol";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kPermission:
      return "permission";
    case ErrorCode::kTooLarge:
      return "too-large";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kNotPrimary:
      return "not-primary";
    case ErrorCode::kInDoubt:
      return "in-doubt";
    case ErrorCode::kMoved:
      return "moved";
    case ErrorCode::kNoSpace:
      return "no-space";
    case ErrorCode::kNoCollection:
      return "no-collection";
  }
  return "unknown";
}

SILURUS_API Error errno_error(ErrorCode code, std::string what, int errno_value) {
  what += ": ";
  what += std::strerror(errno_value);
  what += " (errno " + std::to_string(errno_value) + ")";
  return {code, std::move(what)};
}

bool is_no_space(int errno_value) {
  return errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG;
}

Error no_space_error(std::string what, const std::string& path, int errno_value) {
  Error error = errno_error(ErrorCode::kNoSpace, std::move(what), errno_value);
  if (errno_value == EFBIG) {
    error.message += ": raise the limit of file sizes (ulimit -f, LimitFSIZE=)";
  } else {
    error.message += std::string(": make room on the disk of ") + path +
                     (errno_value == EDQUOT ? ", or raise the quota" : "") + " (df " + path + ")";
  }
  return error;
}

namespace {

/// Bytes of the character that the text begins with, if that may be shown; 0: it may not.
std::size_t shown_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  std::size_t bytes = 0;
  if (first >= 0xc2 && first <= 0xdf) bytes = 2;
  if (first >= 0xe0 && first <= 0xef) bytes = 3;
  if (first >= 0xf0 && first <= 0xf4) bytes = 4;
  if (bytes == 0 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool is_control = first == 0xc2 && second < 0xa0;
  // Longer than need be, a half of a pair of UTF-16, or beyond U+10FFFF.
  const bool is_none = (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
                       (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90);
  // Those that turn the direction of what follows: U+200E, U+200F, U+202A to U+202E, U+2066 to
  // U+2069.
  const bool turns = first == 0xe2 && ((second == 0x80 && (byte(2) == 0x8e || byte(2) == 0x8f ||
                                                           (byte(2) >= 0xaa && byte(2) <= 0xae))) ||
                                       (second == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9));
  return is_control || is_none || turns ? 0 : bytes;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const std::size_t bytes = shown_bytes(text);
    if (bytes == 0) {
      shown += '?';
    } else {
      shown += text.substr(0, bytes);
    }
    text.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return shown;
}

Error error_of_peer(std::uint32_t code, std::string_view text) {
  const bool is_known = code >= static_cast<std::uint32_t>(ErrorCode::kInvalidArgument) &&
                        code <= static_cast<std::uint32_t>(ErrorCode::kNoCollection);
  return {is_known ? static_cast<ErrorCode>(code) : ErrorCode::kProtocol, printable(text)};
}

}  // namespace silurus
