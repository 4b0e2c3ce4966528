// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "replication/admission_state.h"
#include "replication/group/loaded_runs.h"
#include "replication/group/member.h"
#include "replication/group/requests.h"
#include "rtree/tree.h"

namespace silurus::replication::group {

/// One write of a batch that was applied.
struct AppliedRequest {
  RequestPayload request;
  Outcome outcome;
  /// It was done before; the outcome is that of the first time, if `is_known`.
  bool is_repeated = false;
  bool is_known = true;
  /// What a step of a compaction came to, if it was one.
  std::optional<rtree::CompactStep> compacted = {};
};

/// A batch that was applied and published.
struct AppliedBatch {
  LogPosition end;
  Stamp stamp;
  rtree::Version version;  ///< after it
  bool has_changed;        ///< whether that is a version of its own
  std::span<const AppliedRequest> requests;
  std::optional<AdmissionOrder> order = {};  ///< instead of requests, ...
  Status obeyed = {};                        ///< outcome of that order
  std::optional<LoadPayload> load = {};      ///< that was offered, or has become the tree
  bool is_offer = false;
};

/// What the log has led to beside the tree: part of each checkpoint, and of each copy.
struct MachineState {
  RequestTable requests;
  Admission admission;

  std::vector<std::byte> encode() const;
  /// kProtocol if the bytes are neither empty nor what encode() made.
  static Result<MachineState> decode(std::span<const std::byte> bytes);
};

/// The tree that a group's log is the log of. What operations come to is decided here, when they
/// are committed, and not when they are logged: so a primary has never applied what may not be
/// committed, has many batches under way, and every member does the same in the same order. A batch
/// that changes anything is one version, of the same number at every member. One thread.
template <int D>
class TreeMachine final : public Machine {
 public:
  /// The tree and the state as of the same place in the log. `on_batch` is told of each batch, from
  /// within apply(), once it is published. `slice`: work of one apply(), at least
  /// rtree::kWorkOfAnOperation.
  TreeMachine(rtree::Tree<D>& tree, MachineState state, Stamp stamp,
              std::function<void(const AppliedBatch&)> on_batch,
              std::uint32_t slice = rtree::kSliceOfWork);
  /// Where the trees of bulk loads are. Without that a log that speaks of some is nonsense.
  void take_loads_from(LoadedRuns<D>& runs) { runs_ = &runs; }

  Result<LogPosition> apply(const Log& log, LogPosition from, Lsn commit) override;
  /// Any thread. Of the version published last, or of the next one: a thread that sees a version in
  /// the tree gets no older stamp than that version's.
  Stamp stamp() const override { return stamp_.load(std::memory_order_relaxed); }
  const MachineState& state() const { return state_; }
  const RequestTable& requests() const { return state_.requests; }
  /// It has stopped because all memory is in use, though some is retired: apply() goes on in a
  /// while.
  bool waits_for_memory() const { return waits_for_memory_; }
  /// It has stopped after a slice of work, perhaps within a batch: apply() goes on at once.
  bool has_more() const override { return has_more_; }
  /// It has stopped within a batch: the state is ahead of what is published.
  bool is_within_batch() const { return !batch_.empty() || order_.has_value(); }

 private:
  Status take(const Record& record);
  Status take_order();
  Status take_operation(const Record& record);
  Status take_load(const Record& record);
  bool look_for(const Record& record);
  Status change(const Record& record);
  Status compact(const Record& record);
  void finish_request();
  void finish_batch(const Record& record, LogPosition end);

  rtree::Tree<D>& tree_;
  MachineState state_;
  /// Relaxed, but stored before the tree's publish(), whose release of the root pairs with the
  /// acquire of the thread that takes a snapshot.
  std::atomic<Stamp> stamp_;
  const std::function<void(const AppliedBatch&)> on_batch_;
  const std::uint32_t slice_;
  /// Records before it were taken: in the middle of a batch, perhaps.
  std::optional<LogPosition> at_;
  std::vector<AppliedRequest> batch_;  ///< in the batch being applied
  std::uint32_t operation_ = 0;        ///< index of the last request in it
  bool waits_for_memory_ = false;
  bool has_more_ = false;
  std::uint32_t work_ = 0;               ///< left of the slice
  std::optional<AdmissionOrder> order_;  ///< in the batch being applied
  Status obeyed_;
  std::optional<LoadPayload> load_;  ///< in the batch being applied
  LoadedRuns<D>* runs_ = nullptr;
};

}  // namespace silurus::replication::group
