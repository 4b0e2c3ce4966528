// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "rtree/changes.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// Bytes of a root node that lie in its mirror: all of it, but for the directories of a node of
/// level 1.
template <int D>
inline constexpr std::size_t kMirroredBytes = std::max(node_bytes<D>(0), node_bytes<D>(2));

/// One of the two copies of the root node in a RootBlock.
template <int D>
struct RootMirror {
  std::atomic<Version> version;  ///< that this copy is of; 0 while it is being written
  std::uint64_t checksum;        ///< node_checksum(node), whether or not nodes hold checksums, of
                                 ///< which a multiple of `index` is added
  std::uint64_t next_change;     ///< where in the ring the next version's record will begin
  std::atomic<std::uint64_t> index;  ///< the root of the id index of that version
                                     ///< (NodeRef::word()); 0: the tree is not keyed
  std::uint64_t records;             ///< how many the ring has had, with that version's
  std::uint8_t reserved[24];
  std::byte node[kMirroredBytes<D>];
  std::atomic<Version> version_again;  ///< the same, written last
  std::uint8_t reserved_again[56];
};

/// What one-sided readers of a tree begin with: for the first tree of a forest at offset 0 of slab
/// 0, for others where the server says.
///
/// * `root` names the current root: one aligned 8-byte word, the only thing here that is read
///   atomically by a NIC. It is the truth; a reader needs nothing else. The version of the tree is
///   the version that its root was born in (every change copies the root), its height is the level
///   in the root node's header: fetch the root as WantedNode{root, kAnyLevel}.
/// * `version` and `level` in the same line are hints for people and statistics.
/// * One of `mirrors` is a copy of the root node of the version that `root` names, written *before*
///   that; the other one is of the version before. A
///   reader that fetches the whole block in one read gets word and node together. The mirror that
///   the word points to is overwritten no sooner than when the version after the next is published,
///   so it's nearly always intact; whether it is, its two versions and its checksum say, whatever
///   order the reader's NIC took. If not: read the root node in its chunk, as if there were no
///   mirror.
///
/// * `changes` is a ring of records of what each version has changed (changes.h), each written
///   *before* `root` names that version. They lie one behind the other (next_change()), so that a
///   reader that has come to know one place, from a mirror, knows those of all versions behind it.
///
/// * `owner` is twice the number of the tree (Tree::number), plus one if that is retired: replaced
///   by another one elsewhere, or removed. A one-sided reader, which asks no server, finds no root
///   here any more if it is not twice the number of the tree that it looks for.
///
/// * `ended` of the first block of a forest is 0 until the life of a server that has died is over
///   for one-sided readers (docs/decisions/0150); those of other trees look at it there.
///
/// The writer of the tree writes it; any thread reads it. What is read counts under the same time
/// lease as a node (DESIGN: grace period).
template <int D>
struct alignas(64) RootBlock {
  std::atomic<std::uint64_t> root;  ///< NodeRef::word()
  std::atomic<std::uint64_t> owner;
  std::atomic<Version> version;
  std::atomic<std::uint64_t> ended;
  std::atomic<std::uint64_t> level;
  std::uint64_t next_change;  ///< the writer's alone: where its next record begins,
  std::uint64_t records;      ///< and how many it has written
  std::uint8_t reserved[8];
  RootMirror<D> mirrors[2];
  /// What the mirrors of roots of level 1 leave out: few trees are so low, so it lies at the end,
  /// where it is read only if wanted.
  std::byte directories[2][node_bytes<D>(1) - node_bytes<D>(2)];
  std::byte changes[kChangeRingBytes];
};
static_assert(sizeof(std::atomic<std::uint64_t>) == 8 &&
              std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(RootMirror<2>) == 128 + kMirroredBytes<2>);
static_assert(offsetof(RootBlock<2>, directories) == 64 + 2 * sizeof(RootMirror<2>));

/// Successive chunks of a slab that hold a RootBlock and no nodes; the first ones of slab 0 do.
template <int D>
inline constexpr std::uint32_t kRootChunks =
    static_cast<std::uint32_t>((sizeof(RootBlock<D>) + kChunkBytes<D> - 1) / kChunkBytes<D>);

/// Bytes of the part of a RootBlock to read where only the root word is wanted: it, `owner`,
/// `version` and `ended`.
inline constexpr std::size_t kRootWordBytes = 32;
/// The same with the mirrors of a root that is known to be of level 2 or more.
template <int D>
inline constexpr std::size_t kRootMirrorBytes = offsetof(RootBlock<D>, directories);
/// The same with the mirrors of any root.
template <int D>
inline constexpr std::size_t kAnyRootMirrorBytes = offsetof(RootBlock<D>, changes);

/// What a copy of a RootBlock says.
template <int D>
struct RootView {
  NodeRef root;  ///< the current root; null if the tree isn't published yet, or retired, or its
                 ///< server's life is over
  const Node<D>* node;  ///< that node, in `room`; nullptr if its mirror is torn or was not read
  /// Where the record of what the next version will change begins, if there is a node.
  std::size_t next_change = 0;
  std::uint64_t records = 0;  ///< that lie before it, since the tree is there
  NodeRef index = {};  ///< the root of its id index, if there is a node and the tree is keyed
};

/// Looks at a reader's own copy (64-byte aligned) of the beginning of a RootBlock: kRootWordBytes
/// of it for the root word alone, kRootMirrorBytes or kAnyRootMirrorBytes for the mirrored root
/// node too, which is copied into `room`. The node, if there is one, has passed check_node with the
/// checksum of its mirror. `number`: of the tree that is looked for.
template <int D>
RootView<D> read_root_block(std::span<const std::byte> bytes, std::uint64_t chunk_count,
                            Node<D>& room, std::uint64_t number = 0);

/// Writes the record of what a version changes, with the root of its id index: record(ChangeWriter)
/// adds its nodes. To be called
/// before publish_root(), whose own store of the version before is read. Only the writer of the
/// tree.
template <int D, typename Record>
void write_changes(RootBlock<D>& block, Version version, NodeRef index, Record&& record) {
  ChangeWriter<D> writer(std::span(block.changes).subspan(block.next_change, kMostChangeBytes),
                         version, block.version.load(std::memory_order_relaxed), index);
  record(writer);
  block.next_change = next_change(block.next_change, writer.finish());
  ++block.records;
}

/// Writes the mirror of a root, with that of the id index of the same version, and then the root
/// word. The root's content must not change any more.
/// Only the writer of the tree.
template <int D>
void publish_root(RootBlock<D>& block, NodeRef root, const Node<D>& node, NodeRef index = {});

/// The root of the id index of the version whose root is that one: in the memory that the writer
/// writes. Null if a mirror has it no more, because two versions were published since. Any thread
/// of the writer's process, with that version pinned.
template <int D>
NodeRef index_root(const RootBlock<D>& block, NodeRef root);

}  // namespace silurus::rtree
