// SPDX-License-Identifier: Apache-2.0

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

/// Children of an inner node, in bits: all words are looked at, whatever the node's count.
inline constexpr std::uint32_t kWordsCompared = 64;
static_assert(kInnerFanout<2> == kWordsCompared && kInnerFanout<3> == kWordsCompared);
/// Places at which the names of two nodes' children differ.
std::uint64_t words_that_differ(const std::uint64_t* left, const std::uint64_t* right);
/// Places of the names of nodes that were born in that version.
std::uint64_t names_born_in(const std::uint64_t* names, Version version);

}  // namespace silurus::rtree
