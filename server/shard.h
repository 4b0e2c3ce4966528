// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/decode.h"
#include "rtree/tree.h"
#include "server/admission.h"
#include "server/durability_options.h"
#include "server/group_options.h"
#include "server/history.h"
#include "server/load.h"
#include "server/opened_membership.h"
#include "server/served_collections.h"
#include "server/session_host.h"
#include "server/tasks.h"
#include "server/write_driver.h"

namespace silurus::server {

template <int D>
class Combiner;
template <int D>
class Durability;
class Executor;
class MemberStatus;

struct ShardOptions {
  Nanoseconds grace = 0;
  std::uint64_t memory_budget_bytes = 0;
  unsigned build_threads = 0;  ///< for bulk loads; 0: all cores
  std::optional<DurabilityOptions> durability = {};
  std::optional<GroupOptions> group = {};  ///< then with durability
  HistoryOptions history = {};
  std::uint32_t slice = rtree::kSliceOfWork;  ///< work on writes in one turn
};

/// The collections of a server with all that changes them: what carries out writes, and the place
/// of a bulk load. Any thread, as its parts say.
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

  const ServedCollections<D>& collections() const { return *collections_; }
  /// The default collection's.
  const rtree::Tree<D>& tree() const { return collections_->default_one()->tree(); }
  /// What carries out the writes of clients.
  WriteDriver<D>& writes() { return *driver_; }
  const WriteDriver<D>& writes() const { return *driver_; }
  /// The driver of writes in a server of its own.
  Combiner<D>& combiner() { return *combiner_; }
  LoadSlot& load_slot() { return load_slot_; }
  const LoadSlot& load_slot() const { return load_slot_; }
  /// How far the stamp of the version published last is ahead of the time of day; 0: it is not.
  Nanoseconds clock_lead() const;
  /// Its status as a member of a group; nullptr: it is no member.
  const MemberStatus* member_status() const;
  /// Takes part in the group from now on, if it is a member of one. `clients`: what they are told.
  /// `expose`: see Membership.
  Status join_group(const std::string& clients, ExposeTree expose);
  const AdmissionControl& admission() const { return admission_; }
  /// What sessions see of it.
  Served<D> served();
  /// Runs a diff, a backup, or part of an export on the executor, which gives the job back to its
  /// owner with the outcome. kUnavailable if too many wait already: then there is no job any more.
  Status run_task(std::unique_ptr<TaskJob> job);
  /// Whether tasks under way shall give up: at the end.
  void cancel_tasks() { cancel_tasks_.request_stop(); }
  const ShardOptions& options() const { return options_; }

  /// Begins to build the tree of a load; returns the job if it cannot begin now
  /// (WriteDriver::load).
  [[nodiscard]] std::unique_ptr<LoadJob<D>> begin_load(std::unique_ptr<LoadJob<D>> job);
  /// Before there are any clients: builds the default collection's tree and publishes it.
  Result<rtree::Version> load(std::vector<rtree::Entry<D>> entries);

 private:
  Shard(const ShardOptions& options, replication::Collections<D> collections, const Clock& clock,
        Executor& executor);
  // What carries out the writes: one of three for each shard, at its creation.
  std::unique_ptr<Combiner<D>> make_combiner(Durability<D>* durability);
  void write_in_memory();
  Status write_durably(std::unique_ptr<Durability<D>> durability);
  void write_by_group(std::unique_ptr<Membership<D>> member);
  Result<std::string> run(const TaskJob& job);

  const ShardOptions options_;
  std::unique_ptr<ServedCollections<D>> collections_;
  std::unique_ptr<Durability<D>> durability_;
  std::stop_source cancel_tasks_;
  std::atomic<std::uint32_t> tasks_{0};  ///< waiting or under way
  const Clock& clock_;
  Executor& executor_;
  AdmissionControl admission_;
  LoadSlot load_slot_;
  SegmentedBytes segmented_bytes_;
  std::unique_ptr<WriteDriver<D>> driver_;
  Combiner<D>* combiner_ = nullptr;  ///< the driver, if the server is one of its own
  Membership<D>* member_ = nullptr;  ///< the driver, if the server is a member of a group
};

}  // namespace silurus::server
