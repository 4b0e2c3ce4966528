// SPDX-License-Identifier: Apache-2.0

#include "server/combiner.h"

#include <algorithm>
#include <utility>

#include "server/durability.h"
#include "server/limits.h"
#include "server/room.h"

namespace silurus::server {

template <int D>
Combiner<D>::Combiner(const Parts& parts) : parts_(parts) {
  for (const auto& listed : parts.collections.list()) remember(*listed.collection);
}

template <int D>
bool Combiner<D>::try_acquire() {
  if (!take_role()) return false;
  if (!is_within_batch_) return true;
  release();
  return false;
}

template <int D>
bool Combiner<D>::take_role() {
  // Acquire: pairs with the store of release(), so that the tree is seen as the last holder left
  // it. Sequentially consistent: see turn().
  return !taken_.exchange(true, std::memory_order_seq_cst);
}

template <int D>
void Combiner<D>::release() {
  // Release: pairs with the exchange of try_acquire(). Sequentially consistent: see turn().
  taken_.store(false, std::memory_order_seq_cst);
}

// No job is forgotten: a thread submits (a write to the queue's weight), then tries the role. If it
// fails, some holder releases later in the one order of all sequentially consistent operations, and
// reads the weight after that: it sees the job and must return.
template <int D>
WriteTurn<D> Combiner<D>::turn(Nanoseconds now, bool) {
  Turn turn;
  if (!take_role()) return turn;
  if (now >= not_before_) {
    if (const Nanoseconds wait = run_batch(now, turn); wait > 0) {
      not_before_ = now + wait;
      delays_.add();
    }
  }
  if (parts_.durability != nullptr) turn.flush_at = parts_.durability->flush_if_due(now);
  turn.again_at = not_before_;
  release();
  turn.must_return = pending();
  return turn;
}

/// Returns how long the next batch has to wait; 0: it need not.
template <int D>
Nanoseconds Combiner<D>::run_batch(Nanoseconds now, Turn& turn) {
  if (batch_.empty()) collect();
  if (batch_.empty()) return 0;
  if (!is_within_batch_) {
    if (is_short_of_memory()) {
      parts_.collections.reclaim();
      if (is_short_of_memory()) return kMemoryRetry;
    }
    if (!find_room()) {
      const auto refusal = parts_.durability->refusal();
      if (!refusal) return kFullLogWait;  // for the checkpoint that frees it
      turn.done = refuse(*refusal, now);
      return 0;
    }
  }
  turn.has_worked = true;
  is_within_batch_ = !apply(now);
  if (is_within_batch_) return 0;
  const Result<rtree::Version> version = publish();
  if (version) remember_changed();
  changed_.clear();
  parts_.collections.trim_histories(now);
  turn.done = finish(version);
  return parts_.collections.reclaim();
}

template <int D>
void Combiner<D>::remember_changed() {
  if (!batch_.front()->demand) {
    for (const auto& collection : changed_) remember(*collection);
    return;
  }
  // What is gone is not to be held here.
  default_.reset();
  edition_ = 0;
  for (const auto& listed : parts_.collections.list()) remember(*listed.collection);
}

template <int D>
void Combiner<D>::collect() {
  auto arrivals = queue_.take_all();
  while (auto job = arrivals.pop_front()) backlog_.push_back(std::move(job));
  std::size_t operations = 0;
  std::size_t record_bytes = 0;
  const std::size_t most_record_bytes =
      parts_.durability != nullptr
          ? std::min(kMaxCombinedRecordBytes, parts_.durability->most_record_bytes())
          : kMaxCombinedRecordBytes;
  while (!backlog_.empty()) {
    operations += backlog_.front()->operations.size();
    record_bytes += backlog_.front()->records.size();
    const bool is_too_much =
        operations > kMaxCombinedOperations || record_bytes > most_record_bytes;
    if (!batch_.empty() && is_too_much) break;
    // An order to the collections is a batch of its own.
    const bool is_alone = backlog_.front()->demand.has_value();
    if (is_alone && !batch_.empty()) break;
    batch_.push_back(std::move(backlog_.front()));
    backlog_.pop_front();
    if (is_alone) break;
  }
}

template <int D>
bool Combiner<D>::is_short_of_memory() const {
  std::uint64_t operations = 0;
  std::uint64_t pieces = 0;
  for (const auto& job : batch_) {
    operations += job->operations.size();
    for (const auto& one : job->operations) {
      pieces += rtree::nodes_of_pieces<D>(one.record_bytes);
    }
  }
  if (operations == 0) return false;
  const rtree::NodeCounts wanted =
      kNodesOfAnOperation * operations + kNodesOfABatch + rtree::NodeCounts{pieces, 0};
  const rtree::TreeStats stats = parts_.collections.first().stats();
  if (!has_more_to_come(stats)) return false;
  // Enough for whatever it is, as nearly always.
  if (stats.room.holds(wanted + stats.reserved)) return false;
  rtree::NodeCounts kept;
  for (const auto& job : batch_) {
    for (const auto& one : job->operations) kept = largest(kept, kept_nodes(stats, one.kind));
  }
  return !stats.room.holds(wanted + kept);
}

template <int D>
Status Combiner<D>::apply_operation(const protocol::Operation<D>& operation,
                                    std::optional<std::span<const std::byte>> record) {
  using Room = typename rtree::Tree<D>::Room;
  switch (operation.kind) {
    case protocol::OperationKind::kInsert:
      return tree_->insert({.id = operation.id, .box = operation.box}, Room::kBudget,
                           record.value_or(std::span<const std::byte>()));
    case protocol::OperationKind::kErase:
      return tree_->erase({.id = operation.id, .box = operation.box});
    case protocol::OperationKind::kUpdate:
      return tree_->update(operation.id, operation.box, operation.to, Room::kBudget, record);
    case protocol::OperationKind::kPut:
    case protocol::OperationKind::kUpdateById:
    case protocol::OperationKind::kEraseById:
      break;  // resolve() leaves none
  }
  return fail(ErrorCode::kInvalidArgument, "unknown kind of operation");
}

template <int D>
Result<protocol::Operation<D>> Combiner<D>::resolve(const protocol::Operation<D>& operation) const {
  using protocol::OperationKind;
  if (!tree_->is_keyed()) return fail(ErrorCode::kUnsupported, "the collection is not keyed");
  const auto entry = tree_->find_id(operation.id);
  if (!entry && (operation.kind != OperationKind::kPut || operation.expected != 0)) {
    return fail(ErrorCode::kNotFound, "no entry with that id");
  }
  if (entry && operation.expected != 0 && operation.expected != entry->version) {
    return fail(ErrorCode::kConflict, "the entry was written last in another version");
  }
  protocol::Operation<D> same{operation.id, OperationKind::kInsert, 0, operation.box, {}};
  if (!entry) return same;
  same.kind =
      operation.kind == OperationKind::kEraseById ? OperationKind::kErase : OperationKind::kUpdate;
  same.box = entry->box;
  same.to = operation.box;
  return same;
}

template <int D>
bool Combiner<D>::find_room() {
  if (parts_.durability == nullptr || parts_.durability->failure()) return true;
  std::size_t records = 0;
  for (const auto& job : batch_) {
    const bool selects = job->collection != nullptr && job->collection->info.number != 0;
    records +=
        job->operations.size() + (job->compaction || job->demand ? 1 : 0) + (selects ? 1 : 0);
    if (job->collection == nullptr || !job->collection->tree().has_records()) continue;
    for (const auto& one : job->operations) records += replication::parts_of(one.record_bytes);
  }
  return parts_.durability->find_room(records);
}

template <int D>
Status Combiner<D>::let_in(const Job& job, Nanoseconds now) {
  if (!job.order) return parts_.admission.admit(job.fencing_token, now);
  if (auto ok = parts_.admission.obey(*job.order, now); !ok) return ok;
  parts_.collections.set_retired(parts_.admission.retired());
  return {};
}

template <int D>
bool Combiner<D>::apply(Nanoseconds now) {
  if (!is_within_batch_) {
    // What cannot become durable must not be applied: publish() says why.
    if (parts_.durability != nullptr && parts_.durability->failure()) return true;
    job_ = 0;
    job_has_begun_ = false;
  }
  std::uint32_t work = parts_.slice;
  for (; job_ < batch_.size(); ++job_) {
    Job& job = *batch_[job_];
    if (!std::exchange(job_has_begun_, true)) begin(job, now);
    if (!job.error && !apply(job, work)) return false;
    job_has_begun_ = false;
  }
  return true;
}

template <int D>
void Combiner<D>::begin(Job& job, Nanoseconds now) {
  operation_ = 0;
  record_at_ = 0;
  job.failed.clear();
  job.error.reset();
  if (const Status ok = let_in(job, now); !ok) [[unlikely]] {
    job.error = ok.error();
    return;
  }
  if (job.order) return;
  if (job.demand) {
    if (const Status begun = begin(*job.demand); !begun) job.error = begun.error();
    return;
  }
  select(job);
  if (tree_ == nullptr) job.error = gone_error(job.collection->info.name);
}

/// Whose tree the operations that follow are of; none if that is gone.
template <int D>
void Combiner<D>::select(const Job& job) {
  if (job.collection == nullptr && edition_ != parts_.collections.edition()) {
    edition_ = parts_.collections.edition();
    default_ = parts_.collections.default_one();
  }
  const CollectionPtr<D>& collection = job.collection != nullptr ? job.collection : default_;
  tree_ = nullptr;
  if (collection->is_gone.load(std::memory_order_relaxed)) return;  // the writer's own store
  tree_ = &collection->tree();
  if (parts_.durability != nullptr) parts_.durability->select(collection->info.number);
  if (std::ranges::find(changed_, collection) == changed_.end()) {
    changed_.push_back(collection);
  }
}

template <int D>
Status Combiner<D>::begin(const CollectionDemand& demand) {
  const auto order = parts_.collections.begin(demand);
  if (!order) return fail(order.error());
  if (parts_.durability != nullptr) parts_.durability->record(*order);
  return {};
}

/// Goes on with a job; false if the slice ended first.
template <int D>
bool Combiner<D>::apply(Job& job, std::uint32_t& work) {
  if (job.compaction) return compact(job, work);
  for (; operation_ < job.operations.size(); ++operation_) {
    const protocol::Operation<D>& asked = job.operations[operation_];
    std::optional<Result<protocol::Operation<D>>> by_box;
    const protocol::Operation<D>* operation = &asked;
    if (is_by_id(asked.kind)) {
      by_box.emplace(resolve(asked));
      operation = *by_box ? &**by_box : nullptr;
    }
    const bool has_looked = operation == nullptr ||
                            operation->kind == protocol::OperationKind::kInsert ||
                            tree_->look_for({operation->id, operation->box}, work);
    if (!has_looked || work < rtree::kWorkOfAnOperation) return false;
    work -= rtree::kWorkOfAnOperation;
    const auto record = take_record(job, asked, work);
    const Status ok =
        operation != nullptr ? apply_operation(*operation, record) : fail(by_box->error());
    if (!ok) [[unlikely]] {
      job.failed.push_back(
          {.index = operation_, .code = static_cast<std::uint32_t>(ok.error().code)});
      continue;
    }
    if (parts_.durability != nullptr) parts_.durability->record(*operation, record);
    if (asked.kind == protocol::OperationKind::kPut &&
        operation->kind == protocol::OperationKind::kUpdate) {
      job.failed.push_back({.index = operation_, .code = protocol::kReplaced});
    }
  }
  return true;
}

/// The record that an operation gives its entry, perhaps none; nothing where it does not say. Work
/// for a long one is taken from `work`.
template <int D>
std::optional<std::span<const std::byte>> Combiner<D>::take_record(
    const Job& job, const protocol::Operation<D>& asked, std::uint32_t& work) {
  const auto record = std::span(job.records).subspan(record_at_, asked.record_bytes);
  record_at_ += asked.record_bytes;
  if (!record.empty()) {
    const auto pieces = static_cast<std::uint32_t>(rtree::nodes_of_pieces<D>(record.size()));
    work -= std::min(work, pieces);
    return record;
  }
  const bool replaces = asked.kind == protocol::OperationKind::kPut && tree_->has_records();
  return replaces ? std::optional(record) : std::nullopt;
}

/// A step of a compaction; false if the slice has too little left for it. Without memory it is put
/// off, and nothing happens.
template <int D>
bool Combiner<D>::compact(Job& job, std::uint32_t& work) {
  static_assert(rtree::kMostWorkOfACompaction <= rtree::kSliceOfWork);
  if (work < rtree::kMostWorkOfACompaction) return false;
  Compaction& asked = *job.compaction;
  if (!make_room_for_compaction(*tree_)) return true;
  work = 0;
  const auto step = tree_->compact(asked.payload.cursor,
                                   static_cast<double>(asked.payload.fill_permyriad) / 10'000);
  if (step) {
    asked.step = *step;
    if (parts_.durability != nullptr) parts_.durability->record(asked.payload);
  } else if (step.error().code != ErrorCode::kOutOfMemory) {
    job.error = step.error();
  }
  return true;
}

template <int D>
Result<rtree::Version> Combiner<D>::publish() {
  batches_.add();
  if (parts_.durability == nullptr) return parts_.collections.publish();
  if (parts_.durability->failure()) return fail(*parts_.durability->failure());
  return parts_.durability->publish(parts_.collections);
}

template <int D>
void Combiner<D>::remember(Collection<D>& collection) {
  History<D>& history = collection.served->history;
  if (parts_.durability == nullptr && !history.enabled()) return;
  history.add(collection.tree(), parts_.durability != nullptr ? parts_.durability->stamp()
                                                              : clock_.next(history.unix_ns()));
}

template <int D>
JobList<WriteJob<D>> Combiner<D>::finish(const Result<rtree::Version>& version) {
  for (const auto& job : batch_) {
    if (version) {
      job->version = *version;
    } else if (job->order && version.error().code == ErrorCode::kNoSpace) {
      job->version = parts_.collections.first().next_version() -
                     1;  // the order was obeyed, whatever became of the rest
    } else {
      job->error = version.error();
    }
  }
  return take_batch();
}

template <int D>
JobList<WriteJob<D>> Combiner<D>::refuse(const Error& error, Nanoseconds now) {
  for (const auto& job : batch_) {
    job->failed.clear();
    job->error.reset();
    job->version = parts_.collections.first().next_version() - 1;
    if (!job->order) {
      job->error = error;
    } else if (const Status ok = let_in(*job, now); !ok) {
      job->error = ok.error();
    }
  }
  return take_batch();
}

template <int D>
JobList<WriteJob<D>> Combiner<D>::take_batch() {
  std::uint64_t weight = 0;
  JobList<Job> list;
  for (auto& job : batch_) {
    weight += queue_.weight_of(*job);
    list.push_back(std::move(job));
  }
  batch_.clear();
  queue_.count_off(weight);
  return list;
}

// --- bulk loads

template <int D>
std::unique_ptr<LoadJob<D>> Combiner<D>::load(std::unique_ptr<LoadJob<D>> job) {
  if (!try_acquire()) return job;
  parts_.executor.run([this, job = std::move(job)]() mutable {
    if (const Status ok = parts_.admission.admit(job->fencing_token, parts_.clock.now()); ok) {
      job->version = load_now(job->collection, job->load->take_entries(), job->options);
    } else {
      job->version = fail(ok.error());
    }
    if (job->version) job->entries = tree_->snapshot().size();
    release();
    job->load.reset();  // gives the slot back: from here on others may load and write
    give_back(std::move(job));
  });
  return nullptr;
}

template <int D>
Result<rtree::Version> Combiner<D>::load_now(CollectionPtr<D> collection,
                                             std::vector<rtree::Entry<D>> entries,
                                             const rtree::BulkLoadOptions& options) {
  if (collection == nullptr) collection = parts_.collections.default_one();
  if (collection->is_gone.load(std::memory_order_relaxed)) {
    return fail(gone_error(collection->info.name));
  }
  tree_ = &collection->tree();
  auto version = parts_.durability != nullptr ? parts_.durability->load(parts_.collections, *tree_,
                                                                        std::move(entries), options)
                                              : load_in_memory(std::move(entries), options);
  if (!version) return fail(with_remedy(version.error()));
  remember(*collection);
  return version;
}

template <int D>
Result<rtree::Version> Combiner<D>::load_in_memory(std::vector<rtree::Entry<D>> entries,
                                                   const rtree::BulkLoadOptions& options) {
  if (Status built = tree_->bulk_load_batch(std::move(entries), options); !built) {
    return fail(built.error());
  }
  return parts_.collections.publish();
}

// --- what is said of it

template <int D>
replication::Stamp Combiner<D>::stamp() const {
  return parts_.durability != nullptr ? parts_.durability->stamp() : 0;
}

template <int D>
std::optional<DurabilityStats> Combiner<D>::durability_stats() const {
  if (parts_.durability == nullptr) return std::nullopt;
  return parts_.durability->stats();
}

template <int D>
void Combiner<D>::stop() {
  if (parts_.durability != nullptr) parts_.durability->stop();
}

template class Combiner<2>;
template class Combiner<3>;

}  // namespace silurus::server
