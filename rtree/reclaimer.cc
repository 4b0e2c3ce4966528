// SPDX-License-Identifier: Apache-2.0

#include "rtree/reclaimer.h"

#include <algorithm>

namespace silurus::rtree {

void Reclaimer::retire(std::span<const RetiredNode> nodes, Nanoseconds now) {
  for (const RetiredNode& node : nodes) {
    waiting_.push_back({node, now});
    waiting_chunks_ += node.chunks;
  }
}

void Reclaimer::settle(const RetiredNode& node, std::span<const Version> pinned) {
  const auto pin = std::lower_bound(pinned.begin(), pinned.end(), node.birth);
  if (pin != pinned.end() && *pin < node.death) {
    pinned_[*pin].push_back(node);
    ++pinned_count_;
    pinned_chunks_ += node.chunks;
  } else {
    freed_.push_back(node);
  }
}

std::span<const RetiredNode> Reclaimer::collect(Nanoseconds now, std::span<const Version> pinned) {
  freed_.clear();
  for (auto bucket = pinned_.begin(); bucket != pinned_.end();) {
    if (std::binary_search(pinned.begin(), pinned.end(), bucket->first)) {
      ++bucket;
      continue;
    }
    const std::vector<RetiredNode> nodes = std::move(bucket->second);
    bucket = pinned_.erase(bucket);
    pinned_count_ -= nodes.size();
    for (const RetiredNode& node : nodes) {
      pinned_chunks_ -= node.chunks;
      settle(node, pinned);
    }
  }
  while (!waiting_.empty() && waiting_.front().published + grace_ <= now) {
    waiting_chunks_ -= waiting_.front().node.chunks;
    settle(waiting_.front().node, pinned);
    waiting_.pop_front();
  }
  return freed_;
}

}  // namespace silurus::rtree
