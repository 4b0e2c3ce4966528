#pragma once

#include <cstdint>

namespace silurus::transport::verbs::testing {

/// How often this thread has allocated memory.
std::uint64_t allocations();

}  // namespace silurus::transport::verbs::testing
