#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "common/result.h"
#include "rtree/geometry.h"
#include "rtree/keys.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

static_assert(std::endian::native == std::endian::little, "nodes travel as they lie in memory");

/// Entries of a leaf, children of an inner node: chosen by silurus-bench tree (docs/decisions/
/// 0010). Multiples of 16, so that every vector width scans whole vectors.
template <int D>
inline constexpr std::uint32_t kLeafFanout = 48;
template <int D>
inline constexpr std::uint32_t kInnerFanout = 80;
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

/// A box of floats, rounded outward: covers the box it was made of.
template <int D>
struct FloatBox {
  std::array<float, D> min{};
  std::array<float, D> max{};
  friend bool operator==(const FloatBox&, const FloatBox&) = default;
};

template <int D>
FloatBox<D> round_outward(const Box<D>& box) {
  FloatBox<D> out;
  for (int d = 0; d < D; ++d) {
    out.min[d] = round_down(box.min[d]);
    out.max[d] = round_up(box.max[d]);
  }
  return out;
}

/// The first line of a node.
struct NodeHeader {
  std::uint64_t checksum;  ///< XXH3 of all bytes of the node that follow it; 0 before publication
  Version birth;           ///< the version that first holds this node
  std::uint64_t entries;   ///< in the leaves below it
  std::uint32_t level;     ///< 0: a leaf
  std::uint32_t count;     ///< of entries or children here
  std::uint8_t reserved[32];
};
static_assert(sizeof(NodeHeader) == 64 && std::has_unique_object_representations_v<NodeHeader>);

/// A leaf, structure of arrays. A coordinate is held as the high and the low word of its order_key:
/// the high words and the ids, the hot part, come first; the low words are looked at only where a
/// high word equals the window's (docs/decisions/0010).
template <int D>
struct LeafBody {
  std::int32_t high[2 * D][kLeafFanout<D>];  ///< row 2 d: of min[d]; 2 d + 1: of max[d]
  std::uint64_t ids[kLeafFanout<D>];
  std::uint32_t low[2 * D][kLeafFanout<D>];
};

/// An inner node: its children's boxes as floats rounded outward, and their names.
template <int D>
struct InnerBody {
  float bounds[2 * D][kInnerFanout<D>];  ///< row 2 d: min[d]; 2 d + 1: max[d]
  std::uint64_t children[kInnerFanout<D>];
};

/// A node as it lies in a chunk, in memory and on the wire: no pointers, no padding, little-endian,
/// fixed size, 64-byte aligned. Immutable once published, so any thread may read it as long as its
/// version is pinned (or its time lease lasts).
template <int D>
struct alignas(64) Node {
  NodeHeader header;
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
  FloatBox<D> child_box(std::uint32_t index) const {
    FloatBox<D> box;
    for (int d = 0; d < D; ++d) {
      box.min[d] = inner.bounds[2 * d][index];
      box.max[d] = inner.bounds[2 * d + 1][index];
    }
    return box;
  }
  void set_child(std::uint32_t index, NodeRef ref, const FloatBox<D>& box) {
    inner.children[index] = ref.word();
    set_child_box(index, box);
  }
  void set_child_box(std::uint32_t index, const FloatBox<D>& box) {
    for (int d = 0; d < D; ++d) {
      inner.bounds[2 * d][index] = box.min[d];
      inner.bounds[2 * d + 1][index] = box.max[d];
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

/// Bytes of a chunk: what the arena's addresses are multiples of. An odd number of cache lines, so
/// that the same line of different nodes doesn't compete for the same set of a cache.
template <int D>
inline constexpr std::size_t kChunkBytes = sizeof(Node<D>);

/// Bytes of a node of that level to read (a prefix of its chunk); kAnyLevel: enough for each.
template <int D>
constexpr std::size_t node_bytes(std::uint32_t level) {
  if (level == kAnyLevel) return kChunkBytes<D>;
  return sizeof(NodeHeader) + (level == 0 ? sizeof(LeafBody<D>) : sizeof(InnerBody<D>));
}

/// Chunks of a slab (arena.h); the node in chunk c lies in slab c / kChunksPerSlab.
inline constexpr std::uint32_t kChunksPerSlab = 1 << 14;
template <int D>
inline constexpr std::size_t kSlabBytes = kChunkBytes<D>* kChunksPerSlab;

/// Identifies all of the above, for the handshake of two programs: layout, fanouts, chunk size,
/// dimension. Count kNodeLayout up when the meaning of the bytes changes.
inline constexpr std::uint32_t kNodeLayout = 1;
template <int D>
inline constexpr std::uint32_t kNodeFormat =
    (kNodeLayout << 24) | (kLeafFanout<D> << 16) | (kInnerFanout<D> << 8) |
    (static_cast<std::uint32_t>(D) << 4) | std::countr_zero(kChunksPerSlab) % 16;

static_assert(kNodeLayout < 256 && kLeafFanout<2> < 256 && kInnerFanout<2> < 256);
static_assert(kLeafFanout<2> % 16 == 0 && kInnerFanout<2> % 16 == 0);
static_assert(kLeafFanout<3> % 16 == 0 && kInnerFanout<3> % 16 == 0);
static_assert(kLeafFanout<2> <= 64 && kLeafFanout<3> <= 64, "a leaf's mask is one word");
static_assert(kInnerFanout<2> <= kMaxFanout && kInnerFanout<3> <= kMaxFanout);
static_assert(kChunkBytes<2> % 128 == 64 && kChunkBytes<3> % 128 == 64);
static_assert(std::is_trivially_copyable_v<Node<2>> && std::is_trivially_copyable_v<Node<3>>);

/// The checksum that the header should hold (never 0). Reads the node's header for its level.
template <int D>
std::uint64_t node_checksum(const Node<D>& node);

/// Whether the bytes (64-byte aligned, node_bytes(level) of them at least) are an intact node of
/// that name: birth, level (any, if kAnyLevel is expected), count within the fanout, children's
/// references within `chunk_count`; with `verify_checksum`, its checksum too (which a tree stores
/// if TreeOptions::checksums). Returns it, or nullptr. What a reader of a peer's memory calls, on
/// its own copy, before it believes.
template <int D>
const Node<D>* check_node(std::span<const std::byte> bytes, WantedNode expected,
                          std::uint64_t chunk_count, bool verify_checksum);

}  // namespace silurus::rtree
