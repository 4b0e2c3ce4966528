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

}  // namespace

Status write_durably(const std::string& path, std::string_view text) {
  const std::string draft = path + ".new";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 &&
                       ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written || std::rename(draft.c_str(), path.c_str()) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot write " + path, written ? errno : error));
  }
  return sync_directory_of(path);
}

Status remove_durably(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(errno_error(ErrorCode::kIo, "cannot remove " + path, errno));
  }
  return sync_directory_of(path);
}

}  // namespace silurus
