// SPDX-License-Identifier: Apache-2.0

#include "replication/group/driver.h"

#include <algorithm>
#include <random>
#include <utility>

#include "replication/group/remote_view_store.h"
#include "replication/group/static_view_store.h"

namespace silurus::replication::group {
namespace {

/// Time that connecting to the primary may take: a member does nothing else meanwhile.
constexpr Nanoseconds kConnectTimeout = 200 * kMillisecond;
/// Connecting to another member of a chain may take this part of the silence that gets a member
/// voted out, and that is shorter than the lease: so dialling costs neither.
constexpr Nanoseconds kPartOfSilence = 4;

Incarnation random_incarnation() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device() | 1;
}

/// Members with another lease or another protocol must not be understood: theirs are other
/// promises.
GroupId group_of(const DriverOptions& options) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  return group_id(cluster_name(options.agreement), options.shard) +
         kOdd * (static_cast<std::uint64_t>(options.timing.lease) * 8 +
                 static_cast<std::uint64_t>(options.protocol));
}

Leads leads_of(const Agreement& agreement) {
  const auto* const group = std::get_if<StaticGroup>(&agreement);
  if (group == nullptr) return Leads::kIfElected;
  return group->leads ? Leads::kAlways : Leads::kNever;
}

/// Lease of registrations, and limit of one question to the view store.
Nanoseconds store_lease(const Timing& timing) { return std::max(2 * timing.lease, 2 * kSecond); }
Nanoseconds store_timeout(const Timing& timing) {
  return std::max(timing.poll, 100 * kMillisecond);
}

}  // namespace

std::string cluster_name(const Agreement& agreement) {
  const auto* const group = std::get_if<StaticGroup>(&agreement);
  return group == nullptr ? std::get<EtcdAddress>(agreement).name : group->address.cluster();
}

Result<std::unique_ptr<Driver>> Driver::create(const DriverOptions& options, Log& log,
                                               LogPosition applied, Machine& machine) {
  std::unique_ptr<Driver> driver(new Driver(options));
  const Incarnation incarnation = random_incarnation();
  if (Status made = driver->make_links(incarnation); !made) return fail(made.error());
  if (Status made = driver->make_store(incarnation, log); !made) return fail(made.error());
  const GroupId group = group_of(options);
  driver->replicator_ = make_replicator(options.protocol, {}, group, log, *driver->links_);
  driver->member_ = std::make_unique<Member>(
      MemberOptions{.self = {options.id, driver->links_->address().to_string(), options.clients},
                    .incarnation = incarnation,
                    .group = group,
                    .timing = options.timing,
                    .leads = leads_of(options.agreement),
                    .ack = options.ack,
                    .min_members = options.min_members},
      log, applied, machine, *driver->replicator_, *driver->links_, *driver->store_,
      driver->clock_);
  return driver;
}

Status Driver::make_links(Incarnation incarnation) {
  const auto listen = transport::Address::parse(options_.listen);
  if (!listen) return fail(listen.error());
  std::optional<transport::Address> multicast;
  if (!options_.multicast.empty()) {
    auto parsed = transport::Address::parse(options_.multicast);
    if (!parsed) return fail(parsed.error());
    multicast = std::move(*parsed);
  }
  auto fabric = transport::make_fabric(listen->scheme);
  if (!fabric) return fail(fabric.error());
  fabric_ = std::move(*fabric);
  auto poller = fabric_->create_poller();
  if (!poller) return fail(poller.error());
  poller_ = std::move(*poller);
  auto waiter = transport::Waiter::create({.policy = options_.wait}, {poller_.get()});
  if (!waiter) return fail(waiter.error());
  waiter_ = std::move(*waiter);
  Window window;
  if (reads_one_sidedly()) {
    auto slab =
        transport::shm::SharedSlab::create(options_.window_bytes, "silurus-log-window", false);
    if (!slab) return fail(slab.error());
    window_ = std::move(*slab);
    window.region = window_->region();
  }
  auto links = Links::create(
      {.group = group_of(options_),
       .self = options_.id,
       .incarnation = incarnation,
       .listen = *listen,
       .multicast = std::move(multicast),
       .dial_timeout = kConnectTimeout,
       .upstream_dial_timeout = std::min(kConnectTimeout, options_.timing.silence / kPartOfSilence),
       .push_bytes = pushes(options_.protocol) ? options_.push_bytes : 0,
       .key = options_.key},
      *fabric_, *poller_, dialer(), window);
  if (!links) return fail(links.error());
  links_ = std::move(*links);
  return {};
}

Dialer Driver::dialer() {
  return [this](const transport::Address& address, Nanoseconds timeout,
                std::span<const std::byte> hello, transport::ConnectionHandler& handler,
                const Connected& done) {
    done(fabric_->connect(address,
                          {.timeout = timeout, .key = options_.key, .looks_for_key = false},
                          *poller_, hello, handler));
  };
}

Status Driver::make_store(Incarnation incarnation, const Log& log) {
  if (const auto* const group = std::get_if<StaticGroup>(&options_.agreement)) {
    return make_static_store(*group, incarnation, log);
  }
  auto store = make_etcd_view_store({.address = std::get<EtcdAddress>(options_.agreement),
                                     .shard = options_.shard,
                                     .lease = store_lease(options_.timing),
                                     .timeout = store_timeout(options_.timing),
                                     .wake = [this] { wake(); }});
  if (!store) return fail(store.error());
  store_ = std::move(*store);
  return {};
}

Status Driver::make_static_store(const StaticGroup& group, Incarnation incarnation,
                                 const Log& log) {
  auto kept = read_persisted_view(group.view_file);
  if (!kept) return fail(kept.error());
  if (!*kept && log.end().lsn != 0) {
    return fail(ErrorCode::kNotFound,
                group.view_file +
                    " is missing though there is a log beside it, and with it which view this "
                    "member was in: restore it; or, if another member of the group has everything, "
                    "start with an empty directory, not as the one that leads");
  }
  const auto save = [file = group.view_file](const PersistedView& view) {
    return write_persisted_view(file, view);
  };
  if (!group.leads) {
    store_ = std::make_unique<RemoteViewStore>(
        RemoteViewStoreOptions{.group = group_of(options_),
                               .self = options_.id,
                               .incarnation = incarnation,
                               .keeper = group.address.keeper,
                               .timeout = store_timeout(options_.timing),
                               .kept = std::move(*kept),
                               .save = save,
                               .wake = [this] { wake(); }},
        dialer(), clock_);
    return {};
  }
  auto keeper = StaticViewStore::create({.group = group_of(options_),
                                         .self = options_.id,
                                         .lease = store_lease(options_.timing),
                                         .kept = std::move(*kept),
                                         .takes_over = group.takes_over,
                                         .save = save,
                                         .wake = [this] { wake(); }},
                                        clock_);
  if (!keeper) return fail(keeper.error());
  links_->admit(kViewStoreMagic, keeper->get());
  store_ = std::move(*keeper);
  return {};
}

GroupId Driver::group() const { return group_of(options_); }

Status Driver::turn(Nanoseconds timeout) {
  Nanoseconds wait = std::max<Nanoseconds>(member_->deadline() - clock_.now(), 0);
  if (timeout >= 0) wait = std::min(wait, timeout);
  waiter_->wait(wait);
  if (Status done = store_->progress(); !done) return done;
  return member_->step();
}

}  // namespace silurus::replication::group
