// SPDX-License-Identifier: Apache-2.0

#include "replication/group/log_write.h"

namespace silurus::replication::group {

void LogWriteReplicator::ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) {
  in_messages(from, end, links().max_push_bytes(), commit, heartbeat,
              [&](std::span<const std::byte> message) {
                links().push(message, [](MemberId) { return true; });
              });
}

Status LogWriteReplicator::step(Nanoseconds now) {
  look(now);
  return LogReplicator::step(now);
}

}  // namespace silurus::replication::group
