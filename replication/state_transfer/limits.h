// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>

#include "common/clock.h"
#include "replication/group/view.h"

namespace silurus::replication {

/// Receivers that one source serves at a time: all other members, when they copy a bulk load.
constexpr std::size_t kMaxTransfers = group::kMaxMembers - 1;
/// Greatest size of what goes with a tree: the table of clients' writes.
constexpr std::size_t kMaxExtraBytes = std::size_t{64} << 20;
/// Nodes asked for in one message, where there are no one-sided reads.
constexpr std::size_t kMaxAskedNodes = 16;
/// One-sided reads of one receiver in flight.
constexpr std::size_t kTransferReadsInFlight = 64;
/// Longest time for which a source serves one receiver: a receiver that hangs would hold ever more
/// retired memory.
constexpr Nanoseconds kLongestTransfer = 600 * kSecond;
/// Longest wait for a source to accept a connection.
constexpr Nanoseconds kTransferDialTimeout = 2 * kSecond;
/// Time without progress after which a copy is taken from another member.
constexpr Nanoseconds kCopyPatience = 10 * kSecond;
/// Pause before all members are asked for a copy again; it doubles each time.
constexpr Nanoseconds kCopyPause = kSecond;
/// Longest of these pauses.
constexpr Nanoseconds kLongestCopyPause = 30 * kSecond;
/// Longest of these pauses where this member had no room for the copy.
constexpr Nanoseconds kLongestCopyPauseWithoutRoom = 600 * kSecond;
/// The part 1/8 of the memory budget that may be held for members that copy the tree; besides, at
/// most half of what is free.
constexpr std::uint64_t kCopiesShare = 8;

}  // namespace silurus::replication
