// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "common/result.h"

namespace silurus::readers {

/// Refuses what is not there, and what is no regular file: libraries would fetch a name like
/// "http://...", and a pipe cannot be read twice.
Status check_regular_file(const std::string& path);

}  // namespace silurus::readers
