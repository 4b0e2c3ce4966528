// SPDX-License-Identifier: Apache-2.0

#include "common/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace silurus {
Status sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (synced) return {};
  return fail(
      errno_error(ErrorCode::kIo, "cannot write directory " + path + " to its disk", error));
}

namespace {

Status sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

/// 0, or the errno value of what failed.
int write_all(const std::string& path, std::string_view text, mode_t mode) {
  // Made by us: a file that is already there may be a link that an attacker has planted.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errno;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0) return errno;
  int error = 0;
  while (!text.empty() && error == 0) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || errno != EINTR) {
      error = written == 0 ? EIO : errno;
    }
  }
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  ::close(fd);
  return error;
}

}  // namespace

Status write_durably(const std::string& path, std::string_view text, mode_t mode) {
  const std::string draft = path + ".new";
  int error = write_all(draft, text, mode);
  if (error == 0 && std::rename(draft.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return sync_directory_of(path);
  ::unlink(draft.c_str());  // it takes room
  const std::string what = "cannot write " + path;
  return fail(is_no_space(error) ? no_space_error(what, path, error)
                                 : errno_error(ErrorCode::kIo, what, error));
}

Status remove_durably(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(errno_error(ErrorCode::kIo, "cannot remove " + path, errno));
  }
  return sync_directory_of(path);
}

}  // namespace silurus
