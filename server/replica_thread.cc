#include "server/replica_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/units.h"
#include "server/worker.h"

namespace silurus::server {
namespace {

/// How long the group's thread waits at most for something to happen.
constexpr Nanoseconds kLongestTurn = 100 * kMillisecond;
/// How long a server that starts waits for etcd.
constexpr Nanoseconds kFirstAnswerWait = 5 * kSecond;
/// What the background thread looks for while it waits for a checkpoint's basis.
constexpr auto kLookAgain = std::chrono::milliseconds(20);

}  // namespace

replication::group::Timing timing_of(Nanoseconds lease) {
  return {.lease = lease,
          .heartbeat = lease / 20,
          .silence = lease / 2,
          .slowness = std::max(lease / 2, kSecond),
          .poll = lease / 4,
          .candidacy = lease / 20};
}

template <int D>
ReplicaThread<D>::ReplicaThread(const DurabilityOptions& durability, const GroupOptions& group,
                                replication::group::EtcdAddress etcd,
                                replication::DirectoryLock lock)
    : durability_(durability), options_(group), etcd_(std::move(etcd)), lock_(std::move(lock)) {}

template <int D>
Result<typename ReplicaThread<D>::Opened> ReplicaThread<D>::open(
    const DurabilityOptions& durability, const GroupOptions& group,
    const replication::TreePlace& place) {
  auto etcd = replication::group::EtcdAddress::parse(group.cluster);
  if (!etcd) return fail(etcd.error());
  auto directory = replication::open_directory<D>(
      durability.path, {.log_bytes = durability.log_bytes,
                        .tree_bytes = place.options.memory_budget_bytes,
                        .member = replication::MemberStore{
                            .cluster = etcd->name,
                            .shard = group.shard,
                            .log_chain = replication::group::group_id(*etcd, group.shard)}});
  if (!directory) return fail(directory.error());
  auto opened = replication::Store<D>::open_member(std::move(directory->volume), place, {});
  if (!opened) return fail(opened.error());
  opened->report.formatted = directory->created;
  auto requests = opened->extra.empty()
                      ? Result<replication::group::RequestTable>(replication::group::RequestTable())
                      : replication::group::RequestTable::decode(opened->extra);
  if (!requests) {
    return fail(requests.error().code, durability.path + ": " + requests.error().message);
  }
  log::info("opened " + durability.path + ", member " + std::to_string(opened->id) + " of shard " +
            std::to_string(group.shard) + " of " + etcd->name + ": " +
            replication::to_string(opened->report) + "; the log behind it is the group's to judge");
  Opened result;
  result.replica.reset(
      new ReplicaThread(durability, group, std::move(*etcd), std::move(directory->lock)));
  ReplicaThread& made = *result.replica;
  made.store_ = std::move(opened->store);
  made.recovery_ = opened->report;
  made.id_ = opened->id;
  made.applied_ = opened->applied;
  made.requests_ = std::move(*requests);
  made.stamp_ = opened->stamp;
  made.standing_ = std::make_unique<Standing>(made.etcd_.name, group.shard, opened->id);
  result.tree = std::move(opened->tree);
  return result;
}

template <int D>
Status ReplicaThread<D>::join(rtree::Tree<D>& tree, Writer<D>& writer, History<D>& history,
                              const std::string& clients) {
  replica_ = std::make_unique<Replica<D>>(
      typename Replica<D>::Parts{*store_, tree, writer, history, *standing_,
                                 [](WriteJob<D>* job) { job->owner->complete(job); }},
      std::move(*requests_), stamp_.load(std::memory_order_relaxed), applied_);
  requests_.reset();
  auto driver = replication::group::Driver::create(
      {.etcd = etcd_,
       .shard = options_.shard,
       .id = id_,
       .listen = options_.listen,
       .clients = options_.advertise.empty() ? clients : options_.advertise,
       .allow_other_users = options_.allow_other_users,
       .multicast = options_.multicast,
       .protocol = options_.protocol,
       .ack = options_.ack,
       .timing = timing_of(options_.lease),
       .wait = options_.wait},
      store_->log(), applied_, replica_->machine());
  if (!driver) return fail(driver.error());
  driver_ = std::move(*driver);
  replica_->attach(driver_->member());
  writer.hand_to([this] { driver_->wake(); });
  if (Status found = wait_for_etcd(); !found) return found;
  is_running_.store(true, std::memory_order_relaxed);  // before there is any other thread
  checkpoints_ = std::make_unique<Checkpoints<D>>(*store_, durability_.checkpoint_interval);
  checkpoints_->start(tree,
                      [this](const std::atomic<bool>& cancel) { return ask_for_basis(cancel); });
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  pthread_setname_np(thread_.native_handle(), "silurus-group");
  return {};
}

/// A first start that finds no etcd is most likely a mistake. Later it may be away.
template <int D>
Status ReplicaThread<D>::wait_for_etcd() {
  const Nanoseconds until = clock_.now() + kFirstAnswerWait;
  while (!driver_->member().has_heard_of_store()) {
    if (clock_.now() >= until) {
      return fail(ErrorCode::kUnavailable, "--cluster: no etcd answers at " + options_.cluster +
                                               " within " + format_duration(kFirstAnswerWait));
    }
    if (Status done = driver_->turn(kLongestTurn); !done) return done;
  }
  return {};
}

template <int D>
void ReplicaThread<D>::run(std::stop_token stop) {
  std::optional<Error> failure;
  while (!stop.stop_requested()) {
    if (failure) {  // whoever still writes is told
      replica_->give_up(*failure);
      std::this_thread::sleep_for(kLookAgain);
      continue;
    }
    if (Status done = turn(); !done) {
      failure = Error{ErrorCode::kUnavailable,
                      "this member of the group was given up, restart it: " + done.error().message};
      log::error(failure->message);
    }
  }
  replica_->give_up({ErrorCode::kNotPrimary, "this member is shutting down"});
}

template <int D>
Status ReplicaThread<D>::turn() {
  Nanoseconds wait = kLongestTurn;
  if (const auto at = replica_->deadline()) {
    wait = std::clamp<Nanoseconds>(*at - clock_.now(), 0, kLongestTurn);
  }
  if (Status done = driver_->turn(wait); !done) return done;
  if (Status done = replica_->step(clock_.now()); !done) return done;
  stamp_.store(replica_->machine().stamp(), std::memory_order_relaxed);
  log_end_.store(store_->log().end().lsn, std::memory_order_relaxed);
  serve_checkpoints();
  return {};
}

// --- checkpoints

template <int D>
void ReplicaThread<D>::serve_checkpoints() {
  if (replica_->wants_checkpoint()) checkpoints_->want();
  // Relaxed: a wish, of which the mutex orders the rest.
  if (!basis_wanted_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(basis_mutex_);
  basis_ = replica_->checkpoint_basis();
  basis_given_ = true;
  basis_wanted_.store(false, std::memory_order_relaxed);
  basis_ready_.notify_one();
}

template <int D>
Result<std::optional<CheckpointBasis<D>>> ReplicaThread<D>::ask_for_basis(
    const std::atomic<bool>& cancel) {
  // The last one, when the group's thread has ended.
  // Acquire: pairs with the release in stop(), so that all of that thread is seen.
  if (!is_running_.load(std::memory_order_acquire)) return replica_->checkpoint_basis();
  std::unique_lock lock(basis_mutex_);
  basis_given_ = false;
  basis_wanted_.store(true, std::memory_order_relaxed);
  driver_->wake();
  while (!basis_ready_.wait_for(lock, kLookAgain, [this] { return basis_given_; })) {
    if (cancel.load(std::memory_order_relaxed)) {
      return fail(ErrorCode::kUnavailable, "the checkpoint was cancelled");
    }
  }
  return std::exchange(basis_, std::nullopt);
}

template <int D>
void ReplicaThread<D>::stop() {
  if (!thread_.joinable()) return;
  checkpoints_->stop_thread();
  thread_.request_stop();
  driver_->wake();
  thread_.join();
  is_running_.store(false, std::memory_order_release);  // pairs with ask_for_basis()
  if (Status made = checkpoints_->take_last(); !made) {
    log::warning("no last checkpoint, the next start applies more of the log: " +
                 made.error().message);
  }
  driver_.reset();
}

template <int D>
DurabilityStats ReplicaThread<D>::stats() const {
  const replication::Log& log = store_->log();
  DurabilityStats stats;
  stats.path = durability_.path;
  stats.medium = store_->is_pmem() ? "pmem" : store_->waits_for_device() ? "disk" : "memory";
  stats.log_capacity_bytes = log.capacity();
  stats.log_end = log_end_.load(std::memory_order_relaxed);
  const std::uint64_t start = log.start();
  stats.log_used_bytes = stats.log_end > start ? stats.log_end - start : 0;
  stats.log_durable = log.durable();
  stats.log_full_waits = replica_ != nullptr ? replica_->log_full_waits() : 0;
  stats.flushes = log.flushes();
  if (checkpoints_ != nullptr) stats.checkpoints = checkpoints_->stats();
  stats.recovery = recovery_;
  return stats;
}

template class ReplicaThread<2>;
template class ReplicaThread<3>;

}  // namespace silurus::server
