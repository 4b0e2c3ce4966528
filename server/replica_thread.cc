#include "server/replica_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/units.h"

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
                                replication::DirectoryLock lock, Found& found)
    : Membership<D>(found, etcd.name, group.shard),
      durability_(durability),
      options_(group),
      etcd_(std::move(etcd)),
      lock_(std::move(lock)) {}

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
  auto found = Membership<D>::open_store(std::move(directory->volume), place);
  if (!found) return fail(found.error());
  found->store.report.formatted = directory->created;
  log::info("opened " + durability.path + ", member " + std::to_string(found->store.id) +
            " of shard " + std::to_string(group.shard) + " of " + etcd->name + ": " +
            replication::to_string(found->store.report) +
            "; the log behind it is the group's to judge");
  Opened result;
  result.tree = std::move(found->store.tree);
  result.membership.reset(
      new ReplicaThread(durability, group, std::move(*etcd), std::move(directory->lock), *found));
  return result;
}

template <int D>
Status ReplicaThread<D>::join(rtree::Tree<D>& tree, Writer<D>& writer, History<D>& history,
                              const std::string& clients) {
  tree_ = &tree;
  Replica<D>& replica = this->make_replica(tree, writer, history);
  auto driver = replication::group::Driver::create(
      {.etcd = etcd_,
       .shard = options_.shard,
       .id = this->id(),
       .listen = options_.listen,
       .clients = options_.advertise.empty() ? clients : options_.advertise,
       .allow_other_users = options_.allow_other_users,
       .multicast = options_.multicast,
       .protocol = options_.protocol,
       .ack = options_.ack,
       .timing = timing_of(options_.lease),
       .wait = options_.wait},
      this->store().log(), this->applied_at_start(), replica.machine());
  if (!driver) return fail(driver.error());
  driver_ = std::move(*driver);
  replica.attach(driver_->member());
  if (Status offered = offer_copies(); !offered) return offered;
  writer.hand_to([this] { driver_->wake(); });
  if (Status found = wait_for_etcd(); !found) return found;
  is_running_.store(true, std::memory_order_relaxed);  // before there is any other thread
  checkpoints_ = std::make_unique<Checkpoints<D>>(this->store(), durability_.checkpoint_interval);
  checkpoints_->start(tree,
                      [this](const std::atomic<bool>& cancel) { return ask_for_basis(cancel); });
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  pthread_setname_np(thread_.native_handle(), "silurus-group");
  return {};
}

template <int D>
Status ReplicaThread<D>::offer_copies() {
  replication::group::Links& links = driver_->links();
  copies_ = std::make_unique<replication::group::CopySource<D>>(
      driver_->group(),
      typename replication::group::CopySource<D>::Options{.first_region = links.regions()}, [this] {
        if (copies_->holds() == 0) held_without_copies_ = tree_->stats().bytes_held;
        return this->replica().hold();
      });
  links.admit(copies_.get());
  return driver_->reads_one_sidedly() ? this->expose_tree(links.listener()) : Status{};
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
  while (!stop.stop_requested()) {
    if (ended_) {  // whoever still writes is told
      this->replica().give_up(*ended_);
      std::this_thread::sleep_for(kLookAgain);
      continue;
    }
    if (Status done = turn(); !done) {
      ended_ = Error{ErrorCode::kUnavailable,
                     "this member of the group was given up, restart it: " + done.error().message};
      log::error(ended_->message);
    }
  }
  this->replica().give_up({ErrorCode::kNotPrimary, "this member is shutting down"});
}

template <int D>
Status ReplicaThread<D>::turn() {
  Nanoseconds wait = kLongestTurn;
  if (const auto at = this->replica().deadline()) {
    wait = std::clamp<Nanoseconds>(*at - clock_.now(), 0, kLongestTurn);
  }
  if (Status done = driver_->turn(wait); !done) return done;
  if (Status done = this->step(clock_.now()); !done) return done;
  serve_checkpoints();
  serve_copies();
  return look_after_fetch();
}

// --- copies

/// Others copy our tree. What is missing behind that they take from the primary's log.
template <int D>
void ReplicaThread<D>::serve_copies() {
  copies_->tick(clock_.now());
  if (copies_->holds() > 0 && copies_hold_too_much()) {
    tree_->reclaim();  // what is known of it may be old: nobody else looks while nobody writes
    if (copies_hold_too_much()) {
      log::warning("ends the copies that others take of the tree: they hold too much memory");
      copies_->let_go();
    }
  }
  if (copies_->counters().messages != copy_messages_) {
    copy_messages_ = copies_->counters().messages;
    this->note_copies(copies_->counters());
  }
  constexpr replication::Lsn kNobody = replication::Store<D>::kNobody;
  this->store().hold_log(std::min(copies_->oldest().value_or(kNobody),
                                  driver_->member().wanted_log().value_or(kNobody)));
}

template <int D>
bool ReplicaThread<D>::copies_hold_too_much() const {
  const rtree::TreeStats stats = tree_->stats();
  // Old versions that can still be asked for are held, too.
  const std::uint64_t held = stats.bytes_held - std::min(stats.bytes_held, held_without_copies_);
  const std::uint64_t others = stats.bytes_used + stats.bytes_retired - held;
  const std::uint64_t left = stats.bytes_budget - std::min(stats.bytes_budget, others);
  return held > std::min(stats.bytes_budget / kCopiesShare, left / 2);
}

/// We copy another one's.
template <int D>
Status ReplicaThread<D>::look_after_fetch() {
  replication::group::Member& member = driver_->member();
  if (fetch_ == nullptr) {
    if (!member.needs_copy()) {
      fetch_pause_ = kCopyPause;
    } else if (clock_.now() >= fetch_again_at_) {
      begin_fetch();
    }
    return {};
  }
  member.expect_copy(fetch_->log());
  if (!fetch_->is_over()) return {};
  // Another primary may have what was missing: then there are writes that only our own log has.
  if (!fetch_->outcome() || !member.needs_copy() || fetch_->log() < this->store().log().end().lsn) {
    drop_fetch();
    return {};
  }
  if (member.store_is_away()) return {};  // nothing starts without it
  // From here on this life of the member takes no further step.
  if (Status arrived = fetch_->arrive(); !arrived) return arrived;
  ended_ = Error{ErrorCode::kNotPrimary, "this member starts again with a copy of the tree"};
  log::info("a copy of the group's tree is here: starts again with it");
  options_.renew();
  return {};
}

template <int D>
void ReplicaThread<D>::drop_fetch() {
  fetch_.reset();
  driver_->member().expect_copy(0);
  fetch_again_at_ = clock_.now() + fetch_pause_;
  fetch_pause_ = std::min(2 * fetch_pause_, kLongestCopyPause);
}

template <int D>
void ReplicaThread<D>::begin_fetch() {
  const replication::group::View& view = driver_->member().view();
  std::vector<std::string> sources;
  for (const auto& member : view.members) {
    if (member.id == this->id()) continue;
    // From a backup, if there is one: the primary has enough to do.
    sources.insert(member.id == view.primary ? sources.end() : sources.begin(), member.peers);
  }
  if (sources.empty()) return;
  fetch_ = std::make_unique<TreeFetch<D>>(
      typename TreeFetch<D>::Options{
          .path = durability_.path,
          .store = {.log_bytes = this->store().log().capacity(),
                    .tree_bytes = tree_->stats().bytes_budget,
                    .member =
                        replication::MemberStore{
                            .cluster = etcd_.name, .shard = options_.shard, .log_chain = 0},
                    .id = this->id()},
          // What of our log was ever committed must be in it.
          .copy = {.group = driver_->group(),
                   .epoch = view.epoch,
                   .at_least = this->store().log().end().lsn},
          .sources = std::move(sources)},
      [this] { driver_->wake(); });
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
Result<std::optional<CheckpointBasis<D>>> ReplicaThread<D>::ask_for_basis(
    const std::atomic<bool>& cancel) {
  // The last one, when the group's thread has ended.
  // Acquire: pairs with the release in stop(), so that all of that thread is seen.
  if (!is_running_.load(std::memory_order_acquire)) return this->replica().checkpoint_basis();
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
  if (fetch_ != nullptr) fetch_->cancel();              // while the last checkpoint is made
  is_running_.store(false, std::memory_order_release);  // pairs with ask_for_basis()
  if (Status made = checkpoints_->take_last(); !made) {
    log::warning("no last checkpoint, the next start applies more of the log: " +
                 made.error().message);
  }
  fetch_.reset();
  driver_->links().admit(nullptr);
  copies_.reset();  // whose connections are the driver's
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
