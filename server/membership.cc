// SPDX-License-Identifier: Apache-2.0

#include "server/membership.h"

#include <utility>

namespace silurus::server {

using replication::group::MachineState;

template <int D>
Result<typename Membership<D>::Found> Membership<D>::open_store(
    replication::Volume volume, const replication::TreePlace& place) {
  auto opened = replication::Store<D>::open_member(std::move(volume), place, {});
  if (!opened) {
    Error error = opened.error();
    if (error.code == ErrorCode::kProtocol) {
      error.message +=
          " (a member takes no backup and no loss: if another one serves, it may start with an "
          "empty directory, and copies the tree from there)";
    }
    return fail(std::move(error));
  }
  Status one = replication::check_one_collection<D>(*opened, opened->store->name());
  if (!one) return fail(one.error());
  auto state = MachineState::decode(opened->extra);
  if (!state) return fail(state.error().code, opened->store->name() + ": " + state.error().message);
  return Found{std::move(*opened), std::move(*state)};
}

template <int D>
Membership<D>::Membership(Found& found, const std::string& cluster, std::uint32_t shard)
    : store_(std::move(found.store.store)),
      recovery_(found.store.report),
      id_(found.store.id),
      applied_at_start_(found.store.applied),
      state_(std::move(found.state)),
      stamp_at_start_(found.store.stamp),
      member_status_(cluster, shard, id_),
      loads_at_start_(std::move(found.store.loads)) {}

template <int D>
Replica<D>& Membership<D>::make_replica(const Joined& joined) {
  replica_ = std::make_unique<Replica<D>>(
      typename Replica<D>::Parts{*store_, joined.tree, queue_, joined.admission, joined.history,
                                 member_status_, joined.slice},
      std::move(*state_), stamp_at_start_, applied_at_start_, std::move(loads_at_start_));
  state_.reset();
  return *replica_;
}

template <int D>
Status Membership<D>::offer_copies(
    rtree::Tree<D>& tree, const Linked& linked, replication::MakeFetch<D> make_fetch,
    std::function<std::unique_ptr<replication::IncomingPlace>()> make_place,
    const replication::StateTransferOptions& options) {
  copies_ = std::make_unique<replication::StateTransfer<D>>(
      typename replication::StateTransfer<D>::Parts{*store_, tree, linked.member, linked.links,
                                                    linked.group, id_},
      replication::TransferHost<D>{
          .hold = [this] { return replica_->hold(); },
          .hold_load = [this](std::uint64_t id) { return replica_->hold_load(id); },
          .on_copied = [this](const auto& copied) { member_status_.note_copies(copied); },
          .on_obstacle = [this](const auto& why) { member_status_.note_copy_obstacle(why); },
          .make_fetch = std::move(make_fetch),
          .make_place = std::move(make_place)},
      options);
  return linked.reads_one_sidedly ? expose_(linked.links.listener()) : Status{};
}

template <int D>
void Membership<D>::offer_loads(rtree::Tree<D>& tree, const Linked& linked, LoadWorld<D> world) {
  load_world_ = std::move(world);
  taker_ =
      std::make_unique<LoadTaker<D>>(typename LoadTaker<D>::Parts{*store_, tree, replica_->runs(),
                                                                  linked.member, linked.group, id_},
                                     load_world_);
  replica_->on_offer([this](const replication::LoadPayload& load) { taker_->on_offer(load); });
  auto group_load = std::make_unique<GroupLoad<D>>(
      typename GroupLoad<D>::Parts{*store_, tree, *replica_, replica_->runs(), linked.member, id_,
                                   *executor_, member_status_},
      load_world_);
  const std::lock_guard lock(load_mutex_);
  group_load_ = std::move(group_load);
}

template <int D>
std::unique_ptr<WriteJob<D>> Membership<D>::submit(std::unique_ptr<WriteJob<D>> job) {
  auto [refused, is_first] = queue_.submit(std::move(job));
  if (is_first) wake();
  return std::move(refused);
}

template <int D>
std::unique_ptr<LoadJob<D>> Membership<D>::load(std::unique_ptr<LoadJob<D>> job) {
  {
    const std::lock_guard lock(load_mutex_);
    if (group_load_ != nullptr) {
      group_load_->submit(std::move(job));
      return nullptr;
    }
  }
  job->version = fail(ErrorCode::kNotPrimary, "this member is shutting down");
  give_back(std::move(job));
  return nullptr;
}

template <int D>
void Membership<D>::end_copies(const Error& error) {
  give_up(error);
  std::unique_ptr<GroupLoad<D>> ended;
  {
    const std::lock_guard lock(load_mutex_);
    ended = std::move(group_load_);
  }
  if (ended != nullptr) ended->give_up(error);  // what came meanwhile
  ended.reset();
  if (replica_ != nullptr) replica_->on_offer(nullptr);
  taker_.reset();
  copies_.reset();
}

template <int D>
void Membership<D>::give_up(const Error& error) {
  if (replica_ != nullptr) replica_->give_up(error);
  if (group_load_ != nullptr) group_load_->give_up(error);
}

template <int D>
std::optional<Nanoseconds> Membership<D>::deadline(Nanoseconds now) const {
  if (taker_->has_more() || group_load_->has_more()) return now;
  return replica_->deadline();
}

template <int D>
Status Membership<D>::step(Nanoseconds now) {
  if (Status done = replica_->step(now); !done) return done;
  // Relaxed: a figure.
  log_end_.store(store_->log().end().lsn, std::memory_order_relaxed);
  taker_->step();
  if (Status done = group_load_->step(now); !done) return done;
  return copies_->step(now);
}

template <int D>
DurabilityStats Membership<D>::stats() const {
  const replication::Log& log = store_->log();
  DurabilityStats stats;
  stats.path = store_->name();
  stats.medium = store_->is_pmem() ? "pmem" : store_->waits_for_device() ? "disk" : "memory";
  stats.log_capacity_bytes = log.capacity();
  stats.log_end = log_end_.load(std::memory_order_relaxed);
  const std::uint64_t start = log.start();
  stats.log_used_bytes = stats.log_end > start ? stats.log_end - start : 0;
  stats.log_durable = log.durable();
  stats.log_full_waits = replica_ != nullptr ? replica_->log_full_waits() : 0;
  stats.log_join_waits = replica_ != nullptr ? replica_->join_waits() : 0;
  if (replica_ != nullptr) stats.read_only = replica_->refusal();
  stats.flushes = log.flushes();
  stats.recovery = recovery_;
  return stats;
}

template class Membership<2>;
template class Membership<3>;

}  // namespace silurus::server
