// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

// What several benches measure alike.

namespace silurus::bench {

/// The edge of a small window: next to nothing is found in it.
inline constexpr double kSmallEdge = 0.00001;
/// Neighbours that are asked for.
inline constexpr std::uint32_t kNeighbors = 10;
/// Before anything is measured: caches fill, policies learn.
inline constexpr double kWarmUpSeconds = 0.3;

}  // namespace silurus::bench
