// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <string>

#include "common/result.h"

namespace silurus::bench {

/// All that a file holds. kNotFound (it cannot be opened), kIo, kTooLarge: more than `most` bytes.
Result<std::string> read_file(const std::string& path, std::size_t most);

}  // namespace silurus::bench
