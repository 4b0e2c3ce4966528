// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/messages.h"
#include "rtree/tree.h"
#include "server/limits.h"

// What of a tree's memory must be free before operations begin, for the writer of a server of its
// own and for the primary of a group alike. Operations that find too little are refused, or wait
// for retired memory, which comes back after its grace.

namespace silurus::server {

/// The nodes of the reserve for which an operation of that kind leaves room
/// (rtree::Tree::reserved): all, a quarter for an update, which needs no more in the end, none for
/// an erasure.
inline rtree::NodeCounts kept_nodes(const rtree::TreeStats& stats, protocol::OperationKind kind) {
  if (kind == protocol::OperationKind::kErase) return {};
  return kind == protocol::OperationKind::kUpdate ? stats.reserved / 4 + kNodesOfABatch
                                                  : stats.reserved;
}

/// The nodes that an operation of that kind may copy or add.
constexpr rtree::NodeCounts nodes_of(protocol::OperationKind kind) {
  return kind == protocol::OperationKind::kUpdate ? kNodesOfAnUpdate : kNodesOfAnOperation;
}

/// Whether memory comes back that no reader holds.
inline bool has_more_to_come(const rtree::TreeStats& stats) {
  return stats.bytes_retired > stats.bytes_held;
}

/// Frees what memory it can for a step of a compaction, which is to take none from those that
/// write: whether there is enough now. If not, the step is put off. Of the writer.
template <int D>
bool make_room_for_compaction(rtree::Tree<D>& tree) {
  const auto is_short = [](const rtree::TreeStats& stats) {
    const std::uint64_t waiting =
        stats.bytes_retired - std::min(stats.bytes_held, stats.bytes_retired);
    return waiting > stats.bytes_budget / kCompactionShare ||
           (has_more_to_come(stats) && !stats.room.holds(stats.reserved / 2));
  };
  if (!is_short(tree.stats())) return true;
  tree.reclaim();
  return !is_short(tree.stats());
}

}  // namespace silurus::server
