// SPDX-License-Identifier: Apache-2.0

#include "server/served_collections.h"

#include <algorithm>
#include <utility>

#include "server/limits.h"

namespace silurus::server {

Error gone_error(const std::string& name) {
  return {ErrorCode::kNoCollection,
          "the collection " + (name.empty() ? "" : "'" + name + "' ") +
              "that this connection was made for was dropped, renamed or replaced: connect again "
              "(silurus collections lists what there is)"};
}

template <int D>
ServedCollections<D>::ServedCollections(replication::Collections<D> collections,
                                        const HistoryOptions& history)
    : history_(history),
      first_(&collections.first()),
      dropped_(std::make_shared<DroppedTrees<D>>()),
      collections_(std::move(collections)),
      version_(first_->next_version() - 1) {
  renew_list();
}

/// What is left of versions goes before the trees.
template <int D>
ServedCollections<D>::~ServedCollections() {
  list_.clear();
}

// --- any thread

template <int D>
CollectionPtr<D> ServedCollections<D>::found(std::uint64_t key) const {
  const auto one = std::ranges::find_if(list_, [&](const CollectionPtr<D>& collection) {
    return protocol::collection_key(collection->info.name) == key;
  });
  return one != list_.end() ? *one : nullptr;
}

template <int D>
CollectionPtr<D> ServedCollections<D>::find(std::uint64_t key) const {
  const std::lock_guard lock(mutex_);
  return found(key);
}

template <int D>
auto ServedCollections<D>::list() const -> std::vector<Listed> {
  const std::lock_guard lock(mutex_);
  std::vector<Listed> all;
  for (const auto& one : list_) {
    all.push_back({one, collections_.catalogue().find(one->info.number)->note});
  }
  return all;
}

template <int D>
bool ServedCollections<D>::begin_export() const {
  if (exports_.fetch_add(1, std::memory_order_relaxed) < kMaxExports) return true;  // a counter
  end_export();
  return false;
}

template <int D>
auto ServedCollections<D>::hold() const -> Held {
  const std::lock_guard lock(mutex_);
  return collections_.hold();
}

template <int D>
auto ServedCollections<D>::hold_both(const Collection<D>& one, const Collection<D>& other) const
    -> std::pair<rtree::Snapshot<D>, rtree::Snapshot<D>> {
  const std::lock_guard lock(mutex_);  // publish() has it
  return {one.tree().snapshot(), other.tree().snapshot()};
}

// --- the writer

template <int D>
Result<replication::CollectionOrder> ServedCollections<D>::begin(const CollectionDemand& demand) {
  using replication::CollectionAction;
  const bool creates = demand.action == CollectionAction::kCreate;
  std::uint64_t number = 0;
  if (!creates) {
    const auto info = collections_.catalogue().get(demand.name);
    if (!info) return fail(info.error());
    number = info->number;
  }
  const std::string& named = creates ? demand.name : demand.text;
  const bool names = creates || demand.action == CollectionAction::kRename ||
                     demand.action == CollectionAction::kReplace;
  if (Status good = names ? replication::check_collection_name(named) : Status(); !good) {
    return fail(good.error());
  }
  if (const auto other = names ? find(protocol::collection_key(named)) : nullptr;
      other != nullptr && other->info.name != named) {
    return fail(ErrorCode::kConflict, "the name '" + named + "' cannot be told from '" +
                                          other->info.name + "' by clients: choose another one");
  }
  const auto order = replication::CollectionOrder::make(demand.action, number, named,
                                                        demand.dimensions, demand.flags);
  if (!order) return fail(order.error());
  if (Status begun = collections_.begin(*order); !begun) return fail(begun.error());
  has_begun_ = true;
  return *order;
}

template <int D>
rtree::Version ServedCollections<D>::publish() {
  first_->seal();  // without the mutex: it takes as long as the batch is large
  if (!has_begun_) {
    const std::lock_guard lock(mutex_);  // against hold()
    return version_ = first_->publish();
  }
  has_begun_ = false;
  std::vector<CollectionPtr<D>> before;  // let go of without the mutex
  const std::lock_guard lock(mutex_);
  // Before the version in which its tree is empty: a thread that takes a snapshot and then finds
  // that the collection is not gone has one from before.
  const auto going = collections_.going();
  for (const auto& one : list_) {
    // Release: pairs with the looks of sessions and workers.
    const bool goes = std::ranges::find(going, one->info.number) != going.end();
    if (goes) one->is_gone.store(true, std::memory_order_release);
  }
  version_ = first_->publish();
  auto done = collections_.commit();
  before = list_;
  renew_list();
  for (auto& tree : done.removed) {
    const auto last = std::ranges::find_if(
        before, [&](const CollectionPtr<D>& one) { return &one->tree() == tree.get(); });
    ServedTree<D>& served = *(*last)->served;
    served.into = dropped_;
    served.dropped = std::move(tree);
  }
  return version_;
}

template <int D>
void ServedCollections<D>::take_back() {
  if (std::exchange(has_begun_, false)) collections_.take_back();
}

template <int D>
void ServedCollections<D>::set_retired(bool retired) {
  const std::lock_guard lock(mutex_);
  for (const auto& one : list_) one->tree().set_retired(retired);
}

template <int D>
void ServedCollections<D>::trim_histories(Nanoseconds now) {
  if (history_.age == 0) return;
  const std::uint64_t held = first_->stats().bytes_held;
  const bool is_due = now - trimmed_ >= kHistoryTrims;
  if (!is_due && held <= history_.retained_bytes) return;
  std::vector<History<D>*> histories;
  for (const auto& one : list_) histories.push_back(&one->served->history);  // we alone change it
  if (is_due) {
    trimmed_ = now;
    for (History<D>* const one : histories) one->trim();
  }
  History<D>::limit(histories, held);
}

template <int D>
Nanoseconds ServedCollections<D>::reclaim() {
  std::vector<std::unique_ptr<Tree>> unused;
  {
    const std::lock_guard lock(dropped_->mutex);
    unused.swap(dropped_->trees);
  }
  for (auto& tree : unused) Tree::remove(std::move(tree));
  return first_->reclaim();
}

template <int D>
std::shared_ptr<ServedTree<D>> ServedCollections<D>::serve(Tree& tree) {
  HistoryOptions options = history_;
  // A thread that has seen a version of one tree waits here until publish() is through with all of
  // them. The tree may have a newer version by then than its history has.
  options.covers = [this, &tree](rtree::Version version, rtree::Version current) {
    const std::lock_guard lock(mutex_);
    return version <= version_ && tree.snapshot().version() == current;
  };
  return std::make_shared<ServedTree<D>>(tree, options);
}

/// What the catalogue says now: a collection that is the same keeps its object, and a tree that is
/// called otherwise its versions.
template <int D>
void ServedCollections<D>::renew_list() {
  std::vector<CollectionPtr<D>> now;
  for (const auto& info : collections_.catalogue().collections()) {
    Tree* const tree = collections_.find(info.number);
    const auto same = std::ranges::find_if(
        list_, [&](const CollectionPtr<D>& one) { return one->info.number == info.number; });
    if (same != list_.end()) {
      now.push_back(*same);
      continue;
    }
    const auto renamed = std::ranges::find_if(
        list_, [&](const CollectionPtr<D>& one) { return &one->tree() == tree; });
    auto served = renamed != list_.end() ? (*renamed)->served : serve(*tree);
    now.push_back(std::make_shared<Collection<D>>(info, std::move(served)));
  }
  const bool is_any_gone = std::ranges::any_of(
      list_, [&](const auto& one) { return std::ranges::find(now, one) == now.end(); });
  list_ = std::move(now);
  if (is_any_gone) edition_.fetch_add(1, std::memory_order_release);
}

template class ServedCollections<2>;
template class ServedCollections<3>;

}  // namespace silurus::server
