// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "replication/group/log_replicator.h"

namespace silurus::replication::group {

/// What orders the writes (where the log ends, and the chain of checksums there) goes out to all at
/// once; the log itself goes from the primary to the first of the other members of the view by a
/// one-sided write, from that one to the second, and so on (Whale; van Renesse and Schneider,
/// "Chain replication for supporting high throughput and availability", OSDI 2004). So the
/// primary's link carries one copy without multicast too. A member passes on what it has received,
/// not what is durable with it; a member that lacks something, for any reason, fetches it from the
/// primary. Members that are being taken in are served by the primary. See Replicator.
class ChainReplicator final : public LogReplicator {
 public:
  ChainReplicator(const ReplicatorOptions& options, GroupId group, Log& log, Links& links);
  void enter(const View& view) override;
  Status step(Nanoseconds now) override;

 private:
  void ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) override;
  void pass_on(const Message<LogBody>& message) override;

  View view_;
  MemberId next_ = 0;  ///< next one in the chain; 0: none
};

}  // namespace silurus::replication::group
