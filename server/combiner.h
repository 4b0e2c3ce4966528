// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/counters.h"
#include "rtree/tree.h"
#include "server/admission.h"
#include "server/executor.h"
#include "server/history.h"
#include "server/served_collections.h"
#include "server/write_driver.h"

namespace silurus::server {

template <int D>
class Durability;

/// The one writer of a server of its own, as a role that threads take on in turn instead of a
/// thread of its own: flat combining (Hendler, Incze, Shavit and Tzafrir, "Flat combining and the
/// synchronization-parallelism tradeoff", SPAA 2010; docs/decisions/0050). A thread that has
/// submitted a job calls turn(); the one that gets the role runs a batch for all.
///
/// Guarantees: jobs are applied in the order of submission, each whole in one version; a job is
/// given back once. Any thread may call any function, unless said otherwise.
///
///   auto refused = combiner.submit(std::move(job));
///   auto turn = combiner.turn(clock.now(), false);
///   while (auto done = turn.done.pop_front()) ...  // answer, or pass to its owner
template <int D>
class Combiner final : public WriteDriver<D> {
 public:
  using Job = WriteJob<D>;
  using Turn = WriteTurn<D>;
  struct Parts {
    ServedCollections<D>& collections;
    AdmissionControl& admission;  ///< obeys jobs that are orders
    Durability<D>* durability;    ///< nullptr: writes need not outlive the process
    const Clock& clock;
    Executor& executor;                         ///< builds the trees of bulk loads
    std::uint32_t slice = rtree::kSliceOfWork;  ///< work in one turn
  };
  /// The versions of now are the first ones of the histories. All parts must outlive it.
  explicit Combiner(const Parts& parts);
  Combiner(const Combiner&) = delete;

  std::unique_ptr<Job> submit(std::unique_ptr<Job> job) override {
    return queue_.submit(std::move(job)).refused;
  }
  /// Takes the role if it is free and runs at most one batch, or a slice of it, so that a reader
  /// that writes is not kept from its own sessions for long.
  Turn turn(Nanoseconds now, bool may_wait) override;
  std::unique_ptr<LoadJob<D>> load(std::unique_ptr<LoadJob<D>> job) override;
  std::uint64_t batches() const override { return batches_.get(); }
  std::uint64_t delays() const override { return delays_.get(); }
  replication::Stamp stamp() const override;
  std::optional<DurabilityStats> durability_stats() const override;
  void stop() override;

  /// Loads the empty tree of a collection (null: the default one) and publishes it. Before there
  /// are any writes, or by the holder of the role.
  Result<rtree::Version> load_now(CollectionPtr<D> collection, std::vector<rtree::Entry<D>> entries,
                                  const rtree::BulkLoadOptions& options);

  /// Takes the role for something else than a batch; jobs wait meanwhile. The caller then calls
  /// release() and turn(), or sees to it that some thread does; so does a caller that was refused.
  bool try_acquire();
  void release();
  /// Whether jobs wait that have not been given back yet.
  bool pending() const { return queue_.pending(); }

 private:
  /// The stages of one batch, run by the holder of the role. What must happen to a batch between
  /// being applied and being seen, the flush of the log, is the first half of publish(): until then
  /// no reader sees it, and no client is answered before.
  void collect();
  Nanoseconds run_batch(Nanoseconds now, Turn& turn);
  /// Whether the batch might not fit into the memory budget now, but may once retired memory has
  /// had its grace period: then writers wait instead of being refused.
  bool is_short_of_memory() const;
  /// Asks the log for room for the batch; whether it has it.
  bool find_room();
  /// Applies a slice of the batch; whether that was the rest of it.
  bool apply(Nanoseconds now);
  void begin(Job& job, Nanoseconds now);
  bool apply(Job& job, std::uint32_t& work);
  void select(const Job& job);
  Status begin(const CollectionDemand& demand);
  bool compact(Job& job, std::uint32_t& work);
  bool take_role();
  Result<rtree::Version> load_in_memory(std::vector<rtree::Entry<D>> entries,
                                        const rtree::BulkLoadOptions& options);
  Result<rtree::Version> publish();
  /// Keeps what was just published of a collection for those that ask for it later.
  void remember(Collection<D>& collection);
  void remember_changed();
  JobList<Job> finish(const Result<rtree::Version>& version);
  /// Ends the batch without a version: its writes with that error, its orders are obeyed all the
  /// same.
  JobList<Job> refuse(const Error& error, Nanoseconds now);
  JobList<Job> take_batch();

  Status apply_operation(const protocol::Operation<D>& operation,
                         std::optional<std::span<const std::byte>> record);
  std::optional<std::span<const std::byte>> take_record(const Job& job,
                                                        const protocol::Operation<D>& asked,
                                                        std::uint32_t& work);
  /// What an operation by id comes to: the same by id and box.
  Result<protocol::Operation<D>> resolve(const protocol::Operation<D>& operation) const;
  /// Whether the job's operations are to be done; obeys it if it is an order.
  Status let_in(const Job& job, Nanoseconds now);

  const Parts parts_;
  WriteQueue<D> queue_;
  std::atomic<bool> taken_{false};
  Counter batches_;
  Counter delays_;
  // The rest belongs to the holder of the role.
  replication::HybridClock clock_;  ///< where there is no log to stamp versions
  std::deque<std::unique_ptr<Job>> backlog_;
  std::vector<std::unique_ptr<Job>> batch_;
  bool is_within_batch_ = false;  ///< some of it is applied, and not published
  std::size_t job_ = 0;           ///< index in the batch of the job to apply next, or in part
  bool job_has_begun_ = false;    ///< that job is applied up to operation_
  std::uint32_t operation_ = 0;
  std::size_t record_at_ = 0;  ///< where the record of the operation that follows lies in the job
  CollectionPtr<D> default_;   ///< the default collection, as last looked for
  std::uint64_t edition_ = 0;  ///< edition of the collections, then
  rtree::Tree<D>* tree_ = nullptr;         ///< that the job changes
  std::vector<CollectionPtr<D>> changed_;  ///< collections that the batch changes
  Nanoseconds not_before_ = 0;             ///< too much is retired: no batch until then
};

}  // namespace silurus::server
