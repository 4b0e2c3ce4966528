// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/kernels.h"
#include "rtree/node.h"
#include "rtree/tree.h"

// Spatial joins: which entries of one tree meet which entries of another one.

namespace silurus::rtree {

using silurus::IdPair;
using silurus::JoinQuery;

/// A join of two trees by walking both at once, depth first (Brinkhoff, Kriegel and Seeger,
/// "Efficient processing of spatial joins using R-trees", SIGMOD 1993, sections 4.1 and 4.2: the
/// search space of two nodes is where their boxes meet). Of trees of different heights the higher
/// one is descended first. Pairs come in no particular order. No more than kInnerFanout^2 pairs of
/// nodes wait for each level of the trees, however many there are. Not thread-safe; reusable.
template <int D>
class JoinCursor {
 public:
  JoinCursor() : kernels_(&kernels<D>()) {}

  /// Begins a join. The query must have been checked: the distance is finite and not negative.
  void start(const JoinQuery& query, WantedNode first, WantedNode second);
  /// Goes on through at most `most_nodes` pairs of nodes, or until at least `enough` pairs were
  /// appended to `found` (at most kLeafFanout * kLeafFanout more). The snapshots must be those
  /// whose roots it was started with. Returns whether the join is complete.
  bool go_on(const Snapshot<D>& first, const Snapshot<D>& second, std::uint32_t most_nodes,
             std::size_t enough, std::vector<IdPair>& found);
  bool done() const { return waiting_.empty(); }

 private:
  /// Two nodes whose boxes meet, to be looked at.
  struct NodePair {
    std::uint64_t first;
    std::uint64_t second;
    std::uint32_t first_level;
    std::uint32_t second_level;
  };

  Box<D> widened(const Box<D>& box) const;
  bool are_near(const Box<D>& a, const Box<D>& b) const;
  void descend_first(const NodePair& pair, const Node<D>& first, const Box<D>& second);
  void descend_second(const NodePair& pair, const Box<D>& first, const Node<D>& second);
  void join_inner(const NodePair& pair, const Node<D>& first, const Node<D>& second);
  void join_leaves(const Node<D>& first, const Node<D>& second, std::vector<IdPair>& found) const;

  const Kernels<D>* kernels_;
  double within_ = 0;
  std::vector<NodePair> waiting_;  ///< a stack
};

}  // namespace silurus::rtree
