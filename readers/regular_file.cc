// SPDX-License-Identifier: Apache-2.0

#include "readers/regular_file.h"

#include <sys/stat.h>

#include <cerrno>

namespace silurus::readers {

Status check_regular_file(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  if (S_ISREG(info.st_mode)) return {};
  return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
}

}  // namespace silurus::readers
