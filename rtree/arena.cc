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
Arena<D>::Arena(SlabSource& slabs, std::uint32_t max_chunks)
    : slabs_(&slabs),
      max_chunks_(max_chunks),
      slab_bases_(std::make_unique<std::byte*[]>(max_chunks / kChunksPerSlab + 1)) {}

template <int D>
Result<Arena<D>> Arena<D>::create(SlabSource& slabs, std::uint32_t max_chunks) {
  Arena arena(slabs, max_chunks);
  if (Status added = arena.add_slabs_for(kRootChunks<D>); !added) return fail(added.error());
  arena.next_ = kRootChunks<D>;
  return arena;
}

template <int D>
Status Arena<D>::add_slabs_for(std::uint64_t chunks) {
  while (std::uint64_t{slab_count_} * kChunksPerSlab < chunks) {
    auto slab = slabs_->allocate(kSlabBytes<D>);
    if (!slab) return fail(slab.error());
    SILURUS_CHECK(slab->size() >= kSlabBytes<D>);
    SILURUS_CHECK(reinterpret_cast<std::uintptr_t>(slab->data()) % alignof(Node<D>) == 0);
    slab_bases_[slab_count_++] = slab->data();
  }
  return {};
}

template <int D>
Status Arena<D>::reserve(std::uint64_t count, std::uint64_t spare) {
  if (free_.size() >= count + spare) return {};
  const std::uint64_t fresh = count + spare - free_.size();
  if (next_ + fresh > max_chunks_) {
    return fail(ErrorCode::kOutOfMemory,
                "the tree's memory budget of " +
                    format_size(std::uint64_t{max_chunks_} * kChunkBytes<D>) + " is used up");
  }
  return free_.size() >= count ? Status{} : add_slabs_for(next_ + count - free_.size());
}

template <int D>
Status Arena<D>::check_run(std::uint32_t first, std::uint64_t count, std::uint64_t spare) const {
  if (first < next_) {
    return fail(ErrorCode::kConflict, "chunk " + std::to_string(first) + " and those behind it " +
                                          "are taken already, up to " + std::to_string(next_));
  }
  if (first + count + spare > max_chunks_) {
    return fail(ErrorCode::kOutOfMemory,
                std::to_string(count) + " nodes (" + format_size(count * kChunkBytes<D>) +
                    ") do not fit the tree's memory budget of " +
                    format_size(std::uint64_t{max_chunks_} * kChunkBytes<D>) + ", of which " +
                    format_size(std::uint64_t{next_ - static_cast<std::uint32_t>(free_.size())} *
                                kChunkBytes<D>) +
                    " are in use");
  }
  return {};
}

template <int D>
Result<bool> Arena<D>::add_slab_of_run(std::uint32_t first, std::uint64_t count) {
  const std::uint64_t there = std::uint64_t{slab_count_} * kChunksPerSlab;
  if (there >= first + count) return true;
  if (Status added = add_slabs_for(there + 1); !added) return fail(added.error());
  return there + kChunksPerSlab >= first + count;
}

template <int D>
std::uint32_t Arena<D>::allocate() {
  if (!free_.empty()) {
    const std::uint32_t chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  SILURUS_CHECK(next_ < std::uint64_t{slab_count_} * kChunksPerSlab);
  return next_++;
}

template <int D>
void Arena<D>::take_run(std::uint32_t first, std::uint32_t count) {
  SILURUS_CHECK(first >= next_ &&
                std::uint64_t{first} + count <= std::uint64_t{slab_count_} * kChunksPerSlab);
  for (std::uint32_t chunk = first; chunk-- > next_;) free_.push_back(chunk);
  next_ = first + count;
}

template <int D>
void Arena<D>::give_back_run(std::uint32_t first, std::uint32_t count) {
  if (first + count == next_) {
    next_ = first;
    return;
  }
  for (std::uint32_t chunk = first + count; chunk-- > first;) free_.push_back(chunk);
}

template <int D>
Status Arena<D>::cover(std::uint64_t count) {
  if (count > max_chunks_) {
    return fail(ErrorCode::kOutOfMemory,
                "the stored tree takes " + format_size(count * kChunkBytes<D>) +
                    ", more than the memory budget of " +
                    format_size(std::uint64_t{max_chunks_} * kChunkBytes<D>));
  }
  return add_slabs_for(count);
}

template <int D>
void Arena<D>::set_used(const std::vector<bool>& used) {
  SILURUS_CHECK(next_ == kRootChunks<D> && free_.empty());
  next_ = std::max(kRootChunks<D>, static_cast<std::uint32_t>(used.size()));
  for (std::uint32_t chunk = next_; chunk-- > kRootChunks<D>;) {  // the lowest is reused first
    if (chunk >= used.size() || !used[chunk]) free_.push_back(chunk);
  }
}

template class Arena<2>;
template class Arena<3>;

}  // namespace silurus::rtree
