// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "rtree/free_chunks.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// Chunks with successive numbers for a whole tree that is made beside the one that is published,
/// built or copied: its root is in the first one.
struct Run {
  std::uint32_t first = 0;
  std::uint32_t chunks = 0;
  std::uint32_t inners = 0;  ///< its inner nodes
  Version birth = 0;         ///< the version that it is to be
  NodeRef root() const { return {first, birth}; }
  /// Whether a node of that name and number of chunks can lie in it.
  bool has(NodeRef ref, std::uint32_t of_node) const {
    return ref.chunk() >= first && of_node <= chunks && ref.chunk() - first <= chunks - of_node &&
           ref.is_born_in(birth);
  }
  friend bool operator==(const Run&, const Run&) = default;
};

/// Where the nodes of a run lie: inner nodes side by side from the first chunk on; leaves in what
/// slabs have left between them, then behind the last one.
class RunLayout {
 public:
  RunLayout(const Run& run, ChunkShape shape);

  /// Whether there can be such a run: its chunks are those of its nodes, and the root does not span
  /// slabs.
  static bool is_sound(const Run& run, ChunkShape shape);

  std::uint64_t nodes() const { return run_.inners + leaves_; }
  /// First chunk of an inner node; number 0 is the root, if that is one.
  std::uint32_t inner(std::uint64_t number) const {
    return static_cast<std::uint32_t>(shape_.end_of_inners(run_.first, number + 1) -
                                      shape_.inner_chunks);
  }
  std::uint32_t leaf(std::uint64_t number) const;
  /// First chunk of a node: of the inner nodes, then of the leaves.
  std::uint32_t node(std::uint64_t number) const {
    return number < run_.inners ? inner(number) : leaf(number - run_.inners);
  }

 private:
  Run run_;
  ChunkShape shape_;
  std::uint64_t leaves_;
  std::uint64_t end_of_inners_;
  std::uint64_t first_gap_ = 0;   ///< chunks left in the first slab
  std::uint64_t gap_ = 0;         ///< in each further one but the last
  std::uint64_t gaps_ = 0;        ///< in all of them
  std::uint64_t first_slab_end_;  ///< the chunk behind the first slab
};

}  // namespace silurus::rtree
