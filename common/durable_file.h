// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus {

/// Makes what was created, renamed or removed in a directory durable.
Status sync_directory(const std::string& path);
/// Puts a small file at that path, durably: after a crash it is there as a whole, or what was there
/// before. kNoSpace if the disk is full; then what was there before is still there. `mode`: its
/// permissions, less the umask.
Status write_durably(const std::string& path, std::string_view text, mode_t mode = 0600);
/// Removes the file durably. Succeeds if it is not there.
Status remove_durably(const std::string& path);

}  // namespace silurus
