// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "rtree/node.h"
#include "rtree/node_ref.h"

// What a version has changed of the inner nodes of the version before, told to one-sided readers
// (docs/decisions/0017): a ring of records behind the root (RootBlock). A reader that has these
// nodes in its cache makes the new ones of them, and need not read them.
//
// A record is a ChangeHeader, for a keyed tree the name of the root of its id index, and some
// NodeChanges, each followed by a ChildChange for each child that it tells of, and in level 1 by
// the LeafDirectory of each of these children; a node of the index, by IndexChildChanges. It tells
// what is true of nodes that never change, so that it may be used at any time. A node that is not
// told of may have changed all the same: it has a name that the reader doesn't know, and is read.

namespace silurus::rtree {

/// Bytes of the ring.
inline constexpr std::size_t kChangeRingBytes = 32 << 10;
/// Bytes of a record, at most. Nodes for which there is no room are not told of.
inline constexpr std::size_t kMostChangeBytes = 4 << 10;
static_assert(kChangeRingBytes >= 4 * kMostChangeBytes, "several records fit");

/// Where the record behind another one begins: none runs over the end of the ring.
constexpr std::size_t next_change(std::size_t offset, std::size_t bytes) {
  const std::size_t next = offset + bytes;
  return next + kMostChangeBytes <= kChangeRingBytes ? next : 0;
}

/// Versions are numbered over all trees of a forest, so a tree's next one may be any later number:
/// a record is found by the version that it follows.
struct ChangeHeader {
  std::uint64_t checksum;  ///< bytes_checksum() of what follows it in the record
  Version version;         ///< which has made these changes
  std::uint32_t versions;  ///< by how many it is later than the tree's own version before; 0: more
                           ///< than this can tell
  std::uint16_t bytes;     ///< size of the record, this header included
  std::uint8_t nodes;      ///< NodeChanges
  std::uint8_t keyed;  ///< 1: behind it lies NodeRef::word() of the root of the id index of this
                       ///< version; else 0
};
static_assert(sizeof(ChangeHeader) == 24 && std::has_unique_object_representations_v<ChangeHeader>);

/// An inner node that is another one but for some children: its own box is the same.
struct NodeChange {
  std::uint64_t before;    ///< word() of the other one's name
  std::uint64_t children;  ///< bit i: child i is told of
  std::uint32_t chunk;     ///< where the node lies, which was born in the record's version
  std::uint8_t level;      ///< that of an inner node of the tree, or of its id index (kIndexLevel)
  std::uint8_t count;
  std::int16_t more_entries;  ///< below it, than below the other one
};
static_assert(sizeof(NodeChange) == 24 && std::has_unique_object_representations_v<NodeChange>);
static_assert(kInnerFanout<2> <= 64 && kInnerFanout<3> <= 64, "as many as `children` has bits");
static_assert(kMostChangeBytes <= UINT16_MAX && kMostChangeBytes / sizeof(NodeChange) <= UINT8_MAX);

/// A child of such a node: its name, and its box in the node's cells.
template <int D>
struct ChildChange {
  std::uint64_t word;
  Cell cells[(2 * D + 3) / 4 * 4];  ///< the first 2 D, as in InnerBody
};
static_assert(sizeof(ChildChange<2>) == 16 && sizeof(ChildChange<3>) == 24);
static_assert(sizeof(LeafDirectory<2>) % 8 == 0 && sizeof(LeafDirectory<3>) % 8 == 0);

/// The same of an inner node of an id index: its name, and InnerBody::least.
struct IndexChildChange {
  std::uint64_t word;
  std::uint64_t least;
};
static_assert(sizeof(IndexChildChange) == 16);

/// Bytes of what a record tells of a child of a node of that level, but for a directory.
template <int D>
constexpr std::size_t child_change_bytes(std::uint32_t level) {
  return is_index_level(level) ? sizeof(IndexChildChange) : sizeof(ChildChange<D>);
}
/// Bytes of a NodeChange and of what follows it.
template <int D>
constexpr std::size_t node_change_bytes(const NodeChange& change) {
  const std::size_t directory = change.level == 1 ? sizeof(LeafDirectory<D>) : 0;
  return sizeof(NodeChange) + static_cast<std::size_t>(std::popcount(change.children)) *
                                  (child_change_bytes<D>(change.level) + directory);
}

/// Writes one record. The writer of the tree.
template <int D>
class ChangeWriter {
 public:
  /// `room`: kMostChangeBytes, where the record is to lie. `before`: the tree's own version before.
  /// `index`: the root of its id index now; null if it is not keyed.
  ChangeWriter(std::span<std::byte> room, Version version, Version before, NodeRef index = {});

  /// Tells of an inner node of the version that replaces another one. Leaves it out if it can't be
  /// made of that one in this way, or if there is no room.
  void add(NodeRef before_ref, const Node<D>& before, NodeRef after_ref, const Node<D>& after);
  /// Whether there is no room for any node.
  bool is_full() const {
    return header_.bytes + sizeof(NodeChange) + sizeof(ChildChange<D>) > kMostChangeBytes;
  }
  /// Makes it a record; returns its bytes.
  std::size_t finish();

 private:
  void add_children(const NodeChange& change, const Node<D>& after);
  void add_index_children(const NodeChange& change, const Node<D>& after);

  std::span<std::byte> room_;
  ChangeHeader header_;
};

/// What a record says of one node. Refers to the record's bytes.
template <int D>
class ChangedNode {
 public:
  ChangedNode(const NodeChange& change, Version version, const std::byte* children)
      : change_(change), version_(version), children_(children) {}

  NodeRef before() const { return NodeRef::from_word(change_.before); }
  NodeRef after() const { return NodeRef(change_.chunk, version_); }
  /// Whether a node, which has the name before(), can be made after() by it.
  bool fits(const Node<D>& node) const;
  /// Makes it that node: the same as in the tree in all that searches look at. It has no checksum
  /// and no range of ids any more.
  void apply(Node<D>& node) const;

 private:
  bool is_of_index() const { return is_index_level(change_.level); }
  bool keeps_order(const Node<D>& node) const;
  void apply_to_children(Node<D>& node) const;
  void apply_to_index_children(Node<D>& node) const;

  NodeChange change_;
  Version version_;
  const std::byte* children_;
};

/// A record in a reader's own bytes.
template <int D>
class ChangeRecord {
 public:
  /// What `bytes` begin with (8-byte aligned), if it is an intact record in which all is sound, and
  /// follows a version with these low bits (NodeRef::birth).
  static std::optional<ChangeRecord> read(std::span<const std::byte> bytes, Version before);
  /// The size that the beginning of a record which follows that version tells, without proof, or 0:
  /// as much is to be read.
  static std::size_t expected_bytes(std::span<const std::byte> bytes, Version before);

  std::size_t bytes() const { return bytes_.size(); }
  /// Which has made the changes.
  Version version() const { return version_; }
  /// The root of the tree's id index in that version; null if the tree is not keyed.
  NodeRef index() const;
  /// Calls each(ChangedNode), the upper nodes first.
  template <typename Each>
  void for_each(Each&& each) const {
    std::size_t at = first_node();
    while (at < bytes_.size()) {
      const NodeChange change = node_change(at);
      each(ChangedNode<D>(change, version_, bytes_.data() + at + sizeof change));
      at += node_change_bytes<D>(change);
    }
  }

 private:
  ChangeRecord(std::span<const std::byte> bytes, const ChangeHeader& header)
      : bytes_(bytes), version_(header.version), is_keyed_(header.keyed != 0) {}
  std::size_t first_node() const {
    return sizeof(ChangeHeader) + (is_keyed_ ? sizeof(std::uint64_t) : 0);
  }
  NodeChange node_change(std::size_t at) const;
  bool is_sound(std::uint32_t nodes) const;

  std::span<const std::byte> bytes_;
  Version version_;
  bool is_keyed_;
};

}  // namespace silurus::rtree
