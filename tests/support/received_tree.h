// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <unordered_map>

#include "replication/state_transfer/receiver.h"

namespace silurus::testing_support {

/// A transferred tree in memory, for Tree::restore().
template <int D>
class ReceivedTree final : public replication::StateSink<D>, public rtree::StoredNodes<D> {
 public:
  replication::TreeFacts facts;  ///< as of finish()

  Status begin() override { return {}; }
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node) override {
    rtree::copy_node(nodes_.emplace_back(), node);
    places_.emplace(ref, &nodes_.back());
    return {};
  }
  Status finish(const replication::TreeFacts& whole) override {
    facts = whole;
    return {};
  }
  std::span<const std::byte> find(rtree::NodeRef ref) const override {
    const auto found = places_.find(ref);
    if (found == places_.end()) return {};
    const auto* const bytes = reinterpret_cast<const std::byte*>(found->second);
    return {bytes, rtree::node_bytes<D>(found->second->level())};
  }

 private:
  std::deque<rtree::Node<D>> nodes_;
  std::unordered_map<rtree::NodeRef, const rtree::Node<D>*> places_;
};

}  // namespace silurus::testing_support
