#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/result.h"
#include "rtree/node.h"

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

/// Hands out chunks of slabs. Slabs are numbered in the order in which they were allocated, all of
/// kSlabBytes<D>; the first kRootChunks<D> chunks of slab 0 hold the RootBlock and are never handed
/// out. Owned by a tree; the writer allocates, any thread may look at nodes that were published to
/// it.
template <int D>
class Arena {
 public:
  /// With slab 0 allocated. `max_chunks` limits chunks in use, those of the RootBlock included.
  static Result<Arena> create(SlabSource& slabs, std::uint32_t max_chunks);

  const Node<D>& node(std::uint32_t chunk) const {
    return *reinterpret_cast<const Node<D>*>(address(chunk));
  }
  Node<D>& mutable_node(std::uint32_t chunk) { return *reinterpret_cast<Node<D>*>(address(chunk)); }
  std::byte* root_block() const { return slab_bases_[0]; }

  /// Makes sure that the next `count` allocations succeed and leave `spare` more chunks of the
  /// limit; kOutOfMemory, or the source's error, if they would not.
  Status reserve(std::uint64_t count, std::uint64_t spare);
  /// A chunk with any content. Must have been reserved.
  std::uint32_t allocate();
  /// Whether the chunks [first, first + count), none of which was ever handed out, can be had, with
  /// `spare` more chunks of the limit left: kConflict if one was, kOutOfMemory.
  Status check_run(std::uint32_t first, std::uint64_t count, std::uint64_t spare) const;
  /// Adds the next slab that such a run lacks, if it lacks one; whether it lacked none.
  Result<bool> add_slab_of_run(std::uint32_t first, std::uint64_t count);
  /// Hands the run out: it was checked, and has all its slabs.
  void take_run(std::uint32_t first, std::uint32_t count);
  /// The run's content was never published.
  void give_back_run(std::uint32_t first, std::uint32_t count);
  void release(std::uint32_t chunk) { free_.push_back(chunk); }
  /// The same for one whose content was never published: where possible, it counts as never handed
  /// out, so that a run may have it again. The highest first.
  void give_back(std::uint32_t chunk) {
    if (chunk + 1 == next_) {
      --next_;
    } else {
      free_.push_back(chunk);
    }
  }

  /// Makes chunks [0, count) addressable without handing them out; for restore().
  Status cover(std::uint64_t count);
  /// Of the chunks covered, those marked (and those of the RootBlock) are in use, the others free.
  /// Before anything was allocated.
  void set_used(const std::vector<bool>& used);

  /// Chunks handed out once, given back or not, and those of the RootBlock.
  std::uint32_t used() const { return next_; }
  std::uint32_t free_count() const { return static_cast<std::uint32_t>(free_.size()); }
  std::uint32_t max_chunks() const { return max_chunks_; }
  std::uint32_t slab_count() const { return slab_count_; }

 private:
  Arena(SlabSource& slabs, std::uint32_t max_chunks);
  std::byte* address(std::uint32_t chunk) const {
    return slab_bases_[chunk / kChunksPerSlab] +
           std::size_t{chunk % kChunksPerSlab} * kChunkBytes<D>;
  }
  Status add_slabs_for(std::uint64_t chunks);

  SlabSource* slabs_;
  std::uint32_t max_chunks_;
  std::uint32_t next_ = 0;  ///< first chunk never handed out
  std::uint32_t slab_count_ = 0;
  std::unique_ptr<std::byte*[]> slab_bases_;  ///< of fixed size: readers look while it fills
  std::vector<std::uint32_t> free_;
};

}  // namespace silurus::rtree
