// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "replication/group/loaded_runs.h"
#include "replication/group/member.h"
#include "replication/state_transfer/receiver.h"
#include "replication/store.h"

namespace silurus::server {

/// What bulk loads in a group need of the world that a member lives in.
template <int D>
struct LoadWorld {
  replication::MakeFetch<D> make_fetch;
  /// Any thread: waits for the checkpoint under way; then none is taken until the same number of
  /// calls of `resume_checkpoints`.
  std::function<void()> pause_checkpoints;
  std::function<void()> resume_checkpoints;
  /// Any thread: the member's owner is to take a step soon.
  std::function<void()> wake;
  /// Time without progress after which the copy of a member is not waited for.
  Nanoseconds patience = replication::kCopyPatience;
};

/// Keeps checkpoints away while the nodes of a run are written beside the last one.
template <int D>
class CheckpointPause {
 public:
  explicit CheckpointPause(const LoadWorld<D>& world) : world_(world) {}
  ~CheckpointPause() { end(); }
  CheckpointPause(const CheckpointPause&) = delete;
  CheckpointPause& operator=(const CheckpointPause&) = delete;
  void begin() {
    if (!std::exchange(is_on_, true)) world_.pause_checkpoints();
  }
  void end() {
    if (std::exchange(is_on_, false)) world_.resume_checkpoints();
  }

 private:
  const LoadWorld<D>& world_;
  bool is_on_ = false;
};

/// A member's half of bulk loads that another one has built (GroupLoad): copies the nodes of what
/// is offered into the same chunks of its own tree and makes them durable, so that the record that
/// follows can make them the tree. Says in its row how far it is. The owner of the member calls
/// step() after each of its steps, on the same thread.
template <int D>
class LoadTaker {
 public:
  struct Parts {
    replication::Store<D>& store;
    rtree::Tree<D>& tree;
    replication::group::LoadedRuns<D>& runs;
    replication::group::Member& member;
    replication::group::GroupId group;
    replication::group::MemberId self;
  };
  /// All parts, and the world, must outlive it.
  LoadTaker(const Parts& parts, const LoadWorld<D>& world);
  /// Ends what is under way; waits for it.
  ~LoadTaker();

  /// A load was offered, or, without chunks, is not needed any more; in the order of the log.
  void on_offer(const replication::LoadPayload& load);
  void step();
  /// Whether step() is to be called at once.
  bool has_more() const { return is_reserving_ || (next_ && fetch_ == nullptr); }
  /// Loads whose nodes were copied.
  std::uint64_t taken() const { return taken_; }
  /// Whether nodes are being copied.
  bool is_copying() const { return fetch_ != nullptr; }

 private:
  class Sink;
  void begin();
  void reserve();
  void fetch();
  void end(const Status& outcome);

  const Parts parts_;
  const LoadWorld<D>& world_;
  std::optional<replication::LoadPayload> next_;  ///< offered, and not begun
  std::optional<replication::LoadPayload> load_;  ///< the one being copied, or copied last
  bool is_reserving_ = false;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<replication::StateFetch> fetch_;  ///< goes before its sink
  std::uint64_t outcome_ = 0;                       ///< as in our row
  std::uint64_t taken_ = 0;
};

}  // namespace silurus::server
