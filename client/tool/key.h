// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "common/result.h"

namespace silurus::tool {

/// Makes a key and its file, and returns the rule that a server's file of access rules needs for
/// it. What else there is to say goes to standard error, so that the rule can be appended to the
/// file. kConflict if there is such a file.
Result<std::string> make_key(const KeyCommand& command);

}  // namespace silurus::tool
