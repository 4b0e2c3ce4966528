// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "replication/group/member.h"
#include "replication/state_transfer/state_transfer.h"
#include "server/admission.h"
#include "server/durability.h"
#include "server/executor.h"
#include "server/group_load.h"
#include "server/load_taker.h"
#include "server/member_status.h"
#include "server/opened_membership.h"
#include "server/replica.h"
#include "server/write_driver.h"

namespace silurus::server {

/// A server's part in a group of replicas: its store, what it says of itself, and what it does in
/// each of its turns, among which the log decides of what clients write. What gives it turns, an
/// etcd and a way to the others is a subclass's: a thread of its own (ReplicaThread), or a
/// simulated world. Owned by the shard; any thread may call what is not said to be of set-up.
template <int D>
class Membership : public WriteDriver<D> {
 public:
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // --- set-up
  /// What the group's log changes of the shard.
  struct Joined {
    rtree::Tree<D>& tree;
    AdmissionControl& admission;
    History<D>& history;
    std::uint32_t slice;  ///< work on batches in one step
  };
  /// How other members may come to read the tree one-sidedly, to copy it.
  void expose_by(ExposeTree expose) { expose_ = std::move(expose); }
  /// Where the trees of bulk loads are built; must outlive it. Before join().
  void build_on(Executor& executor) { executor_ = &executor; }
  /// Takes part in the group from now on. `clients`: where this server listens, as clients are to
  /// be told. All that is given must outlive it. kUnavailable if etcd does not answer.
  virtual Status join(const Joined& joined, const std::string& clients) = 0;

  // --- any thread
  const MemberStatus& member_status() const { return member_status_; }
  std::unique_ptr<WriteJob<D>> submit(std::unique_ptr<WriteJob<D>> job) override;
  /// Does nothing: batches are the group's thread's.
  WriteTurn<D> turn(Nanoseconds, bool) override { return {}; }
  std::unique_ptr<LoadJob<D>> load(std::unique_ptr<LoadJob<D>> job) override;
  std::uint64_t batches() const override { return replica_ != nullptr ? replica_->batches() : 0; }
  /// Or of the next one: never older than that of a version seen.
  replication::Stamp stamp() const override {
    return replica_ != nullptr ? replica_->machine().stamp() : stamp_at_start_;
  }
  std::optional<DurabilityStats> durability_stats() const override { return stats(); }

 protected:
  /// A store as it was found, with what its last checkpoint remembers beside the tree.
  struct Found {
    typename replication::Store<D>::OpenedMember store;
    replication::group::MachineState state;
  };
  static Result<Found> open_store(replication::Volume volume, const replication::TreePlace& place);
  /// Takes all but the tree out of `found`. `cluster`, `shard`: for people.
  Membership(Found& found, const std::string& cluster, std::uint32_t shard);

  virtual DurabilityStats stats() const;
  /// Any thread: the group's thread is to take a step soon.
  virtual void wake() = 0;

  /// Once, in join(), before there is a member; all must outlive this.
  Replica<D>& make_replica(const Joined& joined);
  /// A member that others find by its links.
  struct Linked {
    replication::group::Member& member;
    replication::group::Links& links;
    replication::group::GroupId group;
    bool reads_one_sidedly;
  };
  /// Once, in join(), behind make_replica(): others may copy the tree, and this member copies
  /// theirs when it has to. All must outlive it, or end_copies() be called.
  Status offer_copies(rtree::Tree<D>& tree, const Linked& linked,
                      replication::MakeFetch<D> make_fetch,
                      std::function<std::unique_ptr<replication::IncomingPlace>()> make_place,
                      const replication::StateTransferOptions& options = {});
  /// Once, in join(), behind offer_copies(): takes part in bulk loads.
  void offer_loads(rtree::Tree<D>& tree, const Linked& linked, LoadWorld<D> world);
  /// Ends copies and bulk loads, whose connections are the links'. The latter with that error.
  void end_copies(const Error& error = {ErrorCode::kNotPrimary, "this member is shutting down"});
  const replication::StateTransfer<D>& copies() const { return *copies_; }
  const LoadTaker<D>& load_taker() const { return *taker_; }
  /// When step() must be called though nothing happens; nothing: never.
  std::optional<Nanoseconds> deadline(Nanoseconds now) const;
  /// Writes and loads that wait end with this error.
  void give_up(const Error& error);
  /// After each step of the member: see Replica::step() and StateTransfer::step(). A copy that has
  /// arrived (StateTransfer::has_arrived()) ends this life.
  Status step(Nanoseconds now);

  replication::Store<D>& store() { return *store_; }
  Replica<D>& replica() { return *replica_; }
  replication::group::MemberId id() const { return id_; }
  /// What the tree had of the log when it was opened.
  const replication::LogPosition& applied_at_start() const { return applied_at_start_; }

 private:
  std::unique_ptr<replication::Store<D>> store_;
  const replication::RecoveryReport recovery_;
  const replication::group::MemberId id_;
  const replication::LogPosition applied_at_start_;
  std::optional<replication::group::MachineState> state_;  ///< until join()
  const replication::Stamp stamp_at_start_;
  std::atomic<std::uint64_t> log_end_{0};
  MemberStatus member_status_;
  ExposeTree expose_;
  Executor* executor_ = nullptr;
  std::vector<replication::LoadPayload> loads_at_start_;  ///< until join()
  WriteQueue<D> queue_;
  std::unique_ptr<Replica<D>> replica_;
  std::unique_ptr<replication::StateTransfer<D>> copies_;
  LoadWorld<D> load_world_;
  std::unique_ptr<LoadTaker<D>> taker_;
  std::mutex load_mutex_;  ///< guards the pointer, for load()
  std::unique_ptr<GroupLoad<D>> group_load_;
};

}  // namespace silurus::server
