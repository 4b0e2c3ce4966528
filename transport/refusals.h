// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/result.h"

namespace silurus::transport {

/// Why a listener turned a client away.
enum class RefusalReason : std::uint8_t {
  kConnections,      ///< max_connections, or the handler has as many as it takes
  kPeerConnections,  ///< max_connections_per_peer
  kRings,            ///< ring_budget_bytes
  kPeerRings,        ///< the share of ring_budget_bytes that one peer may take
  kHandshakes,       ///< max_handshakes: the oldest of the peer with the most made room
  kHandshakeTime,    ///< hello_timeout
  kDescriptors,      ///< the process had no file descriptor left
  kPermission,       ///< a user who may not connect
  kHello,            ///< a hello that makes no sense, or that the handler refuses
};
constexpr std::size_t kRefusalReasons = 9;
/// In statistics, by RefusalReason.
constexpr std::array<std::string_view, kRefusalReasons> kRefusalNames{
    "max_clients",         "max_clients_per_peer", "ring_budget",
    "ring_budget_of_peer", "handshakes",           "handshake_timeout",
    "descriptors",         "permission",           "hello"};
static_assert(static_cast<std::size_t>(RefusalReason::kHello) + 1 == kRefusalReasons);

/// Why a handler refused a hello with that error.
constexpr RefusalReason reason_of_handler(ErrorCode code) {
  return code == ErrorCode::kUnavailable ? RefusalReason::kConnections : RefusalReason::kHello;
}

/// How many clients were turned away, by RefusalReason.
using RefusalCounts = std::array<std::uint64_t, kRefusalReasons>;

/// Counts them. Any thread.
class RefusalCounters {
 public:
  void add(RefusalReason reason) {
    // relaxed, here and below: numbers for statistics, which publish nothing.
    counts_[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
  }
  RefusalCounts get() const {
    RefusalCounts counts{};
    for (std::size_t i = 0; i < kRefusalReasons; ++i) {
      counts[i] = counts_[i].load(std::memory_order_relaxed);
    }
    return counts;
  }

 private:
  std::array<std::atomic<std::uint64_t>, kRefusalReasons> counts_{};
};

}  // namespace silurus::transport
