// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace silurus::replication {

/// Bytes of a new data directory's log, --log-size.
constexpr std::uint64_t kDefaultLogBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMinLogBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxLogBytes = std::uint64_t{1} << 40;

}  // namespace silurus::replication
