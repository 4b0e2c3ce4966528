// SPDX-License-Identifier: Apache-2.0

#include "rtree/run.h"

#include "common/check.h"

namespace silurus::rtree {

RunLayout::RunLayout(const Run& run, ChunkShape shape)
    : run_(run),
      shape_(shape),
      leaves_(run.chunks - std::uint64_t{run.inners} * shape.inner_chunks),
      end_of_inners_(shape.end_of_inners(run.first, run.inners)),
      first_slab_end_((run.first / shape.chunks_per_slab + std::uint64_t{1}) *
                      shape.chunks_per_slab) {
  SILURUS_CHECK(is_sound(run, shape));
  if (end_of_inners_ <= first_slab_end_) return;
  first_gap_ = (first_slab_end_ - run.first) % shape.inner_chunks;
  gap_ = shape.chunks_per_slab % shape.inner_chunks;
  gaps_ = end_of_inners_ - run.first - std::uint64_t{run.inners} * shape.inner_chunks;
}

bool RunLayout::is_sound(const Run& run, ChunkShape shape) {
  const std::uint64_t of_inners = std::uint64_t{run.inners} * shape.inner_chunks;
  if (run.chunks <= of_inners) return false;  // no leaf
  if (run.inners == 0) return run.chunks == 1;
  // Leaves fill all gaps, so that none of its chunks is left over.
  return !shape.spans_slabs(run.first, shape.inner_chunks) &&
         shape.end_of_inners(run.first, run.inners) <= std::uint64_t{run.first} + run.chunks;
}

std::uint32_t RunLayout::leaf(std::uint64_t number) const {
  SILURUS_CHECK(number < leaves_);
  if (number >= gaps_) return static_cast<std::uint32_t>(end_of_inners_ + number - gaps_);
  if (number < first_gap_) {
    return static_cast<std::uint32_t>(first_slab_end_ - first_gap_ + number);
  }
  const std::uint64_t behind = number - first_gap_;
  const std::uint64_t slab_end = first_slab_end_ + (behind / gap_ + 1) * shape_.chunks_per_slab;
  return static_cast<std::uint32_t>(slab_end - gap_ + behind % gap_);
}

}  // namespace silurus::rtree
