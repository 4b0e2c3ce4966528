#include "server/combiner.h"

#include <algorithm>
#include <utility>

#include "server/durability.h"
#include "server/limits.h"
#include "server/room.h"

namespace silurus::server {

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
      parts_.tree.reclaim();
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
  if (version) remember();
  turn.done = finish(version);
  return parts_.tree.reclaim();
}

template <int D>
void Combiner<D>::collect() {
  auto arrivals = queue_.take_all();
  while (auto job = arrivals.pop_front()) backlog_.push_back(std::move(job));
  std::size_t operations = 0;
  while (!backlog_.empty()) {
    operations += backlog_.front()->operations.size();
    if (!batch_.empty() && operations > kMaxCombinedOperations) break;
    batch_.push_back(std::move(backlog_.front()));
    backlog_.pop_front();
  }
}

template <int D>
bool Combiner<D>::is_short_of_memory() const {
  std::uint64_t operations = 0;
  for (const auto& job : batch_) operations += job->operations.size();
  if (operations == 0) return false;
  const rtree::NodeCounts wanted = kNodesOfAnOperation * operations + kNodesOfABatch;
  const rtree::TreeStats stats = parts_.tree.stats();
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
Status Combiner<D>::apply_operation(const protocol::Operation<D>& operation) {
  switch (operation.kind) {
    case protocol::OperationKind::kInsert:
      return parts_.tree.insert({.id = operation.id, .box = operation.box});
    case protocol::OperationKind::kErase:
      return parts_.tree.erase({.id = operation.id, .box = operation.box});
    case protocol::OperationKind::kUpdate:
      return parts_.tree.update(operation.id, operation.box, operation.to);
  }
  return fail(ErrorCode::kInvalidArgument, "unknown kind of operation");
}

template <int D>
bool Combiner<D>::find_room() {
  if (parts_.durability == nullptr || parts_.durability->failure()) return true;
  std::size_t operations = 0;
  for (const auto& job : batch_) {
    operations += job->operations.size() + (job->compaction ? 1 : 0);
  }
  return parts_.durability->find_room(operations);
}

template <int D>
Status Combiner<D>::let_in(const Job& job, Nanoseconds now) {
  if (!job.order) return parts_.admission.admit(job.ticket, now);
  if (auto ok = parts_.admission.obey(*job.order, now); !ok) return ok;
  parts_.tree.set_retired(parts_.admission.retired());
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
  job.failed.clear();
  job.error.reset();
  if (const Status ok = let_in(job, now); !ok) [[unlikely]] {
    job.error = ok.error();
  }
}

/// Goes on with a job; false if the slice ended first.
template <int D>
bool Combiner<D>::apply(Job& job, std::uint32_t& work) {
  if (job.compaction) return compact(job, work);
  for (; operation_ < job.operations.size(); ++operation_) {
    const protocol::Operation<D>& operation = job.operations[operation_];
    const bool has_looked = operation.kind == protocol::OperationKind::kInsert ||
                            parts_.tree.look_for({operation.id, operation.box}, work);
    if (!has_looked || work < rtree::kWorkOfAnOperation) return false;
    work -= rtree::kWorkOfAnOperation;
    if (const Status ok = apply_operation(operation); !ok) [[unlikely]] {
      job.failed.push_back(
          {.index = operation_, .code = static_cast<std::uint32_t>(ok.error().code)});
    } else if (parts_.durability != nullptr) {
      parts_.durability->record(operation);
    }
  }
  return true;
}

/// A step of a compaction; false if the slice has too little left for it. Without memory it is put
/// off, and nothing happens.
template <int D>
bool Combiner<D>::compact(Job& job, std::uint32_t& work) {
  static_assert(rtree::kMostWorkOfACompaction <= rtree::kSliceOfWork);
  if (work < rtree::kMostWorkOfACompaction) return false;
  Compaction& asked = *job.compaction;
  if (!make_room_for_compaction(parts_.tree)) return true;
  work = 0;
  const auto step = parts_.tree.compact(asked.payload.cursor,
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
  if (parts_.durability == nullptr) return parts_.tree.publish();
  if (parts_.durability->failure()) return fail(*parts_.durability->failure());
  return parts_.durability->publish(parts_.tree);
}

template <int D>
void Combiner<D>::remember() {
  if (parts_.durability == nullptr && !parts_.history.enabled()) return;
  parts_.history.add(parts_.tree, parts_.durability != nullptr
                                      ? parts_.durability->stamp()
                                      : clock_.next(parts_.history.unix_ns()));
}

template <int D>
JobList<WriteJob<D>> Combiner<D>::finish(const Result<rtree::Version>& version) {
  for (const auto& job : batch_) {
    if (version) {
      job->version = *version;
    } else if (job->order && version.error().code == ErrorCode::kNoSpace) {
      job->version =
          parts_.tree.next_version() - 1;  // the order was obeyed, whatever became of the rest
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
    job->version = parts_.tree.next_version() - 1;
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
    if (const Status ok = parts_.admission.admit(job->ticket, parts_.clock.now()); ok) {
      job->version = load_now(job->load->take_entries(), job->options);
    } else {
      job->version = fail(ok.error());
    }
    job->entries = parts_.tree.snapshot().size();
    release();
    job->load.reset();  // gives the slot back: from here on others may load and write
    give_back(std::move(job));
  });
  return nullptr;
}

template <int D>
Result<rtree::Version> Combiner<D>::load_now(std::vector<rtree::Entry<D>> entries,
                                             const rtree::BulkLoadOptions& options) {
  auto version = parts_.durability != nullptr
                     ? parts_.durability->load(parts_.tree, std::move(entries), options)
                     : parts_.tree.bulk_load(std::move(entries), options);
  if (!version) return fail(with_remedy(version.error()));
  remember();
  return version;
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
