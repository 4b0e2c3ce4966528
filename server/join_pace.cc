// SPDX-License-Identifier: Apache-2.0

#include "server/join_pace.h"

#include <algorithm>
#include <limits>

#include "server/limits.h"

namespace silurus::server {

std::uint64_t room_for_joiners(std::uint64_t log_bytes) {
  return log_bytes / 100 * kJoinRoomPercent;
}

double rate_for_joiners(std::span<const replication::group::Joiner> joiners, const JoinPace& pace) {
  const auto room = static_cast<double>(room_for_joiners(pace.log_bytes));
  double rate = std::numeric_limits<double>::infinity();
  for (const replication::group::Joiner& joiner : joiners) {
    if (!joiner.keeps_log) continue;
    double limit = room;
    if (joiner.copies) {
      const auto nodes = static_cast<double>(std::max<std::uint64_t>(pace.nodes, 1));
      const double done = std::min(static_cast<double>(joiner.nodes) / nodes, 1.0);
      limit *= kJoinRoomBeforeCopy + kJoinRoomOfCopy * done;
    }
    const double left = limit - static_cast<double>(pace.log_end - joiner.at);
    if (left >= room * kJoinRoomOfSlowWriters) continue;
    const double seconds = static_cast<double>(kJoinRoomLasts) / static_cast<double>(kSecond);
    rate = std::min(rate, std::max(left, 0.0) / seconds);
  }
  return rate;
}

}  // namespace silurus::server
