#pragma once

#include <cstdint>

#include "common/clock.h"

// What listeners take, of one peer and of all: the numbers, and how they fit together. Those that
// an operator may change are defaults of ListenOptions.

namespace silurus::transport {

/// Connections that the system keeps for a listener which has not taken them yet.
constexpr int kBacklog = 1024;
/// Clients that are taken from that queue in one round: a burst of them costs a few rounds, and
/// none keeps those that are connected from being served for long.
constexpr int kMaxAcceptsPerRound = 64;
/// Clients that may be in the middle of saying hello.
constexpr std::uint32_t kDefaultMaxHandshakes = 1024;
constexpr Nanoseconds kDefaultHelloTimeout = 5 * kSecond;
constexpr std::uint32_t kDefaultMaxConnections = 4096;
constexpr std::uint64_t kDefaultRingBudget = std::uint64_t{64} << 20;
/// Where connections are limited by peer, the ring budget divided by this is kept for other peers
/// than the one that has the most.
constexpr std::uint64_t kOthersRingShare = 16;

static_assert(kMaxAcceptsPerRound <= kBacklog);
static_assert(kDefaultMaxHandshakes >= kBacklog, "a whole queue may be preempted before its hello");
static_assert(kDefaultMaxConnections >= kDefaultMaxHandshakes);

}  // namespace silurus::transport
