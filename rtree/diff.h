// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "rtree/tree.h"

namespace silurus::rtree {

/// What changed between two versions of a tree.
template <int D>
struct Difference {
  struct Move {
    std::uint64_t id;
    Box<D> from;
    Box<D> to;
  };
  std::vector<Entry<D>> inserted;
  std::vector<Entry<D>> erased;
  std::vector<Move> moved;  ///< the same id with another box
  std::uint64_t nodes_visited = 0;
};

/// The difference between two snapshots of one tree. Published nodes never change, so where both
/// versions name the same node everything below it is the same: only nodes that differ are visited.
/// Sorted by id. kTooLarge if more than `limit` entries lie in leaves that differ.
template <int D>
Result<Difference<D>> difference(const Snapshot<D>& from, const Snapshot<D>& to,
                                 std::uint64_t limit);

}  // namespace silurus::rtree
