// SPDX-License-Identifier: Apache-2.0

#include "client/node_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "common/check.h"

namespace silurus::client {

void NodeCache::FreeMemory::operator()(std::byte* memory) const { std::free(memory); }

NodeCache::NodeCache(std::size_t budget_bytes, std::size_t node_bytes) : node_bytes_(node_bytes) {
  SILURUS_CHECK(node_bytes > 0 && node_bytes % 64 == 0);
  const std::size_t count = std::max(budget_bytes / node_bytes, kMinNodes);
  SILURUS_CHECK(count < kNone / 4);
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, count * node_bytes)));
  SILURUS_CHECK(memory_ != nullptr);
  slots_.resize(count);
  table_.assign(std::bit_ceil(2 * count), kNone);
}

std::size_t NodeCache::home(rtree::NodeRef ref) const {
  // The multiplier of std::hash<NodeRef>; its upper bits are the well-mixed ones.
  const auto hash = static_cast<std::uint64_t>(std::hash<rtree::NodeRef>()(ref));
  return static_cast<std::size_t>(hash >> 32) & (table_.size() - 1);
}

std::size_t NodeCache::position(rtree::NodeRef ref) const {
  std::size_t at = home(ref);
  while (table_[at] != kNone && slots_[table_[at]].ref != ref) at = (at + 1) & (table_.size() - 1);
  return at;
}

const std::byte* NodeCache::find(rtree::NodeRef ref) {
  const std::uint32_t slot = table_[position(ref)];
  if (slot == kNone) return nullptr;
  slots_[slot].used = true;
  return node(slot);
}

void NodeCache::put(rtree::NodeRef ref, std::span<const std::byte> bytes) {
  SILURUS_CHECK(ref && bytes.size() <= node_bytes_);
  if (table_[position(ref)] != kNone) return;
  const std::uint32_t slot = size_ < slots_.size() ? static_cast<std::uint32_t>(size_++) : evict();
  std::memcpy(node(slot), bytes.data(), bytes.size());
  // Not yet used: what is read once and never again goes first.
  slots_[slot] = {.ref = ref, .used = false};
  table_[position(ref)] = slot;
}

std::byte* NodeCache::rename(rtree::NodeRef from, rtree::NodeRef to) {
  SILURUS_CHECK(from && to);
  const std::uint32_t slot = table_[position(from)];
  if (slot == kNone || table_[position(to)] != kNone) return nullptr;
  forget(from);
  slots_[slot].ref = to;
  table_[position(to)] = slot;
  return node(slot);
}

std::uint32_t NodeCache::evict() {
  while (slots_[hand_].used) {
    slots_[hand_].used = false;
    hand_ = hand_ + 1 == slots_.size() ? 0 : hand_ + 1;
  }
  const std::uint32_t victim = hand_;
  hand_ = hand_ + 1 == slots_.size() ? 0 : hand_ + 1;
  forget(slots_[victim].ref);
  slots_[victim].ref = rtree::NodeRef();
  return victim;
}

void NodeCache::forget(rtree::NodeRef ref) {
  const std::size_t mask = table_.size() - 1;
  std::size_t gap = position(ref);
  SILURUS_CHECK(table_[gap] != kNone);
  // Backward-shift deletion: what was pushed past the gap by a collision moves back into it.
  for (std::size_t at = (gap + 1) & mask; table_[at] != kNone; at = (at + 1) & mask) {
    const std::size_t distance_home = (at - home(slots_[table_[at]].ref)) & mask;
    const std::size_t distance_gap = (at - gap) & mask;
    if (distance_home >= distance_gap) {
      table_[gap] = table_[at];
      gap = at;
    }
  }
  table_[gap] = kNone;
}

bool NodeCache::observe(rtree::Version version) {
  const rtree::Version epoch = version >> (rtree::NodeRef::kBirthBits - 1);
  if (epoch == epoch_) return false;
  clear();
  epoch_ = epoch;
  return true;
}

void NodeCache::clear() {
  std::ranges::fill(table_, kNone);
  std::ranges::fill(slots_, Slot{});
  size_ = 0;
  hand_ = 0;
}

}  // namespace silurus::client
