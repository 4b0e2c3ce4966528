#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "rtree/tree.h"
#include "server/durability_options.h"
#include "server/gate.h"
#include "server/group_options.h"
#include "server/history.h"
#include "server/load.h"
#include "server/opened_membership.h"
#include "server/tasks.h"
#include "server/writer.h"

namespace silurus::server {

template <int D>
class Durability;
struct DurabilityStats;
class Executor;
class Standing;
template <int D>
class WriterThread;

struct ShardOptions {
  Nanoseconds grace = 0;
  std::uint64_t memory_budget_bytes = 0;
  unsigned build_threads = 0;  ///< for bulk loads; 0: all cores
  std::optional<DurabilityOptions> durability = {};
  std::optional<GroupOptions> group = {};  ///< then with durability
  HistoryOptions history = {};
  std::uint32_t slice = rtree::kSliceOfWork;  ///< work on writes in one turn
};

/// One tree with all that changes it: its writer and the place of a bulk load. Any thread, as its
/// parts say.
template <int D>
class Shard {
 public:
  /// slabs, clock, executor: must outlive it. `member`: opens its part in a group, if it is one of
  /// another kind than ShardOptions::group describes.
  static Result<std::unique_ptr<Shard>> create(const ShardOptions& options,
                                               rtree::SlabSource& slabs, const Clock& clock,
                                               Executor& executor,
                                               const MembershipOpener<D>& member = nullptr);
  ~Shard();

  const rtree::Tree<D>& tree() const { return *tree_; }
  Writer<D>& writer() { return writer_; }
  const Writer<D>& writer() const { return writer_; }
  LoadSlot& load_slot() { return load_slot_; }
  const LoadSlot& load_slot() const { return load_slot_; }
  /// Nothing if writes need not outlive the process.
  std::optional<DurabilityStats> durability_stats() const;
  /// How far the stamp of the version published last is ahead of the time of day; 0: it is not.
  Nanoseconds clock_lead() const;
  /// As the member of a group; nullptr: it is not.
  const Standing* standing() const;
  /// Takes part in the group from now on, if it is a member of one. `clients`: what they are told.
  /// `expose`: see Membership.
  Status join_group(const std::string& clients, ExposeTree expose);
  /// Batches that were published.
  std::uint64_t batches() const;
  const History<D>& history() const { return history_; }
  const Gate& gate() const { return gate_; }
  /// What a command that turns the gate comes to, which the writer then does; kUnsupported if this
  /// server cannot be turned so.
  Result<replication::GatePayload> order_of(const protocol::TaskMessage& task) const;
  /// Runs a diff, a backup, or part of an export on the executor and calls `done` with the outcome
  /// in the job. kUnavailable if too many wait already.
  Status run_task(TaskJob& job, const protocol::TaskMessage& task, std::function<void()> done);
  /// Whether tasks under way shall give up: at the end.
  void cancel_tasks() { cancel_tasks_.store(true, std::memory_order_relaxed); }
  /// Ends writing, with no worker running but all of them there: jobs under way are given back, and
  /// what is durable is left in good order. Once.
  void stop_writing();
  const ShardOptions& options() const { return options_; }

  /// Builds the tree of a load on the executor, with the writer's role, which the caller has taken;
  /// then gives role and slot back and calls `done` on whatever thread that was. As the member of a
  /// group: has it built and copied by all members (GroupLoad).
  void build(LoadJob<D>& job, std::function<void()> done);
  /// Before there are any clients: builds the tree and publishes it.
  Result<rtree::Version> load(std::vector<rtree::Entry<D>> entries);

 private:
  Shard(const ShardOptions& options, std::unique_ptr<rtree::Tree<D>> tree,
        std::unique_ptr<Durability<D>> durability, std::unique_ptr<Membership<D>> replica,
        const Clock& clock, Executor& executor);
  /// Of the version published last; 0 where there is no log.
  replication::Stamp stamp() const;
  /// Reads what the gate remembers by itself.
  Status recover_gate();
  Result<rtree::Version> load_tree(std::vector<rtree::Entry<D>> entries,
                                   const rtree::BulkLoadOptions& options);

  const ShardOptions options_;
  std::unique_ptr<rtree::Tree<D>> tree_;
  std::unique_ptr<Durability<D>> durability_;
  std::unique_ptr<Membership<D>> replica_;
  History<D> history_;
  std::atomic<bool> cancel_tasks_{false};
  std::atomic<std::uint32_t> tasks_{0};  ///< waiting or under way
  const Clock& clock_;
  Executor& executor_;
  Gate gate_;
  Writer<D> writer_;
  std::unique_ptr<WriterThread<D>> writer_thread_;  ///< if a flush waits for a device
  LoadSlot load_slot_;
};

}  // namespace silurus::server
