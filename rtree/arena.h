// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/result.h"
#include "rtree/free_chunks.h"
#include "rtree/node.h"
#include "rtree/run.h"

namespace silurus::rtree {

/// Where an arena gets its memory from: anonymous memory, or regions that clients may read. Called
/// by the writer of the tree alone.
class SlabSource {
 public:
  virtual ~SlabSource() = default;
  /// Zeroed memory, 64-byte aligned at least, that lives as long as the source. It is touched bit
  /// by bit: memory that the system gives page by page when touched is fine.
  virtual Result<std::span<std::byte>> allocate(std::size_t bytes) = 0;
};

/// Private memory of this process, in huge pages where the system grants them.
class AnonymousSlabs final : public SlabSource {
 public:
  AnonymousSlabs() = default;
  AnonymousSlabs(const AnonymousSlabs&) = delete;
  AnonymousSlabs& operator=(const AnonymousSlabs&) = delete;
  ~AnonymousSlabs() override;
  Result<std::span<std::byte>> allocate(std::size_t bytes) override;

 private:
  std::vector<std::span<std::byte>> mappings_;
};

/// Hands out chunks of slabs: one for a leaf or a node of an id index, kInnerChunks<D> successive
/// ones of a slab for an inner node, kRootChunks<D> of a slab for a RootBlock. Slabs are numbered
/// in the order in which they were allocated, all of kSlabBytes<D>; the first chunks of slab 0 are
/// those of the first RootBlock. Owned by a forest; the writer allocates, any thread may look at
/// nodes that were published to it.
template <int D>
class Arena {
 public:
  /// With slab 0 allocated. `max_chunks` limits chunks in use, those of the RootBlock included;
  /// `kept_inners`: the number of inner nodes whose room goes to leaves only if there is no other.
  static Result<Arena> create(SlabSource& slabs, std::uint32_t max_chunks,
                              std::uint64_t kept_inners);

  const Node<D>& node(std::uint32_t chunk) const {
    return *reinterpret_cast<const Node<D>*>(address(chunk));
  }
  Node<D>& mutable_node(std::uint32_t chunk) { return *reinterpret_cast<Node<D>*>(address(chunk)); }
  /// Where a chunk begins that a RootBlock begins with.
  std::byte* root_block(std::uint32_t chunk) const { return address(chunk); }

  /// Makes sure that the next `count` allocations succeed, in any order, and leave `spare` more of
  /// the limit; kOutOfMemory, or the source's error, if they would not.
  Status reserve(NodeCounts count, NodeCounts spare);
  /// The first chunk of a node of that level, with any content. Must have been reserved.
  std::uint32_t allocate(std::uint32_t level);
  /// Whether the run's chunks, none of which was ever handed out, can be had, with `spare` more of
  /// the limit left: kInvalidArgument if it can be none, kConflict if a chunk was handed out,
  /// kOutOfMemory.
  Status check_run(const Run& run, NodeCounts spare) const;
  /// kOutOfMemory: that number of nodes and chunks does not fit.
  Status too_large(std::uint64_t nodes, std::uint64_t chunks) const;
  /// Adds the next slab that such a run lacks, if it lacks one; whether it lacked none.
  Result<bool> add_slab_of_run(const Run& run);
  /// Hands the run out: it was checked, and has all its slabs.
  void take_run(const Run& run);
  /// The run's content was never published.
  void give_back_run(const Run& run);
  /// Takes back the chunks of a node that was allocated, or is one of a run.
  void release(std::uint32_t chunk, std::uint32_t chunks) {
    free_.release(chunk, chunks);
    --nodes_;
  }
  /// The same for one whose content was never published: where possible, its chunks count as never
  /// handed out, so that a run may have them again. The highest first.
  void give_back(std::uint32_t chunk, std::uint32_t chunks) {
    free_.give_back(chunk, chunks);
    --nodes_;
  }

  /// Chunks for one more RootBlock, with `spare` more of the limit left: the first of them.
  /// kOutOfMemory, or the source's error.
  Result<std::uint32_t> take_root_block(NodeCounts spare);
  /// Only for another RootBlock: an old reader may look at it for one still.
  void give_back_root_block(std::uint32_t chunk) { free_root_blocks_.push_back(chunk); }

  /// Makes chunks [0, count) addressable without handing them out; for restore().
  Status cover(std::uint64_t count);
  /// Says which of the covered chunks are in use: those marked, by that number of nodes and by
  /// RootBlocks, and those of the first RootBlock. The others are free. Before anything was
  /// allocated.
  void set_used(const std::vector<bool>& used, std::uint64_t nodes);

  /// The first chunk never handed out at which a run may begin.
  std::uint32_t unused() const {
    const std::uint32_t next = free_.next();
    const bool spans = kChunkShape<D>.spans_slabs(next, kInnerChunks<D>);
    return spans ? (next / kChunksPerSlab + 1) * kChunksPerSlab : next;
  }
  /// Chunks of all nodes, and those of RootBlocks.
  std::uint64_t used_chunks() const { return free_.next() - free_.free_count(); }
  std::uint64_t nodes() const { return nodes_; }
  ChunkRoom room() const { return free_.room(); }
  std::uint32_t max_chunks() const { return free_.limit(); }
  std::uint32_t slab_count() const { return slab_count_; }

 private:
  Arena(SlabSource& slabs, std::uint32_t max_chunks, std::uint64_t kept_inners);
  std::byte* address(std::uint32_t chunk) const {
    return slab_bases_[chunk / kChunksPerSlab] + offset_in_slab<D>(chunk);
  }
  std::uint64_t covered() const { return std::uint64_t{slab_count_} * kChunksPerSlab; }
  Status add_slabs_for(std::uint64_t chunks);

  SlabSource* slabs_;
  FreeChunks free_;
  std::vector<std::uint32_t> free_root_blocks_;  ///< their first chunks
  std::uint64_t nodes_ = 0;  ///< in chunks that were handed out and not given back
  std::uint32_t slab_count_ = 0;
  std::unique_ptr<std::byte*[]> slab_bases_;  ///< array of fixed size: readers look while it fills
};

}  // namespace silurus::rtree
