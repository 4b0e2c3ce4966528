// SPDX-License-Identifier: Apache-2.0

#include "rtree/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "common/check.h"
#include "common/units.h"
#include "rtree/root_block.h"

namespace silurus::rtree {

namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

}  // namespace

AnonymousSlabs::~AnonymousSlabs() {
  for (const auto& mapping : mappings_) munmap(mapping.data(), mapping.size());
}

Result<std::span<std::byte>> AnonymousSlabs::allocate(std::size_t bytes) {
  const std::size_t mapped = bytes + kHugePageBytes;  // to begin at a huge page
  void* start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) {
    const int cause = errno;
    return fail(errno_error(ErrorCode::kOutOfMemory,
                            "cannot map " + format_size(bytes) + " for nodes", cause));
  }
  mappings_.emplace_back(static_cast<std::byte*>(start), mapped);
  const auto address = reinterpret_cast<std::uintptr_t>(start);
  const std::size_t skipped = (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  std::byte* first = static_cast<std::byte*>(start) + skipped;
  // Advice: without huge pages everything works, more slowly.
  (void)madvise(first, (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes,
                MADV_HUGEPAGE);
  return std::span<std::byte>(first, bytes);
}

template <int D>
Arena<D>::Arena(SlabSource& slabs, std::uint32_t max_chunks, std::uint64_t kept_inners)
    : slabs_(&slabs),
      free_(kChunkShape<D>, kRootChunks<D>, max_chunks, kept_inners),
      slab_bases_(std::make_unique<std::byte*[]>(max_chunks / kChunksPerSlab + 1)) {}

template <int D>
Result<Arena<D>> Arena<D>::create(SlabSource& slabs, std::uint32_t max_chunks,
                                  std::uint64_t kept_inners) {
  Arena arena(slabs, max_chunks, kept_inners);
  if (Status added = arena.add_slabs_for(kRootChunks<D>); !added) return fail(added.error());
  return arena;
}

template <int D>
Status Arena<D>::add_slabs_for(std::uint64_t chunks) {
  while (covered() < chunks) {
    auto slab = slabs_->allocate(kSlabBytes<D>);
    if (!slab) return fail(slab.error());
    SILURUS_CHECK(slab->size() >= kSlabBytes<D>);
    SILURUS_CHECK(reinterpret_cast<std::uintptr_t>(slab->data()) % alignof(Node<D>) == 0);
    slab_bases_[slab_count_++] = slab->data();
  }
  return {};
}

template <int D>
Status Arena<D>::reserve(NodeCounts count, NodeCounts spare) {
  const ChunkRoom room = free_.room();
  if (!room.holds(count + spare)) {
    return fail(ErrorCode::kOutOfMemory,
                "the tree's memory budget of " +
                    format_size(std::uint64_t{max_chunks()} * kChunkBytes<D>) + " is used up");
  }
  return add_slabs_for(std::min<std::uint64_t>(room.fresh_end(count, false), max_chunks()));
}

template <int D>
Status Arena<D>::check_run(const Run& run, NodeCounts spare) const {
  if (!RunLayout::is_sound(run, kChunkShape<D>)) {
    return fail(ErrorCode::kInvalidArgument, "no tree of " + std::to_string(run.inners) +
                                                 " inner nodes takes " +
                                                 std::to_string(run.chunks) + " chunks from " +
                                                 std::to_string(run.first) + " on");
  }
  if (run.first < free_.next()) {
    return fail(ErrorCode::kConflict, "chunk " + std::to_string(run.first) +
                                          " and those behind it are taken already, " + "up to " +
                                          std::to_string(free_.next()));
  }
  ChunkRoom behind = free_.room();
  behind.next = std::uint64_t{run.first} + run.chunks;
  if (behind.next > behind.limit || !behind.holds(spare)) {
    return too_large(RunLayout(run, kChunkShape<D>).nodes(), run.chunks);
  }
  return {};
}

template <int D>
Status Arena<D>::too_large(std::uint64_t nodes, std::uint64_t chunks) const {
  const auto size = [](std::uint64_t count) { return format_size(count * kChunkBytes<D>); };
  return fail(ErrorCode::kOutOfMemory, std::to_string(nodes) + " nodes (" + size(chunks) +
                                           ") do not fit the tree's memory budget of " +
                                           size(max_chunks()) + ", of which " +
                                           size(used_chunks()) + " are in use");
}

template <int D>
Result<bool> Arena<D>::add_slab_of_run(const Run& run) {
  const std::uint64_t end = std::uint64_t{run.first} + run.chunks;
  if (covered() >= end) return true;
  if (Status added = add_slabs_for(covered() + 1); !added) return fail(added.error());
  return covered() >= end;
}

template <int D>
std::uint32_t Arena<D>::allocate(std::uint32_t level) {
  ++nodes_;
  return is_single(level) ? free_.take_leaf(covered()) : free_.take_inner(covered());
}

template <int D>
void Arena<D>::take_run(const Run& run) {
  SILURUS_CHECK(std::uint64_t{run.first} + run.chunks <= covered());
  free_.take_run(run.first, run.first + run.chunks);
  nodes_ += RunLayout(run, kChunkShape<D>).nodes();
}

template <int D>
void Arena<D>::give_back_run(const Run& run) {
  free_.give_back_run(run.first, run.first + run.chunks);
  nodes_ -= RunLayout(run, kChunkShape<D>).nodes();
}

template <int D>
Result<std::uint32_t> Arena<D>::take_root_block(NodeCounts spare) {
  if (!free_root_blocks_.empty()) {
    const std::uint32_t chunk = free_root_blocks_.back();
    free_root_blocks_.pop_back();
    return chunk;
  }
  std::uint32_t first = free_.next();
  if (kChunkShape<D>.spans_slabs(first, kRootChunks<D>)) {
    first = (first / kChunksPerSlab + 1) * kChunksPerSlab;
  }
  ChunkRoom behind = free_.room();
  behind.next = std::uint64_t{first} + kRootChunks<D>;
  if (behind.next > behind.limit || !behind.holds(spare)) {
    return fail(ErrorCode::kOutOfMemory,
                "the root of one more tree does not fit the memory budget of " +
                    format_size(std::uint64_t{max_chunks()} * kChunkBytes<D>) + ", of which " +
                    format_size(used_chunks() * kChunkBytes<D>) + " are in use");
  }
  if (Status added = add_slabs_for(behind.next); !added) return fail(added.error());
  free_.take_run(first, first + kRootChunks<D>);
  return first;
}

template <int D>
Status Arena<D>::cover(std::uint64_t count) {
  if (count > max_chunks()) {
    return fail(ErrorCode::kOutOfMemory,
                "the stored tree takes " + format_size(count * kChunkBytes<D>) +
                    ", more than the memory budget of " +
                    format_size(std::uint64_t{max_chunks()} * kChunkBytes<D>));
  }
  return add_slabs_for(count);
}

template <int D>
void Arena<D>::set_used(const std::vector<bool>& used, std::uint64_t nodes) {
  SILURUS_CHECK(nodes_ == 0 && free_.next() == kRootChunks<D>);
  free_.set_used(used);
  nodes_ = nodes;
}

template class Arena<2>;
template class Arena<3>;

}  // namespace silurus::rtree
