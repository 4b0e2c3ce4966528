// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>

#include "transport/mailbox.h"
#include "transport/ring.h"

// The shared memory of one connection: a control page and two rings.

namespace silurus::transport::shm {

/// What one side tells the other outside the rings. Written by its owner, except that the peer
/// clears `sleep` when it rings. Each word on a line of its own: awake, neither changes often.
struct Side {
  alignas(64) std::uint64_t consumed;  ///< position in the ring that this side reads
  alignas(64) std::uint64_t sleep;     ///< Sleep bits: for what this side wants to be rung
  MailboxArea mailbox;                 ///< what this side says
};

enum Sleep : std::uint64_t {
  kAwake = 0,
  kRingOnMessage = 1,
  kRingOnCredit = 2,
};

/// Memory: Control, ring from client to server, ring from server to client.
struct Control {
  Side client;
  alignas(2048) Side server;
};
constexpr std::size_t kControlBytes = 4096;
static_assert(sizeof(Side) == 448 && sizeof(Control) == kControlBytes);

constexpr std::size_t memory_bytes(std::uint32_t ring_bytes) {
  return kControlBytes + 2 * std::size_t{ring_bytes};
}

/// Limits that are the same for every shm connection.
constexpr std::uint32_t kMaxReadsInFlight = 1024;
constexpr std::uint32_t kMaxReadBytes = 1u << 20;

}  // namespace silurus::transport::shm
