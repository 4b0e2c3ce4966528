// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "common/result.h"

namespace silurus::access {

/// A file that decides who may do what.
struct PrivateFile {
  std::string what;            ///< for errors: "the access rules"
  std::size_t most_bytes = 0;  ///< it may have
  bool is_secret = false;      ///< it may not even be read by others than the owner and its group
};

/// The text of the file at `path`. kNotFound if there is none; kPermission unless it belongs to
/// `own` (the user that we run as), and no other user may read or write it (mode 0600 or less), or
/// to root, and no other user may write it (nor read it, but for its group, if it is a secret).
Result<std::string> read_private_file(const std::string& path, const PrivateFile& about, uid_t own);
/// The same of an open file, which `path` names.
Result<std::string> read_private_file(int file, const std::string& path, const PrivateFile& about,
                                      uid_t own);

}  // namespace silurus::access
