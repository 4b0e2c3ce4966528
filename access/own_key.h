// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/key.h"

// The key that a server makes at its start for its own user, and leaves where only that user's
// programs can read it: they are operators then, over tcp and rdma too, without configuration.

namespace silurus::access {

/// The server's address as files are called by: of the fabric "tcp" or "rdma", the address of a
/// device, or "0.0.0.0" or "::" for all, and the port.
struct Place {
  std::string scheme;
  std::string host;
  std::string port;
};

/// Where servers of this user leave their keys, the first of them that can be there: the folder
/// silurus in $XDG_RUNTIME_DIR and in /run/user/UID, and /tmp/silurus-UID. A client looks in all of
/// them: it may have been started in another way than the server.
std::vector<std::string> own_key_folders();

/// One that a server has left, for as long as the object lives. Its lock ends with the process,
/// however that ends, so that no dead server's key is taken for one.
class OwnKeyFile {
 public:
  /// In that folder, which is made if there is none. kPermission if others may write there.
  static Result<std::unique_ptr<OwnKeyFile>> create(const std::string& folder, const Place& place,
                                                    const Key& key);
  ~OwnKeyFile();
  OwnKeyFile(const OwnKeyFile&) = delete;
  OwnKeyFile& operator=(const OwnKeyFile&) = delete;

 private:
  OwnKeyFile(std::string path, int file) : path_(std::move(path)), file_(file) {}
  const std::string path_;
  const int file_;  ///< locked
};

/// The path of the file of a server at that address. Processes in several network namespaces (in
/// containers) may have the same addresses, and share the folder: the name tells which namespace
/// the caller is in.
std::string own_key_path(const std::string& folder, const Place& place);

/// The key that a server of our own user, which is alive, has left for that address of this host
/// (and this network namespace); nothing if there is none.
std::optional<Key> find_own_key(const std::string& folder, const Place& place);

}  // namespace silurus::access
