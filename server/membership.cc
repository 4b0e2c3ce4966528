#include "server/membership.h"

#include <utility>

#include "server/worker.h"

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
      standing_(cluster, shard, id_) {}

template <int D>
Replica<D>& Membership<D>::make_replica(rtree::Tree<D>& tree, Writer<D>& writer,
                                        History<D>& history) {
  replica_ = std::make_unique<Replica<D>>(
      typename Replica<D>::Parts{*store_, tree, writer, history, standing_,
                                 [](WriteJob<D>* job) { job->owner->complete(job); }},
      std::move(*state_), stamp_at_start_, applied_at_start_);
  state_.reset();
  return *replica_;
}

template <int D>
Status Membership<D>::offer_copies(rtree::Tree<D>& tree, const Linked& linked,
                                   typename Copies<D>::MakeFetch make_fetch,
                                   const CopiesOptions& options) {
  copies_ = std::make_unique<Copies<D>>(
      typename Copies<D>::Parts{*store_, tree, *replica_, standing_, linked.member, linked.links,
                                linked.group, id_, std::move(make_fetch)},
      options);
  return linked.reads_one_sidedly ? expose_(linked.links.listener()) : Status{};
}

template <int D>
Status Membership<D>::step(Nanoseconds now) {
  if (Status done = replica_->step(now); !done) return done;
  // Relaxed: a figure.
  log_end_.store(store_->log().end().lsn, std::memory_order_relaxed);
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
