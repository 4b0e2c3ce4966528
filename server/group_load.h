// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "replication/group/loaded_runs.h"
#include "replication/group/member.h"
#include "replication/store.h"
#include "server/executor.h"
#include "server/load.h"
#include "server/load_taker.h"
#include "server/member_status.h"
#include "server/replica.h"

namespace silurus::server {

/// The primary's half of bulk loads in a group (docs/decisions/0131): builds the tree once, beside
/// the one that is published, offers it to the others by a record of the log, and logs the record
/// that makes it the tree when those that can have copied it. From the moment at which all that was
/// logged before is applied everywhere, until the load has ended, nothing else is logged.
///
/// A member that is silent, slow or fails is not waited for: it finds that it lacks what the record
/// needs, and copies the whole tree. But if one has no room, or fewer than a quorum have copied it,
/// the load is refused, and nothing has changed. The owner of the member calls step() after each of
/// its steps, on the same thread; the building is the executor's.
template <int D>
class GroupLoad {
 public:
  struct Parts {
    replication::Store<D>& store;
    rtree::Tree<D>& tree;
    Replica<D>& replica;
    replication::group::LoadedRuns<D>& runs;
    replication::group::Member& member;
    replication::group::MemberId self;
    Executor& executor;
    MemberStatus& member_status;
  };
  /// All parts, and the world, must outlive it.
  GroupLoad(const Parts& parts, const LoadWorld<D>& world) : parts_(parts), world_(world) {}
  /// Waits for what is being built.
  ~GroupLoad();
  GroupLoad(const GroupLoad&) = delete;
  GroupLoad& operator=(const GroupLoad&) = delete;

  /// Any thread: the next load. step() or give_up() gives it back to its owner, with its outcome.
  void submit(std::unique_ptr<LoadJob<D>> job);
  /// An error is final, as the replica's.
  Status step(Nanoseconds now);
  /// Whether step() is to be called at once.
  bool has_more() const;
  /// All loads end with this error.
  void give_up(const Error& error);

 private:
  enum class Phase : std::uint8_t {
    kIdle,
    kSettling,   ///< what was logged before is not applied everywhere yet
    kReserving,  ///< chunks
    kBuilding,
    kCopying,  ///< the others copy, and we make it durable
    kLogged,   ///< the record that makes it the tree
    kEnding,   ///< its outcome is known, but the executor still works on it
  };
  struct Build;
  /// What was last heard of another member's copy.
  struct Progress {
    std::uint64_t nodes = 0;
    Nanoseconds since = 0;
  };

  Status go_on(Nanoseconds now);
  void tell();
  void take_next(Nanoseconds now);
  void settle(Nanoseconds now);
  bool are_settled(Nanoseconds now, std::uint64_t& unused_chunk);
  Status plan(Nanoseconds now, std::uint64_t first);
  void reserve();
  Status build(Nanoseconds now);
  Status copy(Nanoseconds now);
  /// Whether those that are waited for have copied it; an error refuses the load.
  Result<bool> are_copied(Nanoseconds now);
  bool makes_progress(replication::group::MemberId member, std::uint64_t nodes, Nanoseconds now);
  Status log_load(Nanoseconds now);
  void on_end(Result<rtree::Version> version);
  void refuse(const Error& error);
  void answer();
  void withdraw();
  void end_build();

  const Parts parts_;
  const LoadWorld<D>& world_;
  std::mutex mutex_;
  std::unique_ptr<LoadJob<D>> asked_;  ///< by any thread; one at most, since a load holds the slot

  Phase phase_ = Phase::kIdle;
  std::unique_ptr<LoadJob<D>> current_;
  std::shared_ptr<Build> build_;
  replication::LoadPayload load_{};
  replication::group::Epoch term_ = 0;  ///< View::since
  bool is_offered_ = false;
  Nanoseconds began_ = 0;           ///< the phase
  std::uint64_t nodes_ = 0;         ///< nodes of the tree that is loaded,
  std::uint64_t least_copied_ = 0;  ///< and of them, those that each member waited for has
  std::map<replication::group::MemberId, Progress> progress_;
};

}  // namespace silurus::server
