#pragma once

#include "rtree/node.h"

namespace silurus::rtree {

/// Reorders the entries of a leaf so that those of each group (kGroupFanout) lie close together: by
/// halving along the longer side, at multiples of a group (docs/decisions/0015). The leaf's box
/// must be right. Any order is correct, this is about a good one.
template <int D>
void group_entries(Node<D>& leaf);

/// The cells of the boxes of a leaf's groups, in the frame of child `index` of `parent`.
template <int D>
LeafDirectory<D> directory_of(const Node<D>& parent, std::uint32_t index, const Node<D>& leaf);

}  // namespace silurus::rtree
