// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "common/clock.h"
#include "transport/fabric.h"

namespace silurus::transport::sim {

/// How a SimFabric behaves. Those of the listening side count for a connection, but for give_up.
struct FabricOptions {
  Capabilities capabilities = static_cast<Capabilities>(Capability::kOneSidedRead) |
                              static_cast<Capabilities>(Capability::kMulticast) |
                              static_cast<Capabilities>(Capability::kOneSidedWrite);
  std::uint32_t max_reads_in_flight = 64;
  std::uint32_t max_read_bytes = 64 << 10;
  /// Time without an acknowledgement after which it sends again; doubled each time, up to 100 times
  /// this.
  Nanoseconds retry = 100 * kMicrosecond;
  /// Time without any acknowledgement after which the connection breaks, as a queue pair does
  /// when its retries are used up; also how long a crashed peer goes unnoticed at most.
  Nanoseconds give_up = 500 * kMillisecond;
  /// The memory of a process that has ended (Host::kill(), or a listener that is destroyed) is
  /// answered to its readers as before, as a mapping of shared memory is; and peers are told of the
  /// end of a connection late, as those are that do not look, but for the proof of life below.
  bool memory_outlives_process = false;
  /// Then so late at most, and no sooner than after half of that.
  Nanoseconds told_late = 500 * kMillisecond;
  /// A read ends well only if its peer's process was alive less than this time before it was posted
  /// (transport/CONTRACT.md). All of it is made use of. A test of tests may ask for more.
  Nanoseconds proof_of_life = kMillisecond;
  /// Both sides: another process holds what the kernel's objects of a process hang on (a keeper,
  /// transport/custody.h), until Host::let_go(). When the process has been killed its card goes on
  /// taking messages, which are never read, and its memory goes on answering reads; all else of
  /// what is said above begins with Host::let_go(). With memory_outlives_process.
  bool is_kept = false;
  /// For capacity planning, where links lose nothing and aren't cut: cards' acknowledgements and
  /// retries are left out, and freed room of a ring is told with the next message the other way, as
  /// the fabric over verbs does (docs/decisions/0061), or when a quarter of the ring is free.
  bool is_lossless = false;
};

/// Doublings of FabricOptions::retry end at this multiple of it.
constexpr Nanoseconds kMaxRetryFactor = 100;
/// Bytes of a message on the wire besides its own; also the bytes of an acknowledgement.
constexpr std::size_t kPacketOverheadBytes = 40;
/// Greatest size of a multicast datagram.
constexpr std::size_t kMaxDatagramBytes = 4096;

}  // namespace silurus::transport::sim
