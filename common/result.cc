#include "common/result.h"

#include <cerrno>
#include <cstring>

#include "common/api.h"

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

}  // namespace silurus
