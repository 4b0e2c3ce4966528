// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "rtree/keys.h"
#include "rtree/node.h"
#include "silurus/types.h"

// Nodes of an id index: the B+-tree from ids to entries of a keyed tree (docs/decisions/0153). They
// are nodes of the same memory as the tree's, born, retired, checked and stored as those are. What
// is here is of one node each; Tree makes an index of them (keyed.cc).

namespace silurus::rtree {

using silurus::KeyedEntry;

/// Entries of a leaf of an index, at most: fewer where they don't fit (pack_index_leaf).
inline constexpr std::uint32_t kIndexLeafFanout = 128;
/// Bytes of a leaf that rows may take. What is behind is read with the last number, and never used.
template <int D>
inline constexpr std::size_t kIndexRowBytes = sizeof(IndexLeafBody<D>::rows) - 8;
/// Leaves that a full one, with an entry more, becomes at most: halves of halves of halves.
inline constexpr std::uint32_t kMostIndexParts = 8;
static_assert((kIndexLeafFanout / kMostIndexParts + 1) * 8 * kIndexRows<2> <= kIndexRowBytes<2>);
static_assert((kIndexLeafFanout / kMostIndexParts + 1) * 8 * kIndexRows<3> <= kIndexRowBytes<3>);

/// A child of an inner node of an index, by its NodeRef::word(), and what Node::inner.least says of
/// it.
struct IndexChild {
  std::uint64_t least;
  std::uint64_t word;
};

/// The nodes that one was split into, beside itself, in the order of their ids.
struct IndexSiblings {
  std::array<IndexChild, kMostIndexParts> children;
  std::uint32_t count = 0;
};

/// Looks into a leaf of an index, which must be sound (check_node).
template <int D>
class IndexLeaf {
 public:
  explicit IndexLeaf(const Node<D>& leaf);

  std::uint64_t id(std::uint32_t index) const { return number(0, index); }
  KeyedEntry<D> entry(std::uint32_t index) const;
  /// The first entry whose id is not less: count() if there is none.
  std::uint32_t lower_bound(std::uint64_t id) const;
  std::optional<KeyedEntry<D>> find(std::uint64_t id) const;

 private:
  std::uint64_t number(std::size_t row, std::uint32_t index) const;

  const Node<D>& leaf_;
  std::size_t begins_[kIndexRows<D>];  ///< where each row begins
};

/// Which child of an inner node of an index has an id, if any has.
template <int D>
std::uint32_t index_child(const Node<D>& inner, std::uint64_t id);

// --- the writer: nodes of the batch

/// Adds a child, below which there are that number of entries, behind those of an inner node.
template <int D>
void add_index_child(Node<D>& inner, IndexChild child, std::uint64_t entries) {
  const std::uint32_t at = inner.header.count++;
  inner.inner.least[at] = child.least;
  inner.inner.children[at] = child.word;
  inner.header.entries += entries;
}

/// How many bytes the rows of a leaf with these entries take.
template <int D>
class IndexRowSizes {
 public:
  void add(const KeyedEntry<D>& entry);
  std::size_t bytes() const;  ///< 0 without entries
  /// Whether a leaf can hold them.
  bool fits() const { return count_ <= kIndexLeafFanout && bytes() <= kIndexRowBytes<D>; }
  std::uint32_t count() const { return count_; }
  std::uint8_t width(std::size_t row) const;
  std::uint64_t least(std::size_t row) const { return least_[row]; }

 private:
  std::uint32_t count_ = 0;
  std::uint64_t least_[kIndexRows<D>];
  std::uint64_t greatest_[kIndexRows<D>];
};

/// Makes these the entries of a leaf, in the order of their ids; false, and nothing has changed, if
/// they don't fit.
template <int D>
bool pack_index_leaf(Node<D>& leaf, std::span<const KeyedEntry<D>> entries);
/// Puts an entry at its place, or in the place of the one of the same id; false if the leaf must be
/// packed anew for that.
template <int D>
bool put_in_index_leaf(Node<D>& leaf, const KeyedEntry<D>& entry);
/// Takes an entry out.
template <int D>
void erase_from_index_leaf(Node<D>& leaf, std::uint32_t index);

/// What is sound about a node of an index by itself, beside its header's name: see check_node().
template <int D>
bool is_sound_index_node(const Node<D>& node, std::uint64_t chunk_count);

}  // namespace silurus::rtree
