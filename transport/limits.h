// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "common/clock.h"

// What listeners take, of one peer and of all: the numbers, and how they fit together. Those that
// an operator may change are defaults of ListenOptions.

namespace silurus::transport {

/// Connections that the system keeps for a listener which has not taken them yet.
constexpr int kBacklog = 1024;
/// Clients that are taken from that queue in one round. A burst of clients takes a few rounds, and
/// connected clients are served between them.
constexpr int kMaxAcceptsPerRound = 64;
/// Clients that are connected and have not said hello yet.
constexpr std::uint32_t kDefaultMaxHandshakes = 1024;
constexpr Nanoseconds kDefaultHelloTimeout = 5 * kSecond;  ///< from connecting to the hello
constexpr std::uint32_t kDefaultMaxConnections = 4096;     ///< connections of one listener
constexpr std::uint64_t kDefaultRingBudget = std::uint64_t{64} << 20;  ///< rings of one listener
/// The part 1/16 of the ring budget that is kept for other peers than the one that has the most,
/// where connections are limited by peer.
constexpr std::uint64_t kOthersRingShare = 16;

static_assert(kMaxAcceptsPerRound <= kBacklog);
static_assert(kDefaultMaxHandshakes >= kBacklog, "a whole queue may be preempted before its hello");
static_assert(kDefaultMaxConnections >= kDefaultMaxHandshakes);

}  // namespace silurus::transport
