// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "common/result.h"
#include "rtree/cells.h"
#include "rtree/free_chunks.h"
#include "rtree/geometry.h"
#include "rtree/keys.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

static_assert(std::endian::native == std::endian::little, "nodes travel as they lie in memory");

/// Entries of a leaf, children of an inner node: chosen by silurus-bench tree (docs/decisions/
/// 0010). Multiples of what a vector of any width holds, so that every scan is of whole vectors.
template <int D>
inline constexpr std::uint32_t kLeafFanout = 32;
template <int D>
inline constexpr std::uint32_t kInnerFanout = 64;
/// What a scan's mask has room for.
inline constexpr std::uint32_t kMaxFanout = 128;
/// Entries of a leaf lie in groups of as many, each with a box in the leaf's parent
/// (docs/decisions/ 0015).
inline constexpr std::uint32_t kGroupFanout = 4;
template <int D>
inline constexpr std::uint32_t kLeafGroups = kLeafFanout<D> / kGroupFanout;
static_assert(kLeafGroups<2> == 8 && kLeafGroups<3> == 8, "as many as a GroupMask has bits");
/// A node other than the root holds no fewer (the revised R*-tree's 20 %: Beckmann and Seeger,
/// SIGMOD 2009, section 4).
template <int D>
inline constexpr std::uint32_t kLeafMinimum = kLeafFanout<D> / 5;
template <int D>
inline constexpr std::uint32_t kInnerMinimum = kInnerFanout<D> / 5;
/// No tree is higher: kInnerMinimum^8 leaves are more than there are chunks.
inline constexpr std::uint32_t kMaxLevel = 9;

/// The level of the leaves of an id index (id_index.h); that of its inner nodes counts on from
/// there. So the level of a node tells which kind it is.
inline constexpr std::uint32_t kIndexLevel = 16;
inline constexpr std::uint32_t kMaxIndexLevel = kIndexLevel + kMaxLevel;
constexpr bool is_index_level(std::uint32_t level) {
  return level >= kIndexLevel && level <= kMaxIndexLevel;
}

/// The levels of records (records.h), in the same way: of pages, by whose inner nodes a record is
/// found by its id, and of the pieces of a long record.
inline constexpr std::uint32_t kPageLevel = 32;
inline constexpr std::uint32_t kMaxPageLevel = kPageLevel + kMaxLevel;
inline constexpr std::uint32_t kPieceLevel = 48;
inline constexpr std::uint32_t kMaxPieceLevel = kPieceLevel + 2;
/// The level of a node that names the root of an id index and that of the pages beside it.
inline constexpr std::uint32_t kPairLevel = 64;
constexpr bool is_record_level(std::uint32_t level) {
  return (level >= kPageLevel && level <= kMaxPageLevel) ||
         (level >= kPieceLevel && level <= kMaxPieceLevel) || level == kPairLevel;
}
/// Whether a node of that level has no body of an inner node.
constexpr bool is_bottom(std::uint32_t level) {
  return level == 0 || level == kIndexLevel || level == kPageLevel || level == kPieceLevel;
}
/// Whether a node of that level names no others.
constexpr bool is_childless(std::uint32_t level) { return is_bottom(level) && level != kPageLevel; }

/// The beginning of a node.
struct NodeHeader {
  std::uint64_t checksum;  ///< XXH3 of all bytes of the node that follow it; 0 before publication
  Version birth;           ///< the version that first holds this node
  std::uint64_t entries;   ///< in the leaves below it
  std::uint32_t level;     ///< 0: a leaf
  std::uint32_t count;     ///< entries or children here
};
static_assert(sizeof(NodeHeader) == 32 && std::has_unique_object_representations_v<NodeHeader>);

/// Bytes of the header and of the node's own box, before the entries or children.
template <int D>
inline constexpr std::size_t kHeadBytes = (sizeof(NodeHeader) + sizeof(Box<D>) + 63) / 64 * 64;

/// A group of entries of a leaf that lie close to each other: what a search reads of a leaf, from
/// afar too. A coordinate is held as the high and the low word of its order_key; the low words are
/// looked at only where a high word equals the window's (docs/decisions/0010). High words of places
/// without an entry are kNoEntry, so that a group can be searched without the leaf's header.
template <int D>
struct LeafGroup {
  std::int32_t high[2 * D][kGroupFanout];  ///< row 2 d: of min[d]; 2 d + 1: of max[d]
  std::uint64_t ids[kGroupFanout];
  std::uint32_t low[2 * D][kGroupFanout];
};
/// More than the high word of any coordinate or of any bound of a window.
inline constexpr std::int32_t kNoEntry = INT32_MAX;

/// A leaf: entry i is entry i % kGroupFanout of group i / kGroupFanout.
template <int D>
struct LeafBody {
  LeafGroup<D> groups[kLeafGroups<D>];
};

/// The boxes of the groups of a leaf, as the leaf's parent holds them: in cells of a grid over the
/// leaf's own cells in the parent (group_cell_of). They cover the groups' boxes; a group without
/// entries has any box. Row 2 d: of min[d]; 2 d + 1: of max[d].
template <int D>
struct LeafDirectory {
  GroupCell cells[2 * D][kLeafGroups<D>];
  friend bool operator==(const LeafDirectory&, const LeafDirectory&) = default;
};

/// Boxes for a leaf whose groups are not known: each covers all of it.
template <int D>
inline constexpr LeafDirectory<D> kUnknownDirectory = [] {
  LeafDirectory<D> directory{};
  for (int d = 0; d < D; ++d) {
    for (GroupCell& cell : directory.cells[2 * d]) cell = kLeastGroupCell;
    for (GroupCell& cell : directory.cells[2 * d + 1]) cell = kGreatestGroupCell;
  }
  return directory;
}();
/// The same, within a batch, of one whose entries are in good groups still.
template <int D>
inline constexpr LeafDirectory<D> kOutdatedDirectory = [] {
  LeafDirectory<D> directory = kUnknownDirectory<D>;
  directory.cells[2][0] = kLeastGroupCell + 1;
  return directory;
}();

/// The ids from `least` to `greatest`; none if that is less.
struct IdRange {
  std::uint64_t least;
  std::uint64_t greatest;

  constexpr bool holds(std::uint64_t id) const { return least <= id && id <= greatest; }
  constexpr bool covers(const IdRange& other) const {
    return other.least > other.greatest || (least <= other.least && other.greatest <= greatest);
  }
  /// Makes it cover another one.
  constexpr void extend(const IdRange& by) {
    least = by.least < least ? by.least : least;
    greatest = by.greatest > greatest ? by.greatest : greatest;
  }
  friend constexpr bool operator==(const IdRange&, const IdRange&) = default;
};
inline constexpr IdRange kNoIds = {UINT64_MAX, 0};
inline constexpr IdRange kAllIds = {0, UINT64_MAX};

/// An inner node: its children's boxes as cells of a grid over the node's own box (cells.h), and
/// their names.
template <int D>
struct InnerBody {
  double scale[D];    ///< cell_scale() of the node's box along each axis
  IdRange ids;        ///< that of all entries below, or a wider one (Node::ids)
  Version ids_birth;  ///< the birth of the node for which `ids` was written
  std::uint8_t reserved[64 - D * sizeof(double) - sizeof(IdRange) - sizeof(Version)];
  union {
    Cell cells[2 * D][kInnerFanout<D>];  ///< row 2 d: of min[d]; 2 d + 1: of max[d]
    /// In an inner node of an id index, or of pages, instead: no id below child i is less than
    /// least[i], and all ids below the children before it are. Of pieces: the offset in the record
    /// at which child i begins. In a pair: the level of child i.
    std::uint64_t least[kInnerFanout<D>];
  };
  std::uint64_t children[kInnerFanout<D>];
  LeafDirectory<D> directories[kInnerFanout<D>];  ///< in a node of level 1 alone
};

/// What an id index holds of an entry, as rows of whole numbers: the id, the version in which the
/// entry was written last, for each d the order_key() of min[d], and for each d what that of max[d]
/// is more.
template <int D>
inline constexpr std::size_t kIndexRows = 2 + 2 * D;

/// A leaf of an id index: its entries in the order of their ids, row by row. A row holds how much
/// each number is more than the least of the row, in as many bytes as the greatest of these takes
/// (frame of reference: Goldstein, Ramakrishnan and Shaft, "Compressing Relations and Indexes",
/// ICDE 1998). So an entry of a point takes some 18 bytes in 2-D, where ids follow each other.
template <int D>
struct IndexLeafBody {
  std::uint8_t widths[8];  ///< bytes of a number, by row; 0: all are the least one
  std::uint64_t least[kIndexRows<D>];
  std::byte rows[sizeof(LeafBody<D>) - 8 - 8 * kIndexRows<D>];
};

/// A page of records, or a piece of one: bytes, as records.h says.
template <int D>
struct BytesBody {
  std::byte bytes[sizeof(LeafBody<D>)];
};

/// A node as it lies in memory and on the wire: no pointers, no padding, little-endian, 64-byte
/// aligned. Immutable once published, so any thread may read it as long as its version is pinned
/// (or its time lease lasts). In an arena, or in a peer's memory, it ends with the body of its
/// kind, after node_bytes(level): copy_node() copies no more.
template <int D>
struct alignas(64) Node {
  NodeHeader header;
  /// The box of all entries below, exactly: no wider. Of any content if there are none.
  Box<D> bounds;
  std::uint8_t reserved[kHeadBytes<D> - sizeof(NodeHeader) - sizeof(Box<D>)];
  union {
    LeafBody<D> leaf;
    InnerBody<D> inner;
    IndexLeafBody<D> keyed;
    BytesBody<D> room;
  };

  bool is_leaf() const { return header.level == 0; }
  bool is_bottom() const { return rtree::is_bottom(header.level); }
  bool is_of_index() const { return is_index_level(header.level); }
  /// Whether it is a node of the tree itself, not of what lies beside it.
  bool is_of_tree() const { return header.level <= kMaxLevel; }
  std::uint32_t level() const { return header.level; }
  std::uint32_t count() const { return header.count; }
  Version birth() const { return header.birth; }

  /// Entry `index` of a leaf, exactly as it was inserted.
  Entry<D> entry(std::uint32_t index) const { return {id(index), entry_box(index)}; }
  std::uint64_t id(std::uint32_t index) const {
    return leaf.groups[index / kGroupFanout].ids[index % kGroupFanout];
  }
  Box<D> entry_box(std::uint32_t index) const {
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      box.min[d] = coordinate(2 * d, index);
      box.max[d] = coordinate(2 * d + 1, index);
    }
    return box;
  }
  void set_entry(std::uint32_t index, const Entry<D>& entry) {
    leaf.groups[index / kGroupFanout].ids[index % kGroupFanout] = entry.id;
    for (int d = 0; d < D; ++d) {
      set_coordinate(2 * d, index, entry.box.min[d]);
      set_coordinate(2 * d + 1, index, entry.box.max[d]);
    }
  }
  void copy_entry(std::uint32_t to, std::uint32_t from) { set_entry(to, entry(from)); }
  /// The place holds no entry any more.
  void clear_entry(std::uint32_t index) {
    for (auto& row : leaf.groups[index / kGroupFanout].high) row[index % kGroupFanout] = kNoEntry;
  }
  /// The key of a coordinate of an entry (keys.h); row 2 d: of min[d]; 2 d + 1: of max[d].
  std::int64_t key(int row, std::uint32_t index) const {
    const LeafGroup<D>& group = leaf.groups[index / kGroupFanout];
    const std::uint32_t at = index % kGroupFanout;
    return join_words(group.high[row][at], group.low[row][at]);
  }

  /// A range that holds the ids of all entries below: for a leaf the least one. Only a writer asks
  /// for it, to look for an entry among many of the same box (docs/decisions/0016). A release that
  /// does not know of it leaves what it says there, or zeros, in nodes that it makes, whose birth
  /// is another one: then it is unknown, and any id may be below.
  IdRange ids() const {
    if (!is_leaf()) return inner.ids_birth == header.birth ? inner.ids : kAllIds;
    IdRange range = kNoIds;
    for (std::uint32_t i = 0; i < header.count; ++i) range.extend({id(i), id(i)});
    return range;
  }
  /// Sets the ids of an inner node, after its birth.
  void set_ids(const IdRange& ids) {
    inner.ids = ids;
    inner.ids_birth = header.birth;
  }
  /// The same, so that they cover `by` too.
  void extend_ids(const IdRange& by) {
    IdRange range = ids();
    range.extend(by);
    set_ids(range);
  }
  /// An id by which the node is told from siblings whose ids are all less or all greater; of a leaf
  /// that has entries.
  std::uint64_t some_id() const { return is_leaf() ? id(0) : ids().least; }

  /// Child `index` of an inner node.
  NodeRef child(std::uint32_t index) const { return NodeRef::from_word(inner.children[index]); }
  /// A box that covers that of the child, wider by a cell or so on each side.
  Box<D> child_box(std::uint32_t index) const {
    Box<D> out;
    for (int d = 0; d < D; ++d) {
      const double step = 1 / inner.scale[d];
      out.min[d] = least_of(inner.cells[2 * d][index], bounds.min[d], step);
      out.max[d] = greatest_of(inner.cells[2 * d + 1][index], bounds.min[d], bounds.max[d], step);
    }
    return out;
  }
  /// A box that covers those of all entries of a group of the leaf that is child `index`, as its
  /// directory tells.
  Box<D> group_box(std::uint32_t index, std::uint32_t group) const {
    Box<D> out = child_box(index);
    for (int d = 0; d < D; ++d) {
      if (!is_plain_scale(inner.scale[d])) continue;  // places may lie beyond what cells can tell
      const auto& cells = inner.directories[index].cells;
      const GroupGrid grid = group_grid(index, d);
      const double low = bounds.min[d];
      const double step = 1 / inner.scale[d];
      out.min[d] = std::max(out.min[d], least_of(cells[2 * d][group], grid, low, step));
      out.max[d] = std::min(out.max[d], greatest_of(cells[2 * d + 1][group], grid, low, step));
    }
    return out;
  }
  /// Whether the directory tells that a group of the leaf that is child `index` has no entries.
  bool is_empty_group(std::uint32_t index, std::uint32_t group) const {
    const auto& cells = inner.directories[index].cells;
    return cells[0][group] > cells[1][group];
  }
  /// The box of the child lies within the node's own, for which fit() was called. Of a leaf: any of
  /// its groups may lie anywhere in it (forget_directory).
  void set_child(std::uint32_t index, NodeRef ref, const Box<D>& box) {
    inner.children[index] = ref.word();
    set_child_box(index, box);
    forget_directory(index);
  }
  void set_child_box(std::uint32_t index, const Box<D>& box) {
    for (int d = 0; d < D; ++d) {
      inner.cells[2 * d][index] = cell_of(box.min[d], bounds.min[d], inner.scale[d]);
      inner.cells[2 * d + 1][index] = cell_of(box.max[d], bounds.min[d], inner.scale[d]);
    }
  }
  void copy_child(std::uint32_t to, std::uint32_t from) {
    inner.children[to] = inner.children[from];
    for (auto& row : inner.cells) row[to] = row[from];
    if (level() == 1) inner.directories[to] = inner.directories[from];
  }

  // Directories, of a node of level 1. Those of leaves that a batch has changed in any other way
  // than add_to_directory() can tell are forgotten, and made anew at its end (Tree::seal_batch).

  /// Whether something is known of the leaf's groups; false also if group 0 reaches as far as the
  /// leaf does along the first axis.
  bool has_directory(std::uint32_t index) const {
    const auto& cells = inner.directories[index].cells;
    return cells[0][0] != kLeastGroupCell || cells[1][0] != kGreatestGroupCell;
  }
  /// Any group may hold anything. Of other levels than 1 it does nothing.
  void forget_directory(std::uint32_t index) {
    if (level() == 1) inner.directories[index] = kUnknownDirectory<D>;
  }
  /// The same of a leaf whose box has changed, and whose entries have not changed their groups.
  void outdate_directory(std::uint32_t index) {
    if (has_directory(index)) inner.directories[index] = kOutdatedDirectory<D>;
  }
  bool is_directory_outdated(std::uint32_t index) const {
    return inner.directories[index] == kOutdatedDirectory<D>;
  }
  /// The leaf that is child `index`, whose box has not changed, has an entry more in that group.
  void add_to_directory(std::uint32_t index, std::uint32_t group, const Box<D>& box);
  /// Gives an inner node another box, and its children, none of which has changed, their cells in
  /// it: box_of(i) is the box of child i. Directories stay right, and get a little wider.
  template <typename BoxOf>
  void refit(const Box<D>& box, BoxOf&& box_of) {
    bool is_plain[D];
    for (int d = 0; d < D; ++d) is_plain[d] = is_plain_scale(inner.scale[d]);
    fit(box);
    for (int d = 0; d < D; ++d) is_plain[d] &= is_plain_scale(inner.scale[d]);
    for (std::uint32_t i = 0; i < header.count; ++i) move_child_box(i, box_of(i), is_plain);
  }
  /// Cells of child `index` along axis d, as group_cell_of() takes them.
  GroupGrid group_grid(std::uint32_t index, int d) const {
    return GroupGrid::of(inner.cells[2 * d][index], inner.cells[2 * d + 1][index]);
  }
  /// Gives an inner node its own box. The cells of children that it holds mean nothing any more.
  void fit(const Box<D>& box) {
    bounds = box;
    for (int d = 0; d < D; ++d) inner.scale[d] = cell_scale(bounds.min[d], bounds.max[d]);
  }

  /// Makes it an empty node.
  void reset(Version birth, std::uint32_t level) {
    header = NodeHeader{};
    header.birth = birth;
    header.level = level;
    bounds = Box<D>{};
    for (std::uint8_t& byte : reserved) byte = 0;
    if (level == 0) {
      for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) clear_entry(i);
    } else if (rtree::is_bottom(level)) {
      room = {};
    } else {
      fit(bounds);
      inner.ids = {};
      inner.ids_birth = 0;
      for (std::uint8_t& byte : inner.reserved) byte = 0;
    }
  }

 private:
  void move_child_box(std::uint32_t index, const Box<D>& box, const bool* is_plain);
  double coordinate(int row, std::uint32_t index) const { return from_order_key(key(row, index)); }
  void set_coordinate(int row, std::uint32_t index, double value) {
    LeafGroup<D>& group = leaf.groups[index / kGroupFanout];
    group.high[row][index % kGroupFanout] = high_word(order_key(value));
    group.low[row][index % kGroupFanout] = low_word(order_key(value));
  }
};

/// Bytes of a node of that level; kAnyLevel: enough for each of the R-tree's; kAnyIndexLevel: for
/// each of an index.
template <int D>
constexpr std::size_t node_bytes(std::uint32_t level) {
  if (level == kAnyLevel) return sizeof(Node<D>);
  if (level == kAnyIndexLevel) {
    return std::max(node_bytes<D>(kIndexLevel), node_bytes<D>(kIndexLevel + 1));
  }
  if (is_bottom(level)) return kHeadBytes<D> + sizeof(LeafBody<D>);
  const std::size_t directories = level == 1 ? 0 : sizeof(LeafDirectory<D>) * kInnerFanout<D>;
  return kHeadBytes<D> + sizeof(InnerBody<D>) - directories;
}

/// Where group `group` of a leaf begins in its node, in bytes.
template <int D>
constexpr std::size_t group_offset(std::uint32_t group) {
  return kHeadBytes<D> + group * sizeof(LeafGroup<D>);
}

/// Bytes of a chunk, which is what a leaf takes, and what the arena's addresses are multiples of.
/// An odd number of cache lines, so that the same line of different nodes doesn't compete for the
/// same set of a cache.
template <int D>
inline constexpr std::size_t kChunkBytes = (node_bytes<D>(0) + 63) / 128 * 128 + 64;
/// Successive chunks of an inner node, which is named by the first (docs/decisions/0132).
template <int D>
inline constexpr std::uint32_t kInnerChunks =
    static_cast<std::uint32_t>((node_bytes<D>(1) + kChunkBytes<D> - 1) / kChunkBytes<D>);
/// Whether a node of that level takes one chunk, whatever kInnerChunks is.
constexpr bool is_single(std::uint32_t level) { return level == 0 || level >= kIndexLevel; }
/// Chunks of a node of that level.
template <int D>
constexpr std::uint32_t chunks_of(std::uint32_t level) {
  return is_single(level) ? 1 : kInnerChunks<D>;
}

/// Chunks of a slab (arena.h); a node whose first chunk is c lies in slab c / kChunksPerSlab.
inline constexpr std::uint32_t kChunksPerSlab = 1 << 15;
template <int D>
inline constexpr std::size_t kSlabBytes = kChunkBytes<D>* kChunksPerSlab;
template <int D>
inline constexpr ChunkShape kChunkShape = {kInnerChunks<D>, kChunksPerSlab};

/// Where the node of that name begins in its slab, in bytes.
template <int D>
constexpr std::uint64_t offset_in_slab(std::uint32_t chunk) {
  return std::uint64_t{chunk % kChunksPerSlab} * kChunkBytes<D>;
}
/// Bytes to read of a node: all of it; of a root whose level isn't known yet enough for each, but
/// no more than its slab has.
template <int D>
constexpr std::size_t bytes_to_read(WantedNode wanted) {
  const std::size_t bytes = node_bytes<D>(wanted.level);
  if (wanted.level < kAnyIndexLevel) return bytes;
  const std::size_t in_slab = kSlabBytes<D> - offset_in_slab<D>(wanted.ref.chunk());
  return bytes < in_slab ? bytes : in_slab;
}

/// Identifies all of the above, for the handshake of two programs: layout, fanouts, chunk size,
/// dimension. Count kNodeLayout up when the meaning of the bytes changes.
inline constexpr std::uint32_t kNodeLayout = 6;
template <int D>
inline constexpr std::uint32_t kNodeFormat =
    (kNodeLayout << 24) | (kLeafFanout<D> << 16) | (kInnerFanout<D> << 8) |
    (static_cast<std::uint32_t>(D) << 4) | std::countr_zero(kChunksPerSlab) % 16;

static_assert(kNodeLayout < 256 && kLeafFanout<2> < 256 && kInnerFanout<2> < 256);
static_assert(kInnerFanout<2> % 32 == 0 && kInnerFanout<3> % 32 == 0);
static_assert(sizeof(LeafGroup<2>) % 32 == 0 && sizeof(LeafGroup<3>) % 32 == 0, "rows are aligned");
static_assert(sizeof(InnerBody<2>) % 64 == 0 && sizeof(InnerBody<3>) % 64 == 0);
static_assert(sizeof(IndexLeafBody<2>) == sizeof(LeafBody<2>) &&
              sizeof(IndexLeafBody<3>) == sizeof(LeafBody<3>));
static_assert(sizeof(InnerBody<2>::least) <= sizeof(InnerBody<2>::cells));
static_assert(node_bytes<2>(kIndexLevel + 1) <= kChunkBytes<2> &&
                  node_bytes<3>(kIndexLevel + 1) <= kChunkBytes<3>,
              "a node of an index takes one chunk");
static_assert(kLeafFanout<2> <= 64 && kLeafFanout<3> <= 64, "a leaf's mask is one word");
static_assert(kInnerFanout<2> <= kMaxFanout && kInnerFanout<3> <= kMaxFanout);
static_assert(kChunkBytes<2> % 128 == 64 && kChunkBytes<3> % 128 == 64);
static_assert(node_bytes<2>(0) % 64 == 0 && node_bytes<3>(0) % 64 == 0, "aligned within slots");
static_assert(node_bytes<2>(1) % 64 == 0 && node_bytes<3>(1) % 64 == 0, "aligned within caches");
static_assert(node_bytes<2>(2) % 64 == 0 && node_bytes<3>(2) % 64 == 0);
static_assert(kInnerChunks<2> >= 1 && kInnerChunks<3> >= 1);
static_assert(std::is_trivially_copyable_v<Node<2>> && std::is_trivially_copyable_v<Node<3>>);

/// Copies a node, of whose level its header tells.
template <int D>
void copy_node(Node<D>& to, const Node<D>& from) {
  std::memcpy(static_cast<void*>(&to), &from, node_bytes<D>(from.level()));
}

/// XXH3, but never 0.
std::uint64_t bytes_checksum(std::span<const std::byte> bytes);

/// The checksum that the header should hold (never 0). Reads the node's header for its level.
template <int D>
std::uint64_t node_checksum(const Node<D>& node);

/// Whether the bytes (64-byte aligned, node_bytes(level) of them at least) are an intact node of
/// that name: birth, level (any, if kAnyLevel is expected), count within the fanout, a box of
/// finite numbers with the grid that belongs to it, children's references within `chunk_count`, and
/// none to an inner node that would span slabs, ids in their order; with `verify_checksum`, its
/// checksum too (which a tree stores if TreeOptions::checksums). Returns it, or nullptr. What a
/// reader of a peer's memory calls, on its own copy, before it believes.
template <int D>
const Node<D>* check_node(std::span<const std::byte> bytes, WantedNode expected,
                          std::uint64_t chunk_count, bool verify_checksum);

}  // namespace silurus::rtree
