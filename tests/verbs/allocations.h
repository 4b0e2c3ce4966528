// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace silurus::transport::verbs::testing {

/// How often this thread has allocated memory.
std::uint64_t allocations();
/// How often any thread of this process has.
std::uint64_t allocations_of_all_threads();

}  // namespace silurus::transport::verbs::testing
