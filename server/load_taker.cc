// SPDX-License-Identifier: Apache-2.0

#include "server/load_taker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/log.h"

namespace silurus::server {

using replication::LoadPayload;
namespace group = replication::group;

/// The nodes go into the tree's chunks, and beside the last checkpoint.
template <int D>
class LoadTaker<D>::Sink final : public replication::StateSink<D> {
 public:
  Sink(const Parts& parts, const LoadWorld<D>& world, const LoadPayload& load)
      : parts_(parts), run_(replication::run_of(load)), pause_(world) {}

  Status begin() override {
    pause_.begin();
    nodes_.store(0, std::memory_order_relaxed);
    return parts_.store.begin_run(run_);
  }
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node) override {
    if (!run_.has(ref, rtree::chunks_of<D>(node.level()))) {
      return fail(ErrorCode::kProtocol, "a node that does not belong to the bulk load");
    }
    parts_.tree.put_node(ref, node);
    nodes_.store(nodes_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return parts_.store.take_of_run(ref, node);
  }
  Status finish(const replication::TreeFacts&) override {
    const std::uint64_t all = rtree::RunLayout(run_, rtree::kChunkShape<D>).nodes();
    if (nodes() != all) {
      return fail(ErrorCode::kProtocol, "a bulk load of " + std::to_string(all) +
                                            " nodes, of which only " + std::to_string(nodes()) +
                                            " can be reached from its root");
    }
    return parts_.store.keep_run(run_);
  }
  /// Taken so far; any thread.
  std::uint64_t nodes() const { return nodes_.load(std::memory_order_relaxed); }

 private:
  const Parts& parts_;
  const rtree::Run run_;
  CheckpointPause<D> pause_;
  std::atomic<std::uint64_t> nodes_{0};  ///< written by the thread of the fetch
};

template <int D>
LoadTaker<D>::LoadTaker(const Parts& parts, const LoadWorld<D>& world)
    : parts_(parts), world_(world) {}
template <int D>
LoadTaker<D>::~LoadTaker() = default;

template <int D>
void LoadTaker<D>::on_offer(const LoadPayload& load) {
  if (load.chunks != 0) {
    next_ = load;
    return;
  }
  if (next_ && next_->id == load.id) next_.reset();
  if (load_ && load_->id == load.id) is_reserving_ = false;
  parts_.runs.drop(load.id);
}

template <int D>
void LoadTaker<D>::step() {
  if (fetch_ != nullptr) {
    if (const auto outcome = fetch_->outcome()) {
      end(*outcome);
    } else if (next_ || !parts_.runs.has(load_->id)) {
      fetch_->cancel();  // it is not needed any more
    }
  }
  if (fetch_ == nullptr && next_) begin();
  if (is_reserving_) reserve();
  parts_.member.report({.unused_chunk = parts_.tree.unused_chunk(),
                        .load = load_ ? load_->id : 0,
                        .nodes = sink_ != nullptr ? sink_->nodes() : 0,
                        .outcome = outcome_});
}

template <int D>
void LoadTaker<D>::begin() {
  const LoadPayload load = *std::exchange(next_, std::nullopt);
  const bool leads = parts_.member.role() == group::Role::kPrimary;
  if (leads || parts_.runs.has(load.id)) return;  // our own, or found again
  parts_.runs.drop_others(load);
  load_ = load;
  outcome_ = 0;
  is_reserving_ = load.version >= parts_.tree.next_version();
}

template <int D>
void LoadTaker<D>::reserve() {
  const auto reserved = parts_.runs.reserve(*load_);
  if (reserved && !*reserved) return;  // a slab in each step
  is_reserving_ = false;
  if (reserved) return fetch();
  outcome_ = group::kLoadFailed + static_cast<std::uint64_t>(reserved.error().code);
  log::warning(parts_.member.label() + ": no room for the bulk load of " +
               std::to_string(load_->entries) +
               " entries that the group takes: " + reserved.error().message);
}

template <int D>
void LoadTaker<D>::fetch() {
  const group::View& view = parts_.member.view();
  const auto source = std::ranges::find(view.members, view.primary, &group::MemberInfo::id);
  if (source == view.members.end()) {
    return end(fail(ErrorCode::kUnavailable, "the member that offers it is unknown"));
  }
  sink_ = std::make_unique<Sink>(parts_, world_, *load_);
  fetch_ = world_.make_fetch(*sink_);
  fetch_->begin(source->peers,
                {.group = parts_.group, .load = load_->id, .patience = world_.patience});
}

template <int D>
void LoadTaker<D>::end(const Status& outcome) {
  fetch_.reset();
  if (outcome) {
    parts_.runs.keep(load_->id);
    outcome_ = group::kLoadIsWhole;
    ++taken_;
    log::info(parts_.member.label() + ": has copied the " + std::to_string(sink_->nodes()) +
              " nodes of a bulk load");
  } else {
    parts_.runs.give_up(load_->id);
    outcome_ = group::kLoadFailed + static_cast<std::uint64_t>(outcome.error().code);
    log::warning(parts_.member.label() +
                 ": has not copied the bulk load that the group takes: " + outcome.error().message);
  }
  sink_.reset();  // checkpoints go on
}

template class LoadTaker<2>;
template class LoadTaker<3>;

}  // namespace silurus::server
