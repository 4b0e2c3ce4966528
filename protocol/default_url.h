// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string>

#include "common/result.h"
#include "silurus/api.h"

namespace silurus::protocol {

/// Where the service that the system starts listens: silurus-server@default.
inline constexpr const char* kSystemSocket = "/run/silurus/default.sock";

/// What decides where a server is looked for when the user names none.
struct Surroundings {
  std::string variable;  ///< SILURUS_SERVER; may be empty
  unsigned uid = 0;
  std::function<bool(const std::string& path)> exists;
};
Surroundings surroundings();

/// The user that it runs as.
inline constexpr const char* kSystemUser = "silurus";

/// Where a client looks: SILURUS_SERVER; else shm:///run/user/UID/silurus.sock where the system has
/// that folder (a login session's own), shm:///tmp/silurus-UID/silurus.sock where it hasn't; and if
/// there is no such socket, but one of the system's service, then that one.
std::string default_url(const Surroundings& around);
SILURUS_API std::string default_url();

/// Where a server listens: the same, but never at the socket of the system's service.
/// kInvalidArgument if SILURUS_SERVER is no address of one server, such as etcd://host:port/name.
Result<std::string> default_listen_url(const Surroundings& around);
Result<std::string> default_listen_url();

/// Where the socket of a user without a login session lies: "/tmp/silurus-UID".
SILURUS_API std::string temporary_folder(unsigned uid);
/// Makes the folder of the socket at /tmp/silurus-UID if that is where `url` is. kPermission if
/// there is something of that name that is not the user's own folder, or that others may write.
Status make_default_folder(const std::string& url, unsigned uid);

}  // namespace silurus::protocol
