// SPDX-License-Identifier: Apache-2.0

#include "replication/group/multicast.h"

namespace silurus::replication::group {

void MulticastReplicator::ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) {
  in_messages(from, end, links().max_broadcast_bytes(), commit, heartbeat,
              [&](std::span<const std::byte> message) { broadcast(message); });
}

}  // namespace silurus::replication::group
