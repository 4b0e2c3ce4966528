// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "replication/group/member.h"
#include "replication/record.h"

// How fast a primary may write while members join that need its log: so that none is overtaken by
// it, again and again, before it has caught up.

namespace silurus::server {

/// Bytes before the end of a log of that length that are kept for members that join.
std::uint64_t room_for_joiners(std::uint64_t log_bytes);

/// What the primary has.
struct JoinPace {
  std::uint64_t log_bytes = 0;  ///< capacity
  replication::Lsn log_end = 0;
  std::uint64_t nodes = 0;  ///< that its tree has, and about as many has a copy
};

/// Bytes of the log that may be written in a second; infinity: as many as come. While a member
/// copies the tree, what is written advances through half of the room as the copy does; only when
/// little is left of the part that it has advanced to are writers slowed, so that what is left
/// lasts for kJoinRoomLasts.
double rate_for_joiners(std::span<const replication::group::Joiner> joiners, const JoinPace& pace);

}  // namespace silurus::server
