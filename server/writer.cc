#include "server/writer.h"

#include <algorithm>
#include <utility>

#include "server/durability.h"
#include "server/limits.h"
#include "server/room.h"

namespace silurus::server {

template <int D>
bool Writer<D>::submit(WriteJob<D>* job) {
  const std::uint64_t weight = job->operations.size() + 1;
  // Sequentially consistent: pairs with pending(), see turn().
  const std::uint64_t before = queued_operations_.fetch_add(weight, std::memory_order_seq_cst);
  if (before + weight > kMaxQueuedOperations) {
    queued_operations_.fetch_sub(weight, std::memory_order_relaxed);
    return false;
  }
  const bool is_first = arrivals_.push(job);
  if (is_first && hand_) hand_();
  return true;
}

template <int D>
bool Writer<D>::try_acquire() {
  if (!take_role()) return false;
  if (!is_within_batch_) return true;
  release();
  return false;
}

template <int D>
bool Writer<D>::take_role() {
  // Acquire: pairs with the store of release(), so that the tree is seen as the last holder left
  // it. Sequentially consistent: see turn().
  return !taken_.exchange(true, std::memory_order_seq_cst);
}

template <int D>
void Writer<D>::release() {
  // Release: pairs with the exchange of try_acquire(). Sequentially consistent: see turn().
  taken_.store(false, std::memory_order_seq_cst);
}

// No job is forgotten: a thread submits (a write to queued_operations_), then tries the role. If it
// fails, some holder releases later in the one order of all sequentially consistent operations, and
// reads queued_operations_ after that: it sees the job and must return.
template <int D>
typename Writer<D>::Turn Writer<D>::turn(Nanoseconds now, bool may_wait) {
  if (hand_) return {};
  if (!wake_) return run_turn(now);
  if (!may_wait) {
    wake_();
    return {};
  }
  Turn turn = run_turn(now);
  if (pending() || turn.flush_at != 0) wake_();  // the rest is that thread's
  turn.must_return = false;
  return turn;
}

template <int D>
typename Writer<D>::Turn Writer<D>::run_turn(Nanoseconds now) {
  Turn turn;
  if (!take_role()) return turn;
  if (now >= not_before_) {
    if (batch_.empty()) collect();
    Nanoseconds wait = 0;
    if (!is_within_batch_ && should_wait_for_memory()) {
      wait = kMemoryRetry;
    } else if (!is_within_batch_ && !has_room()) {
      if (const auto refusal = durability_->refusal()) {
        turn.done = refuse(*refusal, now);
      } else {
        wait = kFullLogWait;  // for the checkpoint that frees it
      }
    } else if (!batch_.empty()) {
      turn.has_worked = true;
      is_within_batch_ = !apply(now);
    }
    if (turn.has_worked && !is_within_batch_) {
      const Result<rtree::Version> version = publish();
      if (version) remember();
      turn.done = finish(version);
      wait = tree_.reclaim();
    }
    if (wait > 0) {
      not_before_ = now + wait;
      delays_.add();
    }
  }
  if (durability_ != nullptr) turn.flush_at = durability_->flush_if_due(now);
  turn.again_at = not_before_;
  release();
  turn.must_return = pending();
  return turn;
}

template <int D>
WriteJob<D>* Writer<D>::abandon() {
  for (WriteJob<D>* job = arrivals_.take_all(); job != nullptr; job = job->next) {
    backlog_.push_back(job);
  }
  backlog_.insert(backlog_.begin(), batch_.begin(), batch_.end());
  batch_.clear();
  WriteJob<D>* list = nullptr;
  for (; !backlog_.empty(); backlog_.pop_back()) {
    backlog_.back()->next = list;
    list = backlog_.back();
  }
  return list;
}

template <int D>
void Writer<D>::collect() {
  for (WriteJob<D>* job = arrivals_.take_all(); job != nullptr; job = job->next) {
    backlog_.push_back(job);
  }
  std::size_t operations = 0;
  while (!backlog_.empty()) {
    operations += backlog_.front()->operations.size();
    if (!batch_.empty() && operations > kMaxCombinedOperations) break;
    batch_.push_back(backlog_.front());
    backlog_.pop_front();
  }
}

template <int D>
bool Writer<D>::should_wait_for_memory() {
  std::uint64_t operations = 0;
  for (const WriteJob<D>* job : batch_) operations += job->operations.size();
  if (operations == 0) return false;
  const rtree::NodeCounts wanted = kNodesOfAnOperation * operations + kNodesOfABatch;
  const auto is_short = [&](const rtree::TreeStats& stats) {
    if (!has_more_to_come(stats)) return false;
    // Enough for whatever it is, as nearly always.
    if (stats.room.holds(wanted + stats.reserved)) return false;
    rtree::NodeCounts kept;
    for (const WriteJob<D>* job : batch_) {
      for (const auto& one : job->operations) {
        kept = largest(kept, kept_nodes(stats, one.kind));
      }
    }
    return !stats.room.holds(wanted + kept);
  };
  if (!is_short(tree_.stats())) return false;
  tree_.reclaim();
  return is_short(tree_.stats());
}

template <int D>
Status Writer<D>::apply_operation(const protocol::Operation<D>& operation) {
  switch (operation.kind) {
    case protocol::OperationKind::kInsert:
      return tree_.insert({.id = operation.id, .box = operation.box});
    case protocol::OperationKind::kErase:
      return tree_.erase({.id = operation.id, .box = operation.box});
    case protocol::OperationKind::kUpdate:
      return tree_.update(operation.id, operation.box, operation.to);
  }
  return fail(ErrorCode::kInvalidArgument, "unknown kind of operation");
}

template <int D>
bool Writer<D>::has_room() {
  if (batch_.empty() || durability_ == nullptr || durability_->failure()) return true;
  std::size_t operations = 0;
  for (const WriteJob<D>* job : batch_) {
    operations += job->operations.size() + (job->compaction ? 1 : 0);
  }
  return durability_->has_room(operations);
}

template <int D>
Status Writer<D>::admit(const WriteJob<D>& job, Nanoseconds now) {
  if (gate_ == nullptr) return {};
  if (!job.order) return gate_->admit(job.ticket, now);
  if (auto ok = gate_->turn(*job.order, now); !ok) return ok;
  tree_.set_retired(gate_->retired());
  return {};
}

template <int D>
bool Writer<D>::apply(Nanoseconds now) {
  if (!is_within_batch_) {
    // What cannot become durable must not be applied: publish() says why.
    if (durability_ != nullptr && durability_->failure()) return true;
    job_ = 0;
    job_has_begun_ = false;
  }
  std::uint32_t work = slice_;
  for (; job_ < batch_.size(); ++job_) {
    WriteJob<D>& job = *batch_[job_];
    if (!std::exchange(job_has_begun_, true)) begin(job, now);
    if (!job.error && !apply(job, work)) return false;
    job_has_begun_ = false;
  }
  return true;
}

template <int D>
void Writer<D>::begin(WriteJob<D>& job, Nanoseconds now) {
  operation_ = 0;
  job.failed.clear();
  job.error.reset();
  if (const Status ok = admit(job, now); !ok) [[unlikely]] {
    job.error = ok.error();
  }
}

/// Goes on with a job; false if the slice ended first.
template <int D>
bool Writer<D>::apply(WriteJob<D>& job, std::uint32_t& work) {
  if (job.compaction) return compact(job, work);
  for (; operation_ < job.operations.size(); ++operation_) {
    const protocol::Operation<D>& operation = job.operations[operation_];
    const bool has_looked = operation.kind == protocol::OperationKind::kInsert ||
                            tree_.look_for({operation.id, operation.box}, work);
    if (!has_looked || work < rtree::kWorkOfAnOperation) return false;
    work -= rtree::kWorkOfAnOperation;
    if (const Status ok = apply_operation(operation); !ok) [[unlikely]] {
      job.failed.push_back(
          {.index = operation_, .code = static_cast<std::uint32_t>(ok.error().code)});
    } else if (durability_ != nullptr) {
      durability_->record(operation);
    }
  }
  return true;
}

/// A step of a compaction; false if the slice has too little left for it. Without memory it is put
/// off, and nothing happens.
template <int D>
bool Writer<D>::compact(WriteJob<D>& job, std::uint32_t& work) {
  static_assert(rtree::kMostWorkOfACompaction <= rtree::kSliceOfWork);
  if (work < rtree::kMostWorkOfACompaction) return false;
  Compaction& asked = *job.compaction;
  asked.step = {.next = asked.payload.cursor, .is_short = true};
  if (compaction_must_wait(tree_)) return true;
  work = 0;
  const auto step = tree_.compact(asked.payload.cursor,
                                  static_cast<double>(asked.payload.fill_permyriad) / 10'000);
  if (step) {
    asked.step = *step;
    if (durability_ != nullptr) durability_->record(asked.payload);
  } else if (step.error().code != ErrorCode::kOutOfMemory) {
    job.error = step.error();
  }
  return true;
}

template <int D>
Result<rtree::Version> Writer<D>::publish() {
  batches_.add();
  if (durability_ == nullptr) return tree_.publish();
  if (durability_->failure()) return fail(*durability_->failure());
  return durability_->publish(tree_);
}

template <int D>
void Writer<D>::remember() {
  if (history_ == nullptr || (durability_ == nullptr && !history_->enabled())) return;
  history_->add(tree_,
                durability_ != nullptr ? durability_->stamp() : clock_.next(history_->unix_ns()));
}

template <int D>
WriteJob<D>* Writer<D>::finish(const Result<rtree::Version>& version) {
  for (WriteJob<D>* job : batch_) {
    if (version) {
      job->version = *version;
    } else if (job->order && version.error().code == ErrorCode::kNoSpace) {
      job->version = tree_.next_version() - 1;  // the gate has turned, whatever became of the rest
    } else {
      job->error = version.error();
    }
  }
  return give_back();
}

template <int D>
WriteJob<D>* Writer<D>::refuse(const Error& error, Nanoseconds now) {
  for (WriteJob<D>* job : batch_) {
    job->failed.clear();
    job->error.reset();
    job->version = tree_.next_version() - 1;
    if (!job->order) {
      job->error = error;
    } else if (const Status ok = admit(*job, now); !ok) {
      job->error = ok.error();
    }
  }
  return give_back();
}

template <int D>
WriteJob<D>* Writer<D>::give_back() {
  std::uint64_t weight = 0;
  WriteJob<D>* list = nullptr;
  while (!batch_.empty()) {
    WriteJob<D>* job = batch_.back();
    batch_.pop_back();
    weight += job->operations.size() + 1;
    job->next = list;
    list = job;
  }
  queued_operations_.fetch_sub(weight, std::memory_order_relaxed);
  return list;
}

template class Writer<2>;
template class Writer<3>;

}  // namespace silurus::server
