// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "rtree/geometry.h"
#include "rtree/node.h"

namespace silurus::rtree {

/// An entry or a child of a node that is being split or joined.
template <int D>
struct SplitItem {
  Box<D> box;
  IdRange ids;         ///< the entry's id alone, or Node::ids() of the child
  std::uint64_t word;  ///< NodeRef::word() of the child
};

/// Items that a split handles at most: a full node and one more, or two nodes that are joined.
template <int D>
inline constexpr std::uint32_t kMaxSplitItems = 2 *
                                                (kInnerFanout<D> > kLeafFanout<D> ? kInnerFanout<D>
                                                                                  : kLeafFanout<D>);

/// Reorders the items into two groups, each of at least `minimum` and at most `maximum`; returns
/// the size of the first. The R*-tree's split (Beckmann et al., SIGMOD 1990, section 4.2): along
/// the axis of the smallest sum of margins, where the groups overlap least. What lies at the same
/// place is ordered by id, so that items of the same box are split by their ids. Where all cuts are
/// equally good, the groups are of the same size; if the last item is a new one, and comes before
/// or behind all others, its group is the smaller one: more like it may follow.
template <int D>
std::uint32_t split_items(std::span<SplitItem<D>> items, std::uint32_t minimum,
                          std::uint32_t maximum, bool is_last_new);

/// Makes a box cover another one; whether it has grown.
template <int D>
bool extend(Box<D>& box, const Box<D>& by) {
  bool grown = false;
  for (int d = 0; d < D; ++d) {
    grown |= by.min[d] < box.min[d] || by.max[d] > box.max[d];
    box.min[d] = std::min(box.min[d], by.min[d]);
    box.max[d] = std::max(box.max[d], by.max[d]);
  }
  return grown;
}

/// The box of the entries of a leaf that has one at least.
template <int D>
Box<D> bounds_of_entries(const Node<D>& leaf);

}  // namespace silurus::rtree
