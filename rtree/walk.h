// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "rtree/cursor.h"

// Searches of nodes that lie in this process's memory: whole loops, compiled for each
// instruction set and chosen at run time, since a small window takes no longer than a few calls.

namespace silurus::rtree {

template <int D>
class Snapshot;

/// One of several range searches that are interleaved on one thread.
template <int D>
struct RangeLane {
  RangeCursor<D> cursor;
  std::size_t query = 0;         ///< which one of a batch
  std::uint32_t nodes_left = 0;  ///< it looks at no more than that
  std::uint64_t enough = 0;      ///< it stops when it has found that many
  bool is_running = false;       ///< it may go on

  /// Whether it goes on in the next turn, with its present window.
  bool may_go_on() const {
    return !cursor.state().is_idle() && nodes_left != 0 && cursor.found() < enough;
  }
};

/// Neighbours that a search at hand finds at most; for more there is NearestCursor.
inline constexpr std::uint32_t kFewNeighbors = 32;

/// Pure but for the cursors; any thread, each with cursors of its own, while the snapshot lives.
template <int D>
struct Walks {
  /// See Snapshot::go_on.
  bool (*go_on)(RangeState<D>& state, const Snapshot<D>& snapshot, std::uint32_t most_nodes,
                std::uint64_t enough);
  /// Each lane that runs looks at one inner node, or at all leaves that it knows of, and
  /// prefetches what comes next.
  void (*turn)(std::span<RangeLane<D>> lanes, const Snapshot<D>& snapshot);
  /// The neighbours of a point, exactly as NearestCursor finds them, for k up to kFewNeighbors:
  /// depth first, the nearest child first (Roussopoulos, Kelley and Vincent, "Nearest neighbor
  /// queries", SIGMOD 1995). False, with any result, where that is not enough: too many entries at
  /// the same distance, or squares of distances that single or double precision cannot hold.
  bool (*nearest)(const NearestQuery<D>& query, const Snapshot<D>& snapshot, NearestResult& result);
};

/// The best for this machine.
template <int D>
const Walks<D>& walks();

}  // namespace silurus::rtree
