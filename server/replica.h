// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/counters.h"
#include "common/result.h"
#include "replication/data_directory.h"
#include "replication/group/loaded_runs.h"
#include "replication/group/member.h"
#include "replication/group/tree_machine.h"
#include "replication/hybrid_clock.h"
#include "replication/state_transfer/source.h"
#include "replication/store.h"
#include "server/admission.h"
#include "server/batch_pace.h"
#include "server/checkpoints.h"
#include "server/history.h"
#include "server/member_status.h"
#include "server/write_queue.h"

namespace silurus::server {

/// The error of a write that is done, and that may not be durable at enough members.
Error too_few_copies();

/// The server's side of one member of a group, between its WriteQueue and the group's Member: as
/// the primary it logs what clients write, at any member it applies what is committed, and it gives
/// jobs back when they are. Has no thread: the owner of the member calls step() after each of the
/// member's steps, on the same thread. Everything but its status belongs to that thread.
///
/// A batch is logged and sent while the one before is on its way (kMaxBatchesInFlight); what
/// arrives meanwhile makes the next one. Nothing is applied before it is committed (TreeMachine),
/// so a primary that loses its place has nothing to take back: jobs that it has logged end with
/// kConnectionLost (whether they are done, the next primary knows), all others with kNotPrimary.
///
/// An admission order is a batch of its own, behind which nothing is logged before it is applied:
/// so whatever is logged is admitted by the state that all members will have at that place of the
/// log, and the next primary's is no other (decision 0115).
template <int D>
class Replica {
 public:
  using Job = WriteJob<D>;
  using AppliedBatch = replication::group::AppliedBatch;
  struct Parts {
    replication::Store<D>& store;
    rtree::Tree<D>& tree;
    WriteQueue<D>& queue;
    AdmissionControl& admission;
    History<D>& history;
    MemberStatus& member_status;
    std::uint32_t slice;  ///< work on batches in one step
  };
  /// `state`, `stamp`: as of the place in the log that the tree is at. `loads`: see
  /// Store::OpenedMember. All parts must outlive it.
  Replica(const Parts& parts, replication::group::MachineState state, replication::Stamp stamp,
          replication::LogPosition applied, std::vector<replication::LoadPayload> loads = {});
  Replica(const Replica&) = delete;

  replication::group::Machine& machine() { return machine_; }
  const replication::group::Machine& machine() const { return machine_; }
  /// Sets the member whose machine this is; before the first step.
  void attach(replication::group::Member& member) { member_ = &member; }

  /// Does what there is to do. An error is final: the member must be given up.
  Status step(Nanoseconds now);
  /// When it must be called though nothing happens; nothing: never.
  std::optional<Nanoseconds> deadline() const { return again_at_; }
  /// All jobs here end with this error, but those that are logged with kConnectionLost.
  void give_up(const Error& error);

  // --- bulk loads (GroupLoad, LoadTaker)
  replication::group::LoadedRuns<D>& runs() { return runs_; }
  /// Told of each load that is offered, or needed no more, when that is applied.
  void on_offer(std::function<void(const replication::LoadPayload&)> told) {
    on_offer_ = std::move(told);
  }
  /// Whether all writes that came are applied, and others may be logged.
  bool is_quiet() const {
    return leads() && member_->may_write() && backlog_.empty() && in_flight_.empty();
  }
  /// Whether what clients write waits, instead of being logged.
  void hold_back(bool held_back) { is_held_back_ = held_back; }
  /// Whether what came by a connection with this fencing token (AdmissionControl) is let in now.
  Status admit(std::uint64_t fencing_token, Nanoseconds now) {
    return parts_.admission.admit(fencing_token, now);
  }
  /// Whether a record of a load can be logged now.
  bool may_log_load() const;
  using Ended = std::function<void(Result<rtree::Version>)>;
  /// Logs it. `ended`, which may be empty, is told the version when it is applied and durable at
  /// enough members; kInDoubt: too few; kConnectionLost: this member has lost its place meanwhile.
  /// kNoSpace: nothing is logged; another error is final.
  Status log_load(replication::RecordType type, const replication::LoadPayload& load, Ended ended);
  /// The nodes of a load that is not the tree yet, for another member to copy.
  Result<replication::PinnedTree<D>> hold_load(std::uint64_t id) const;

  /// All that is applied, for another member to copy; kUnavailable if this one is no source.
  Result<replication::PinnedTree<D>> hold() const;
  /// Basis of a checkpoint of all that is applied, if that is more than the last checkpoint has and
  /// no batch is being applied.
  std::optional<CheckpointBasis<D>> checkpoint_basis();
  /// Whether the log has grown enough for a checkpoint.
  bool wants_checkpoint() const;
  /// Why checkpoints fail, or nothing: then a primary whose log is full refuses writes for that
  /// reason, instead of having them wait.
  void note_obstacle(std::optional<Error> obstacle) {
    if (obstacle_ && !obstacle) note_refusal("");
    obstacle_ = std::move(obstacle);
  }

  // --- any thread
  /// Why writes were refused when the last one came, for want of room in the log or on its medium;
  /// empty: they were not.
  std::string refusal() const {
    const std::lock_guard lock(refusal_mutex_);
    return refusal_;
  }
  /// Times that a batch had to wait for room in the log.
  std::uint64_t log_full_waits() const { return log_full_waits_.get(); }
  /// Times that one had to wait so that members that join are not left behind.
  std::uint64_t join_waits() const { return join_waits_.get(); }
  std::uint64_t batches() const { return batches_.get(); }

 private:
  /// A batch that is logged and not applied yet.
  struct Flight {
    replication::LogPosition end;
    std::vector<std::unique_ptr<Job>> jobs;  ///< jobs of an order: those that gave it, if any
    std::size_t operations = 0;
    rtree::NodeCounts nodes = {};  ///< that they may take
    bool is_order = false;         ///< or a bulk load's
    Ended ended = {};              ///< for a bulk load
  };
  /// What a batch came to that is applied here, and not durable at enough members yet.
  struct Unproven {
    replication::Lsn end;
    std::vector<std::unique_ptr<Job>> jobs;  ///< with their outcomes
    Ended ended;                             ///< for a bulk load, or empty
    rtree::Version version;
  };
  /// A load that is the tree, and in no checkpoint yet.
  struct Adopted {
    rtree::Run run;
    replication::Lsn end;
    /// So that none of its chunks gets another node, which a checkpoint would write over what
    /// recovery needs if that is cut short.
    rtree::Snapshot<D> pin;
  };

  /// How a job ends.
  struct Outcome {
    rtree::Version version = 0;
    std::vector<protocol::FailedOperation> failed = {};
    std::optional<Error> error = {};
  };
  /// What keeps a batch from being logged now.
  struct Obstacle {
    Nanoseconds wait = 0;      ///< how long to wait before the next look; 0: nothing does
    bool is_log_full = false;  ///< it is room in the log that it waits for
  };

  bool leads() const;
  void note_view(Nanoseconds now);
  void lose_writes();
  void take_arrivals();
  Status log_batches(Nanoseconds now);
  std::unique_ptr<Job> take_next();
  void end_late_jobs();
  Obstacle prepare_batch();
  Nanoseconds wait_for_joiners() const;
  bool waits_for_order() const { return !in_flight_.empty() && in_flight_.back().is_order; }
  std::optional<Outcome> outcome_without_log(const Job& job, Nanoseconds now) const;
  std::optional<Outcome> outcome_by_admission(const Job& job, Nanoseconds now) const;
  Outcome outcome_without_members(const Job& job, Nanoseconds now) const;
  std::optional<Outcome> known_outcome(const Job& job) const;
  Status log_next(bool has_lapsed, Nanoseconds now);
  Status log_order(const replication::AdmissionOrder& order, std::unique_ptr<Job> job);
  Status log_batch(Nanoseconds now);
  void begin_batch();
  Status end_batch(Flight flight);
  void note_refusal(const std::string& why);
  void log_job(const Job& job);
  void log_operation(const protocol::Operation<D>& operation);
  template <typename Payload>
  void append(replication::RecordType type, const Payload& payload);
  bool has_writes_on_their_way() const;
  bool is_done(const Job& job) const;
  void on_batch(const replication::group::AppliedBatch& batch);
  void on_order(const replication::group::AppliedBatch& batch);
  void on_load(const replication::group::AppliedBatch& batch);
  void finish(Flight& flight, const replication::group::AppliedBatch& batch);
  void take_outcome(Job& job, const replication::group::AppliedRequest& applied);
  void answer(Unproven& unproven, const std::optional<Error>& error);
  void answer_proven(Nanoseconds now);
  void lose(Flight& flight);
  void give_back(std::unique_ptr<Job> job);
  void end(std::unique_ptr<Job> job, Outcome outcome);
  void refuse(std::unique_ptr<Job> job, const Error& error);

  const Parts parts_;
  replication::group::LoadedRuns<D> runs_;
  replication::group::TreeMachine<D> machine_;
  replication::group::Member* member_ = nullptr;
  replication::HybridClock clock_;
  replication::Stamp batch_stamp_ = 0;
  replication::LogPosition applied_;  ///< behind the last batch
  std::deque<std::unique_ptr<Job>> backlog_;
  std::deque<Flight> in_flight_;
  std::deque<Unproven> unproven_;  ///< in the log's order
  bool is_held_back_ = false;
  std::deque<Adopted> adopted_;
  std::function<void(const replication::LoadPayload&)> on_offer_;
  rtree::NodeCounts nodes_in_flight_;  ///< that what is logged and not applied may take
  BatchPace pace_{kGroupWriteGap};
  rtree::ChunkRoom room_;              ///< what nothing uses, when a batch is logged,
  rtree::NodeCounts taken_;            ///< what the logged operations may take of it,
  rtree::NodeCounts batch_nodes_;      ///< and those of this batch, erasures among them,
  rtree::NodeCounts kept_by_inserts_;  ///< and what operations leave alone (kept_nodes)
  rtree::NodeCounts kept_by_updates_;
  replication::group::Epoch term_ = 0;  ///< View::since of the flights
  std::optional<Error> obstacle_;       ///< see note_obstacle()
  bool is_short_ = false;               ///< the view has too few members,
  Nanoseconds short_since_ = 0;         ///< and since when
  Nanoseconds batched_at_ = 0;          ///< when the last batch was logged,
  std::uint64_t batch_bytes_ = 0;       ///< and how long it was
  mutable std::mutex refusal_mutex_;
  std::string refusal_;  ///< written by the group's thread
  std::optional<Nanoseconds> again_at_;
  Nanoseconds now_ = 0;  ///< time of the last step
  Counter log_full_waits_;
  Counter join_waits_;
  Counter batches_;
};

}  // namespace silurus::server
