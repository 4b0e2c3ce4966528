// SPDX-License-Identifier: Apache-2.0

#include "access/own_key.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "access/private_file.h"

namespace silurus::access {
namespace {

constexpr std::size_t kMaxOwnKeyBytes = 4096;

struct OpenFile {
  explicit OpenFile(int fd) : number(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (number >= 0) close(number);
  }
  int release() { return std::exchange(number, -1); }
  int number;
};

bool is_for_all(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

/// Which network namespace this thread is in: "4026531840"; "0" if the system does not say.
std::string network() {
  std::array<char, 64> link{};
  const ssize_t length = readlink("/proc/thread-self/ns/net", link.data(), link.size());
  // "net:[4026531840]"
  const std::string_view text(link.data(), length < 0 ? 0 : static_cast<std::size_t>(length));
  const std::size_t begin = text.find('[');
  const std::size_t end = text.find(']');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return "0";
  return std::string(text.substr(begin + 1, end - begin - 1));
}

std::string path_of(const std::string& folder, const Place& place, bool for_all) {
  return folder + "/" + place.scheme + "-" + (for_all ? "all" : place.host) + "-" + place.port +
         "-net" + network() + ".key";
}

/// Whether a folder is ours, and no other user may write there.
bool is_ours_alone(const std::string& folder) {
  struct stat status {};
  return lstat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

Status lock_and_name(const OpenFile& file, const std::string& temporary, const std::string& path) {
  if (flock(file.number, LOCK_EX | LOCK_NB) == 0 && rename(temporary.c_str(), path.c_str()) == 0) {
    return {};
  }
  const Error error = errno_error(ErrorCode::kIo, "cannot make the file " + path, errno);
  unlink(temporary.c_str());
  return fail(error);
}

std::optional<Key> read_if_alive(const std::string& path) {
  const OpenFile file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (file.number < 0) return std::nullopt;
  // A lock that we get is one that its server does not hold any more.
  if (flock(file.number, LOCK_SH | LOCK_NB) == 0) return std::nullopt;
  const auto text =
      read_private_file(file.number, path, {"the key", kMaxOwnKeyBytes, true}, geteuid());
  if (!text) return std::nullopt;
  auto key = Key::parse(*text, path);
  return key ? std::optional(std::move(*key)) : std::nullopt;
}

}  // namespace

std::vector<std::string> own_key_folders() {
  const std::string uid = std::to_string(geteuid());
  std::vector<std::string> folders;
  if (const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
      runtime != nullptr && runtime[0] == '/') {
    folders.push_back(std::string(runtime) + "/silurus");
  }
  const std::string session = "/run/user/" + uid;
  if (::access(session.c_str(), F_OK) == 0) folders.push_back(session + "/silurus");
  folders.push_back("/tmp/silurus-" + uid);
  return folders;
}

std::string own_key_path(const std::string& folder, const Place& place) {
  return path_of(folder, place, is_for_all(place.host));
}

Result<std::unique_ptr<OwnKeyFile>> OwnKeyFile::create(const std::string& folder,
                                                       const Place& place, const Key& key) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(errno_error(ErrorCode::kIo, "cannot make " + folder, errno));
  }
  if (!is_ours_alone(folder)) {
    return fail(ErrorCode::kPermission, folder + " is not a folder that we alone may write");
  }
  std::string path = own_key_path(folder, place);
  const std::string temporary = path + "." + std::to_string(getpid());
  unlink(temporary.c_str());  // a file that an earlier process with our number may have left
  if (auto ok = key.write(temporary); !ok) return fail(ok.error());
  OpenFile file(open(temporary.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (auto ok = lock_and_name(file, temporary, path); !ok) return fail(ok.error());
  return std::unique_ptr<OwnKeyFile>(new OwnKeyFile(std::move(path), file.release()));
}

OwnKeyFile::~OwnKeyFile() {
  struct stat ours {};
  struct stat there {};
  // A successor may have put its own there.
  if (fstat(file_, &ours) == 0 && lstat(path_.c_str(), &there) == 0 &&
      ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
    unlink(path_.c_str());
  }
  close(file_);
}

std::optional<Key> find_own_key(const std::string& folder, const Place& place) {
  if (!is_ours_alone(folder)) return std::nullopt;
  auto key = read_if_alive(path_of(folder, place, false));
  return key ? key : read_if_alive(path_of(folder, place, true));
}

}  // namespace silurus::access
