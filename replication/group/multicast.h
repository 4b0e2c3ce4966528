// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "replication/group/log_replicator.h"

namespace silurus::replication::group {

/// Each batch of the log goes out once, as datagrams that say where in the log they belong; a
/// member that misses one fetches it (Derecho: Jha et al., "Derecho: Fast state machine replication
/// for cloud services", ACM TOCS 36(2), 2019, for rows in a shared table; the gaps are after
/// Whale). Where the fabric has no multicast, each datagram goes out over every connection. See
/// Replicator.
class MulticastReplicator final : public LogReplicator {
 public:
  using LogReplicator::LogReplicator;

 private:
  void ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) override;
};

}  // namespace silurus::replication::group
