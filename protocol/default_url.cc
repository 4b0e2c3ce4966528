// SPDX-License-Identifier: Apache-2.0

#include "protocol/default_url.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "transport/fabric.h"

namespace silurus::protocol {
namespace {

/// The path of this user's own socket.
std::string own_socket(const Surroundings& around) {
  const std::string uid = std::to_string(around.uid);
  const std::string session = "/run/user/" + uid;
  if (around.exists(session)) return session + "/silurus.sock";
  return temporary_folder(around.uid) + "/silurus.sock";
}

}  // namespace

std::string temporary_folder(unsigned uid) { return "/tmp/silurus-" + std::to_string(uid); }

Surroundings surroundings() {
  const char* variable = std::getenv("SILURUS_SERVER");
  return {.variable = variable == nullptr ? "" : variable,
          .uid = geteuid(),
          .exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }};
}

std::string default_url(const Surroundings& around) {
  if (!around.variable.empty()) return around.variable;
  const std::string own = own_socket(around);
  if (!around.exists(own) && around.exists(kSystemSocket)) {
    return std::string("shm://") + kSystemSocket + "?peer=" + kSystemUser;
  }
  return "shm://" + own;
}

Result<std::string> default_listen_url(const Surroundings& around) {
  if (around.variable.empty()) return "shm://" + own_socket(around);
  const auto address = transport::Address::parse(around.variable);
  const bool is_one =
      address && around.variable.find(',') == std::string::npos &&
      (address->scheme == "shm" || address->scheme == "tcp" || address->scheme == "rdma");
  if (is_one) return around.variable;
  return fail(ErrorCode::kInvalidArgument,
              "SILURUS_SERVER is '" + around.variable +
                  "', which tells clients where to look and is no address that a server can listen "
                  "at: say --listen URL");
}

Status make_default_folder(const std::string& url, unsigned uid) {
  const std::string folder = temporary_folder(uid);
  const auto address = transport::Address::parse(url);
  if (!address || address->path != folder + "/silurus.sock") return {};
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(errno_error(ErrorCode::kIo, "cannot make " + folder, errno));
  }
  struct stat status {};
  if (lstat(folder.c_str(), &status) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot examine " + folder, errno));
  }
  if (S_ISDIR(status.st_mode) && status.st_uid == uid && (status.st_mode & 022) == 0) return {};
  return fail(ErrorCode::kPermission,
              folder + " is not a folder that you alone may write (it is user " +
                  std::to_string(status.st_uid) + "'s): say --listen shm:///PATH");
}

std::string default_url() { return default_url(surroundings()); }
Result<std::string> default_listen_url() { return default_listen_url(surroundings()); }

}  // namespace silurus::protocol
