// SPDX-License-Identifier: Apache-2.0

#include "rtree/free_chunks.h"

#include "common/check.h"

namespace silurus::rtree {

std::uint64_t ChunkRoom::fresh_end(NodeCounts wanted, bool splits) const {
  const auto less = [](std::uint64_t a, std::uint64_t b) { return a - std::min(a, b); };
  if (shape.inner_chunks == 1) return next + less(wanted.leaves + wanted.inners, singles);
  const std::uint64_t inners = less(wanted.inners, groups);
  std::uint64_t leaves = less(wanted.leaves, singles);
  if (splits) leaves = less(leaves, less(groups, wanted.inners) * shape.inner_chunks);
  std::uint64_t end = next + inners * shape.inner_chunks + leaves;
  if (inners == 0) return end;
  // At the end of each slab an inner node may leave chunks over, when no leaf is to come any more.
  for (std::uint64_t counted = 0;;) {
    const std::uint64_t ends = (end - 1) / shape.chunks_per_slab - next / shape.chunks_per_slab;
    if (ends == counted) return end;
    end += (ends - counted) * (shape.inner_chunks - 1);
    counted = ends;
  }
}

std::uint32_t FreeChunks::take_leaf(std::uint64_t covered) {
  if (singles_.empty()) {
    if (next_ < std::min<std::uint64_t>(covered, limit_)) return next_++;
    SILURUS_CHECK(!groups_.empty());
    for (std::uint32_t i = shape_.inner_chunks; i-- > 0;) singles_.push_back(groups_.back() + i);
    groups_.pop_back();
  }
  const std::uint32_t chunk = singles_.back();
  singles_.pop_back();
  return chunk;
}

std::uint32_t FreeChunks::take_inner(std::uint64_t covered) {
  if (shape_.inner_chunks == 1) return take_leaf(covered);
  if (!groups_.empty()) {
    const std::uint32_t chunk = groups_.back();
    groups_.pop_back();
    return chunk;
  }
  while (shape_.spans_slabs(next_, shape_.inner_chunks)) singles_.push_back(next_++);
  const std::uint32_t chunk = next_;
  next_ += shape_.inner_chunks;
  SILURUS_CHECK(next_ <= std::min<std::uint64_t>(covered, limit_));
  return chunk;
}

void FreeChunks::release(std::uint32_t chunk, std::uint32_t chunks) {
  (chunks == 1 ? singles_ : groups_).push_back(chunk);
}

void FreeChunks::give_back(std::uint32_t chunk, std::uint32_t chunks) {
  if (chunk + chunks == next_) {
    next_ = chunk;
  } else {
    release(chunk, chunks);
  }
}

void FreeChunks::free_range(std::uint32_t first, std::uint32_t end) {
  const std::uint32_t group = shape_.inner_chunks;
  while (end > first) {  // the lowest is used first
    if (group > 1 && groups_.size() < kept_groups_ && end - first >= group &&
        !shape_.spans_slabs(end - group, group)) {
      groups_.push_back(end -= group);
    } else {
      singles_.push_back(--end);
    }
  }
}

void FreeChunks::take_run(std::uint32_t first, std::uint32_t end) {
  SILURUS_CHECK(first >= next_ && end >= first && end <= limit_);
  free_range(next_, first);
  next_ = end;
}

void FreeChunks::give_back_run(std::uint32_t first, std::uint32_t end) {
  if (end == next_) {
    next_ = first;
  } else {
    free_range(first, end);
  }
}

void FreeChunks::set_used(const std::vector<bool>& used) {
  SILURUS_CHECK(singles_.empty() && groups_.empty());
  const std::uint32_t first = next_;
  next_ = std::max(first, static_cast<std::uint32_t>(used.size()));
  for (std::uint32_t end = next_; end > first;) {
    if (end <= used.size() && used[end - 1]) {
      --end;
      continue;
    }
    std::uint32_t begin = end - 1;
    while (begin > first && (begin > used.size() || !used[begin - 1])) --begin;
    free_range(begin, end);
    end = begin;
  }
}

}  // namespace silurus::rtree
