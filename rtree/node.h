#pragma once

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
/// A node other than the root holds no fewer (the revised R*-tree's 20 %: Beckmann and Seeger,
/// SIGMOD 2009, section 4).
template <int D>
inline constexpr std::uint32_t kLeafMinimum = kLeafFanout<D> / 5;
template <int D>
inline constexpr std::uint32_t kInnerMinimum = kInnerFanout<D> / 5;
/// No tree is higher: kInnerMinimum^8 leaves are more than there are chunks.
inline constexpr std::uint32_t kMaxLevel = 9;

/// The beginning of a node.
struct NodeHeader {
  std::uint64_t checksum;  ///< XXH3 of all bytes of the node that follow it; 0 before publication
  Version birth;           ///< the version that first holds this node
  std::uint64_t entries;   ///< in the leaves below it
  std::uint32_t level;     ///< 0: a leaf
  std::uint32_t count;     ///< of entries or children here
};
static_assert(sizeof(NodeHeader) == 32 && std::has_unique_object_representations_v<NodeHeader>);

/// Bytes of the header and of the node's own box, before the entries or children.
template <int D>
inline constexpr std::size_t kHeadBytes = (sizeof(NodeHeader) + sizeof(Box<D>) + 63) / 64 * 64;

/// A leaf, structure of arrays. A coordinate is held as the high and the low word of its order_key:
/// the high words and the ids, the hot part, come first; the low words are looked at only where a
/// high word equals the window's (docs/decisions/0010).
template <int D>
struct LeafBody {
  std::int32_t high[2 * D][kLeafFanout<D>];  ///< row 2 d: of min[d]; 2 d + 1: of max[d]
  std::uint64_t ids[kLeafFanout<D>];
  std::uint32_t low[2 * D][kLeafFanout<D>];
};

/// An inner node: its children's boxes as cells of a grid over the node's own box (cells.h), and
/// their names.
template <int D>
struct InnerBody {
  double scale[D];  ///< cell_scale() of the node's box along each axis
  std::uint8_t reserved[64 - D * sizeof(double)];
  Cell cells[2 * D][kInnerFanout<D>];  ///< row 2 d: of min[d]; 2 d + 1: of max[d]
  std::uint64_t children[kInnerFanout<D>];
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
  };

  bool is_leaf() const { return header.level == 0; }
  std::uint32_t level() const { return header.level; }
  std::uint32_t count() const { return header.count; }
  Version birth() const { return header.birth; }

  /// Entry `index` of a leaf, exactly as it was inserted.
  Entry<D> entry(std::uint32_t index) const { return {leaf.ids[index], entry_box(index)}; }
  Box<D> entry_box(std::uint32_t index) const {
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      box.min[d] = coordinate(2 * d, index);
      box.max[d] = coordinate(2 * d + 1, index);
    }
    return box;
  }
  void set_entry(std::uint32_t index, const Entry<D>& entry) {
    leaf.ids[index] = entry.id;
    for (int d = 0; d < D; ++d) {
      set_coordinate(2 * d, index, entry.box.min[d]);
      set_coordinate(2 * d + 1, index, entry.box.max[d]);
    }
  }
  void copy_entry(std::uint32_t to, std::uint32_t from) {
    leaf.ids[to] = leaf.ids[from];
    for (int row = 0; row < 2 * D; ++row) {
      leaf.high[row][to] = leaf.high[row][from];
      leaf.low[row][to] = leaf.low[row][from];
    }
  }

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
  /// The box of the child lies within the node's own, for which fit() was called.
  void set_child(std::uint32_t index, NodeRef ref, const Box<D>& box) {
    inner.children[index] = ref.word();
    set_child_box(index, box);
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
    if (level != 0) {
      fit(bounds);
      for (std::uint8_t& byte : inner.reserved) byte = 0;
    }
  }

 private:
  double coordinate(int row, std::uint32_t index) const {
    return from_order_key(join_words(leaf.high[row][index], leaf.low[row][index]));
  }
  void set_coordinate(int row, std::uint32_t index, double value) {
    const std::int64_t key = order_key(value);
    leaf.high[row][index] = high_word(key);
    leaf.low[row][index] = low_word(key);
  }
};

/// Bytes of a node of that level; kAnyLevel: enough for each.
template <int D>
constexpr std::size_t node_bytes(std::uint32_t level) {
  if (level == kAnyLevel) return sizeof(Node<D>);
  return kHeadBytes<D> + (level == 0 ? sizeof(LeafBody<D>) : sizeof(InnerBody<D>));
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
/// Chunks of a node of that level.
template <int D>
constexpr std::uint32_t chunks_of(std::uint32_t level) {
  return level == 0 ? 1 : kInnerChunks<D>;
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
  if (wanted.level != kAnyLevel) return bytes;
  const std::size_t in_slab = kSlabBytes<D> - offset_in_slab<D>(wanted.ref.chunk());
  return bytes < in_slab ? bytes : in_slab;
}

/// Identifies all of the above, for the handshake of two programs: layout, fanouts, chunk size,
/// dimension. Count kNodeLayout up when the meaning of the bytes changes.
inline constexpr std::uint32_t kNodeLayout = 2;
template <int D>
inline constexpr std::uint32_t kNodeFormat =
    (kNodeLayout << 24) | (kLeafFanout<D> << 16) | (kInnerFanout<D> << 8) |
    (static_cast<std::uint32_t>(D) << 4) | std::countr_zero(kChunksPerSlab) % 16;

static_assert(kNodeLayout < 256 && kLeafFanout<2> < 256 && kInnerFanout<2> < 256);
static_assert(kLeafFanout<2> % 16 == 0 && kInnerFanout<2> % 32 == 0);
static_assert(kLeafFanout<3> % 16 == 0 && kInnerFanout<3> % 32 == 0);
static_assert(sizeof(InnerBody<2>) % 64 == 0 && sizeof(InnerBody<3>) % 64 == 0);
static_assert(kLeafFanout<2> <= 64 && kLeafFanout<3> <= 64, "a leaf's mask is one word");
static_assert(kInnerFanout<2> <= kMaxFanout && kInnerFanout<3> <= kMaxFanout);
static_assert(kChunkBytes<2> % 128 == 64 && kChunkBytes<3> % 128 == 64);
static_assert(node_bytes<2>(0) % 64 == 0 && node_bytes<3>(0) % 64 == 0, "aligned within slots");
static_assert(node_bytes<2>(1) % 64 == 0 && node_bytes<3>(1) % 64 == 0, "aligned within caches");
static_assert(kInnerChunks<2> >= 1 && kInnerChunks<3> >= 1);
static_assert(std::is_trivially_copyable_v<Node<2>> && std::is_trivially_copyable_v<Node<3>>);

/// Copies a node, of whose level its header tells.
template <int D>
void copy_node(Node<D>& to, const Node<D>& from) {
  std::memcpy(static_cast<void*>(&to), &from, node_bytes<D>(from.level()));
}

/// The checksum that the header should hold (never 0). Reads the node's header for its level.
template <int D>
std::uint64_t node_checksum(const Node<D>& node);

/// Whether the bytes (64-byte aligned, node_bytes(level) of them at least) are an intact node of
/// that name: birth, level (any, if kAnyLevel is expected), count within the fanout, a box of
/// finite numbers with the grid that belongs to it, children's references within `chunk_count`, and
/// none to an inner node that would span slabs; with `verify_checksum`, its checksum too (which a
/// tree stores if TreeOptions::checksums). Returns it, or nullptr. What a reader of a peer's memory
/// calls, on its own copy, before it believes.
template <int D>
const Node<D>* check_node(std::span<const std::byte> bytes, WantedNode expected,
                          std::uint64_t chunk_count, bool verify_checksum);

}  // namespace silurus::rtree
