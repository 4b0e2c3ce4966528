// SPDX-License-Identifier: Apache-2.0

#include "server/replica_thread.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "common/units.h"
#include "replication/group/persisted_view.h"
#include "replication/state_transfer/fetch_thread.h"

namespace silurus::server {

Result<replication::group::Agreement> agreement_of(const GroupOptions& group,
                                                   const std::string& data) {
  const auto bad = [](const char* option, const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, "--" + std::string(option) + ": " + what);
  };
  using replication::group::StaticAddress;
  if (group.take_over && !group.lead) return bad("take-over", "only with --lead");
  if (!StaticAddress::is_meant(group.cluster)) {
    if (group.lead) return bad("lead", "only in a group without etcd, static://HOST:PORT/NAME");
    auto etcd = replication::group::EtcdAddress::parse(group.cluster);
    if (!etcd) return bad("cluster", etcd.error().message);
    return std::move(*etcd);
  }
  const auto listen = transport::Address::parse(group.listen);
  if (!listen) return bad("group-address", listen.error().message);
  auto address = StaticAddress::parse(group.cluster, listen->scheme);
  if (!address) return bad("cluster", address.error().message);
  const std::string keeper = address->keeper.to_string();
  if (group.lead && group.listen != kAnyGroupAddress && group.listen != keeper) {
    return bad("group-address", "the first member listens where --cluster says, at " + keeper);
  }
  if (!group.lead && group.listen == keeper) {
    return bad("group-address", keeper + " is the first member's, which has --lead");
  }
  return replication::group::StaticGroup{
      .address = std::move(*address),
      .leads = group.lead,
      .takes_over = group.take_over,
      .view_file = data + "/" + replication::group::kPersistedViewName};
}

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
                                replication::group::Agreement agreement,
                                std::optional<access::Key> key, replication::DirectoryLock lock,
                                Found& found)
    : Membership<D>(found, replication::group::cluster_name(agreement), group.shard),
      durability_(durability),
      options_(group),
      agreement_(std::move(agreement)),
      key_(std::move(key)),
      lock_(std::move(lock)) {}

template <int D>
Result<typename ReplicaThread<D>::Opened> ReplicaThread<D>::open(
    const DurabilityOptions& durability, const GroupOptions& group,
    const replication::TreePlace& place) {
  auto agreement = agreement_of(group, durability.path);
  if (!agreement) return fail(agreement.error());
  std::optional<access::Key> key;
  if (!group.cluster_key.empty()) {
    auto read = access::Key::read(group.cluster_key, geteuid());
    if (!read) return fail(read.error());
    key = std::move(*read);
  }
  const std::string cluster = replication::group::cluster_name(*agreement);
  auto directory = replication::open_directory<D>(
      durability.path, {.log_bytes = durability.log_bytes,
                        .tree_bytes = place.options.memory_budget_bytes,
                        .member = replication::MemberStore{
                            .cluster = cluster,
                            .shard = group.shard,
                            .log_chain = replication::group::group_id(cluster, group.shard)}});
  if (!directory) return fail(directory.error());
  auto found = Membership<D>::open_store(std::move(directory->volume), place);
  if (!found) return fail(found.error());
  found->store.report.formatted = directory->created;
  log::info("opened " + durability.path + ", member " + std::to_string(found->store.id) +
            " of shard " + std::to_string(group.shard) + " of " + cluster + ": " +
            replication::to_string(found->store.report) +
            "; the log behind it is the group's to judge");
  Opened result;
  result.tree = std::move(found->store.tree);
  result.membership.reset(new ReplicaThread(durability, group, std::move(*agreement),
                                            std::move(key), std::move(directory->lock), *found));
  return result;
}

template <int D>
Status ReplicaThread<D>::join(const Joined& joined, const std::string& clients) {
  rtree::Tree<D>& tree = joined.tree;
  Replica<D>& replica = this->make_replica(joined);
  const auto* const group = std::get_if<replication::group::StaticGroup>(&agreement_);
  auto driver = replication::group::Driver::create(
      {.agreement = agreement_,
       .shard = options_.shard,
       .id = this->id(),
       .listen =
           group != nullptr && group->leads ? group->address.keeper.to_string() : options_.listen,
       .clients = options_.advertise.empty() ? clients : options_.advertise,
       .key = key_,
       .multicast = options_.multicast,
       .protocol = options_.protocol,
       .ack = options_.ack,
       .min_members = options_.min_members,
       .timing = timing_of(options_.lease),
       .wait = options_.wait},
      this->store().log(), this->applied_at_start(), replica.machine());
  if (!driver) return fail(driver.error());
  driver_ = std::move(*driver);
  replica.attach(driver_->member());
  const typename Membership<D>::Linked linked{driver_->member(), driver_->links(), driver_->group(),
                                              driver_->reads_one_sidedly()};
  const auto wake = [this] { this->wake(); };
  const auto make_fetch = [wake, id = this->id(), key = key_](replication::StateSink<D>& sink) {
    return std::make_unique<replication::StateFetchThread<D>>(sink, "member " + std::to_string(id),
                                                              wake, key);
  };
  const replication::DirectoryOptions next_life{
      .log_bytes = this->store().log().capacity(),
      .tree_bytes = tree.stats().bytes_budget,
      .member = replication::MemberStore{.cluster = replication::group::cluster_name(agreement_),
                                         .shard = options_.shard,
                                         .log_chain = 0},
      .id = this->id()};
  Status offered =
      this->offer_copies(tree, linked, make_fetch, [path = durability_.path, next_life] {
        return std::make_unique<replication::IncomingDirectory<D>>(path, next_life);
      });
  if (!offered) return offered;
  checkpoints_ = std::make_unique<Checkpoints<D>>(this->store(), durability_.checkpoint_interval);
  this->offer_loads(tree, linked,
                    {.make_fetch = make_fetch,
                     .pause_checkpoints = [this] { checkpoints_->pause(); },
                     .resume_checkpoints = [this] { checkpoints_->resume(); },
                     .wake = wake});
  if (Status found = wait_for_views(); !found) return found;
  is_running_.store(true, std::memory_order_relaxed);  // before there is any other thread
  checkpoints_->start(tree,
                      [this](std::stop_token stop) { return ask_for_basis(std::move(stop)); });
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  pthread_setname_np(thread_.native_handle(), "silurus-group");
  return {};
}

/// A first start that finds no view store is most likely a mistake. Later they may be away;
/// and a member of a static group that knows of a view has one already.
template <int D>
Status ReplicaThread<D>::wait_for_views() {
  const auto* const group = std::get_if<replication::group::StaticGroup>(&agreement_);
  std::error_code ignored;
  const bool has_view = group != nullptr && std::filesystem::exists(group->view_file, ignored);
  const std::string who =
      group == nullptr ? "etcd answers at " + options_.cluster
                       : "first member (--lead) answers at " + group->address.keeper.to_string();
  const Nanoseconds until = clock_.now() + kFirstAnswerWait;
  while (!driver_->member().has_heard_of_store()) {
    if (clock_.now() >= until) {
      const std::string what = "no " + who + " within " + format_duration(kFirstAnswerWait);
      if (!has_view) return fail(ErrorCode::kUnavailable, "--cluster: " + what);
      log::warning(driver_->member().label() + ": " + what +
                   ": until then no writes are taken, and reads may be old");
      return {};
    }
    if (Status done = driver_->turn(kLongestTurn); !done) return done;
  }
  return {};
}

template <int D>
void ReplicaThread<D>::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (ended_) {  // clients that still write are told
      this->give_up(*ended_);
      std::this_thread::sleep_for(std::chrono::nanoseconds(kGivenUpPause));
      continue;
    }
    if (Status done = take_turn(); !done) {
      ended_ = Error{ErrorCode::kUnavailable,
                     "this member of the group was given up, restart it: " + done.error().message};
      log::error(driver_->member().label() + ": " + ended_->message);
    }
  }
  this->give_up({ErrorCode::kNotPrimary, "this member is shutting down"});
}

template <int D>
Status ReplicaThread<D>::take_turn() {
  Nanoseconds wait = kLongestTurn;
  if (const auto at = this->deadline(clock_.now())) {
    wait = std::clamp<Nanoseconds>(*at - clock_.now(), 0, kLongestTurn);
  }
  if (Status done = driver_->turn(wait); !done) return done;
  this->replica().note_obstacle(checkpoints_->obstacle());
  if (Status done = this->step(clock_.now()); !done) return done;
  if (this->copies().has_arrived()) {
    ended_ = Error{ErrorCode::kNotPrimary, "this member starts again with a copy of the tree"};
    options_.renew();
    return {};
  }
  serve_checkpoints();
  return {};
}

// --- checkpoints

template <int D>
void ReplicaThread<D>::serve_checkpoints() {
  if (this->replica().wants_checkpoint()) checkpoints_->want();
  // Relaxed: a wish, of which the mutex orders the rest.
  if (!basis_wanted_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(basis_mutex_);
  basis_ = this->replica().checkpoint_basis();
  basis_given_ = true;
  basis_wanted_.store(false, std::memory_order_relaxed);
  basis_ready_.notify_one();
}

template <int D>
Result<std::optional<CheckpointBasis<D>>> ReplicaThread<D>::ask_for_basis(std::stop_token stop) {
  // The last one, when the group's thread has ended.
  // Acquire: pairs with the release in stop(), so that all of that thread is seen.
  if (!is_running_.load(std::memory_order_acquire)) return this->replica().checkpoint_basis();
  std::unique_lock lock(basis_mutex_);
  basis_given_ = false;
  basis_wanted_.store(true, std::memory_order_relaxed);
  driver_->wake();
  if (!basis_ready_.wait(lock, std::move(stop), [this] { return basis_given_; })) {
    return fail(ErrorCode::kUnavailable, "the checkpoint was cancelled");
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
  this->end_copies();                                   // whose connections are the driver's
  is_running_.store(false, std::memory_order_release);  // pairs with ask_for_basis()
  if (Status made = checkpoints_->take_last(); !made) {
    log::warning("no last checkpoint, the next start applies more of the log: " +
                 made.error().message);
  }
  driver_.reset();
}

template <int D>
DurabilityStats ReplicaThread<D>::stats() const {
  DurabilityStats stats = Membership<D>::stats();
  if (checkpoints_ != nullptr) stats.checkpoints = checkpoints_->stats();
  return stats;
}

template class ReplicaThread<2>;
template class ReplicaThread<3>;

}  // namespace silurus::server
