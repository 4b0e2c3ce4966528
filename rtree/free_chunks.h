// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rtree/node_ref.h"

namespace silurus::rtree {

/// Numbers of nodes, by kind: leaves take one chunk each, inner nodes some successive ones.
struct NodeCounts {
  std::uint64_t leaves = 0;
  std::uint64_t inners = 0;

  friend constexpr NodeCounts operator+(NodeCounts a, NodeCounts b) {
    return {a.leaves + b.leaves, a.inners + b.inners};
  }
  friend constexpr NodeCounts operator-(NodeCounts a, NodeCounts b) {
    return {a.leaves - b.leaves, a.inners - b.inners};
  }
  friend constexpr NodeCounts operator*(NodeCounts a, std::uint64_t times) {
    return {a.leaves * times, a.inners * times};
  }
  friend constexpr NodeCounts operator/(NodeCounts a, std::uint64_t parts) {
    return {a.leaves / parts, a.inners / parts};
  }
  friend constexpr bool operator==(NodeCounts, NodeCounts) = default;
};
/// The larger number of each kind.
constexpr NodeCounts largest(NodeCounts a, NodeCounts b) {
  return {std::max(a.leaves, b.leaves), std::max(a.inners, b.inners)};
}

/// How chunks are grouped. An inner node never spans two slabs: what is left of a slab then serves
/// leaves.
struct ChunkShape {
  std::uint32_t inner_chunks;     ///< chunks of an inner node; at least 1
  std::uint32_t chunks_per_slab;  ///< at least inner_chunks

  constexpr bool spans_slabs(std::uint64_t chunk, std::uint32_t chunks) const {
    return chunk % chunks_per_slab + chunks > chunks_per_slab;
  }
  /// The end of the last of `inners` inner nodes that are laid side by side from `first` on.
  constexpr std::uint64_t end_of_inners(std::uint64_t first, std::uint64_t inners) const {
    const std::uint64_t here = (chunks_per_slab - first % chunks_per_slab) / inner_chunks;
    if (inners <= here) return first + inners * inner_chunks;
    const std::uint64_t last = inners - here - 1;  // its number in the slabs behind this one
    const std::uint64_t in_slab = chunks_per_slab / inner_chunks;
    return (first / chunks_per_slab + 1 + last / in_slab) * chunks_per_slab +
           (last % in_slab + 1) * inner_chunks;
  }
};

/// Chunks that nothing uses: single ones, those that lie together as an inner node needs them, and
/// those that were never used, which are both. A figure of a tree's memory.
struct ChunkRoom {
  ChunkShape shape = {1, 1};
  std::uint64_t singles = 0;
  std::uint64_t groups = 0;  ///< groups of shape.inner_chunks
  std::uint64_t next = 0;    ///< first chunk never used,
  std::uint64_t limit = 0;   ///< and the end of those that may be

  /// Whether there is room for that number of nodes of each kind.
  bool holds(NodeCounts wanted) const { return fresh_end(wanted, true) <= limit; }
  /// The end of the chunks never used that these nodes take at most, in whatever order they come. A
  /// group serves leaves only if `splits`, and no inner node needs it.
  std::uint64_t fresh_end(NodeCounts wanted, bool splits) const;
  /// All of them together.
  std::uint64_t chunks() const {
    return singles + groups * shape.inner_chunks + (limit - std::min(next, limit));
  }
};

/// Which chunks of an arena are free. Single chunks that were used are never put together to a
/// group while the arena lives: the newest checkpoint may hold each of them in another area
/// (docs/decisions/0132). A group may be taken apart. Of the tree's writer.
class FreeChunks {
 public:
  /// Chunks [0, first) are in use by none; `kept_groups`: what is given back in one piece is left
  /// in one piece until there is that number of groups.
  FreeChunks(ChunkShape shape, std::uint32_t first, std::uint32_t limit, std::uint64_t kept_groups)
      : shape_(shape), next_(first), limit_(limit), kept_groups_(kept_groups) {}

  ChunkRoom room() const {
    return {.shape = shape_,
            .singles = singles_.size(),
            .groups = groups_.size(),
            .next = next_,
            .limit = limit_};
  }
  /// Takes a chunk; those before `covered` have memory. There must be room.
  std::uint32_t take_leaf(std::uint64_t covered);
  std::uint32_t take_inner(std::uint64_t covered);
  /// Back again, in one piece as it was taken.
  void release(std::uint32_t chunk, std::uint32_t chunks);
  /// The same for one whose content was never published: where possible, it counts as never used.
  /// The highest first.
  void give_back(std::uint32_t chunk, std::uint32_t chunks);
  /// Takes the chunks [first, end), none of which was ever used.
  void take_run(std::uint32_t first, std::uint32_t end);
  /// Their content was never published.
  void give_back_run(std::uint32_t first, std::uint32_t end);
  /// Those marked are used, and those before the first; the others up to the last one are free, and
  /// no checkpoint holds anything in them. Before anything was taken.
  void set_used(const std::vector<bool>& used);

  /// First chunk never used.
  std::uint32_t next() const { return next_; }
  std::uint32_t limit() const { return limit_; }
  /// Chunks that were used and are free.
  std::uint64_t free_count() const {
    return singles_.size() + groups_.size() * shape_.inner_chunks;
  }

 private:
  void free_range(std::uint32_t first, std::uint32_t end);

  ChunkShape shape_;
  std::uint32_t next_;
  std::uint32_t limit_;
  std::uint64_t kept_groups_;
  std::vector<std::uint32_t> singles_;
  std::vector<std::uint32_t> groups_;  ///< first chunks; none if a group is one chunk
};

}  // namespace silurus::rtree
