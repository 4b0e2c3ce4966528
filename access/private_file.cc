// SPDX-License-Identifier: Apache-2.0

#include "access/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/units.h"

namespace silurus::access {
namespace {

Error unusable(const PrivateFile& about, const std::string& path, ErrorCode code,
               const std::string& why) {
  return {code, "cannot use " + about.what + " " + path + ": " + why};
}

Error too_long(const PrivateFile& about, const std::string& path) {
  return unusable(about, path, ErrorCode::kTooLarge,
                  "the file is longer than " + format_size(about.most_bytes));
}

Status check_owner(const struct stat& status, const std::string& path, const PrivateFile& about,
                   uid_t own) {
  if (!S_ISREG(status.st_mode)) {
    return fail(unusable(about, path, ErrorCode::kInvalidArgument, "it is not a file"));
  }
  if (status.st_uid != own && status.st_uid != 0) {
    return fail(unusable(
        about, path, ErrorCode::kPermission,
        "the file belongs to user " + std::to_string(status.st_uid) + ", not to ours or root"));
  }
  // Root's may be read by the group that the server is in.
  const mode_t forbidden = status.st_uid == own ? 077 : about.is_secret ? 027 : 022;
  if ((status.st_mode & forbidden) != 0) {
    return fail(unusable(about, path, ErrorCode::kPermission,
                         "others may read or write the file: chmod 600 " + path));
  }
  if (static_cast<std::uint64_t>(status.st_size) > about.most_bytes) {
    return fail(too_long(about, path));
  }
  return {};
}

}  // namespace

Result<std::string> read_private_file(int file, const std::string& path, const PrivateFile& about,
                                      uid_t own) {
  struct stat status {};
  if (fstat(file, &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot examine " + path, errno));
  }
  if (auto ok = check_owner(status, path, about, own); !ok) return fail(std::move(ok.error()));
  std::string text(about.most_bytes + 1, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const ssize_t got = read(file, text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + path, errno));
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  if (length > about.most_bytes) return fail(too_long(about, path));
  text.resize(length);
  return text;
}

Result<std::string> read_private_file(const std::string& path, const PrivateFile& about,
                                      uid_t own) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    const auto code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(errno_error(code, "cannot read " + about.what + " " + path, errno));
  }
  auto text = read_private_file(file, path, about, own);
  close(file);
  return text;
}

}  // namespace silurus::access
