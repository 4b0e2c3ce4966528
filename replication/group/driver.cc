#include "replication/group/driver.h"

#include <algorithm>
#include <random>
#include <utility>

namespace silurus::replication::group {
namespace {

/// A member that connects does nothing else meanwhile. For the primary it waits so long ...
constexpr Nanoseconds kConnectTimeout = 200 * kMillisecond;
/// ... but for another member of a chain only this part of the silence that gets a member voted
/// out, and that is shorter than the lease: so dialling costs neither.
constexpr Nanoseconds kPartOfSilence = 4;

Incarnation random_incarnation() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device() | 1;
}

/// Members with another lease or another protocol must not be understood: theirs are other
/// promises.
GroupId group_of(const DriverOptions& options) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  return group_id(options.etcd, options.shard) +
         kOdd * (static_cast<std::uint64_t>(options.timing.lease) * 8 +
                 static_cast<std::uint64_t>(options.protocol));
}

}  // namespace

Result<std::unique_ptr<Driver>> Driver::create(const DriverOptions& options, Log& log,
                                               LogPosition applied, Machine& machine) {
  std::unique_ptr<Driver> driver(new Driver(options));
  const Incarnation incarnation = random_incarnation();
  if (Status made = driver->make_links(incarnation); !made) return fail(made.error());
  auto store =
      EtcdViewStore::create({.address = options.etcd,
                             .shard = options.shard,
                             .lease = std::max(2 * options.timing.lease, 2 * kSecond),
                             .timeout = std::max(options.timing.poll, 100 * kMillisecond),
                             .wake = [waiter = driver->waiter_.get()] { waiter->wake(); }});
  if (!store) return fail(store.error());
  driver->store_ = std::move(*store);
  const GroupId group = group_of(options);
  driver->replicator_ = make_replicator(options.protocol, {}, group, log, *driver->links_);
  driver->member_ = std::make_unique<Member>(
      MemberOptions{.self = {options.id, driver->links_->address().to_string(), options.clients},
                    .incarnation = incarnation,
                    .group = group,
                    .timing = options.timing,
                    .ack = options.ack},
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
       .allow_other_users = options_.allow_other_users},
      *fabric_, *poller_,
      [this](const transport::Address& address, Nanoseconds timeout,
             std::span<const std::byte> hello, transport::ConnectionHandler& handler,
             Connected done) {
        done(fabric_->connect(address, {.timeout = timeout}, *poller_, hello, handler));
      },
      window);
  if (!links) return fail(links.error());
  links_ = std::move(*links);
  return {};
}

GroupId Driver::group() const { return group_of(options_); }

Status Driver::turn(Nanoseconds timeout) {
  Nanoseconds wait = std::max<Nanoseconds>(member_->deadline() - clock_.now(), 0);
  if (timeout >= 0) wait = std::min(wait, timeout);
  waiter_->wait(wait);
  store_->progress();
  return member_->step();
}

}  // namespace silurus::replication::group
