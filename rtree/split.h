#pragma once

#include <cstdint>
#include <span>

#include "rtree/geometry.h"
#include "rtree/node.h"

namespace silurus::rtree {

/// An entry or a child of a node that is being split or joined.
template <int D>
struct SplitItem {
  Box<D> box;
  std::uint64_t word;  ///< id or NodeRef::word()
};

/// A child's box in doubles: exactly the same box; round_outward() takes it back.
template <int D>
Box<D> widen(const FloatBox<D>& box) {
  Box<D> out;
  for (int d = 0; d < D; ++d) {
    out.min[d] = box.min[d];
    out.max[d] = box.max[d];
  }
  return out;
}

/// Items that a split handles at most: a full node and one more, or two nodes that are joined.
template <int D>
inline constexpr std::uint32_t kMaxSplitItems = 2 *
                                                (kInnerFanout<D> > kLeafFanout<D> ? kInnerFanout<D>
                                                                                  : kLeafFanout<D>);

/// Reorders the items into two groups, each of at least `minimum` and at most `maximum`; returns
/// the size of the first. The R*-tree's split (Beckmann et al., SIGMOD 1990, section 4.2): along
/// the axis of the smallest sum of margins, where the groups overlap least.
template <int D>
std::uint32_t split_items(std::span<SplitItem<D>> items, std::uint32_t minimum,
                          std::uint32_t maximum);

/// The box of a node's entries or children, rounded outward: what its parent must hold.
template <int D>
FloatBox<D> node_bounds(const Node<D>& node);

}  // namespace silurus::rtree
