// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "replication/group/log_replicator.h"

namespace silurus::replication::group {

/// Each batch of the log is written one-sidedly into a window of each other member's memory, whose
/// processor has no part in that and is not told (Taleb et al., "Tailwind: Fast and atomic
/// RDMA-based replication", USENIX ATC 2018). Each member looks there at its own pace, puts what it
/// finds into its log, and tells its row when that is durable: until then nothing counts, for what
/// is in a window a power failure takes. What is torn, or of another epoch, is found out by
/// checksum and envelope; a window goes with its connection, so that a primary of before
/// writes where no member looks. Where the fabric has no one-sided writes, the same messages go
/// over connections. See Replicator.
class LogWriteReplicator final : public LogReplicator {
 public:
  using LogReplicator::LogReplicator;
  Status step(Nanoseconds now) override;

 private:
  void ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) override;
};

}  // namespace silurus::replication::group
