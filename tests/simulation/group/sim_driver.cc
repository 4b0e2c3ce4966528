// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/sim_driver.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/check.h"
#include "replication/group/remote_view_store.h"
#include "replication/group/static_view_store.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kDialTimeout = 10 * kMillisecond;
constexpr Nanoseconds kStoreTimeout = 10 * kMillisecond;

group::Leads leads_of(const GroupWorld& world, group::MemberId member) {
  if (!world.static_views) return group::Leads::kIfElected;
  return member == world.static_views->first ? group::Leads::kAlways : group::Leads::kNever;
}

}  // namespace

std::string address_of(const sim::Host& host) { return "sim://" + host.name() + ":7"; }

void GroupWorld::note(const std::string& what) {
  trace.push_back(std::to_string(world.now() / 1000) + " us: " + what);
}

void GroupWorld::applied(LogPosition end, rtree::Version version) {
  const Applied applied{end.chain, version};
  const auto [there, is_new] = agreed.emplace(end.lsn, applied);
  first_applied.emplace(end.lsn, world.now());
  if (!is_new && there->second != applied) {
    complain("members applied different records before " + std::to_string(end.lsn));
  }
}

void GroupWorld::acknowledged(Lsn end, const group::View& view) {
  if (ack == group::Ack::kMetadata) return;  // durable at the primary is enough
  std::set<group::MemberId> have;
  for (const SimDriver* driver : drivers) {
    if (driver->durable() >= end) have.insert(driver->id());
  }
  if (have.size() < view.needed()) {
    complain("a write is acknowledged that is durable at " + std::to_string(have.size()) +
             " members, of the " + std::to_string(view.needed()) + " that it needs");
  }
}

SimDriver::SimDriver(GroupWorld& world, sim::Host& host, const Options& options,
                     replication::Log& log, LogPosition applied, group::Machine& machine,
                     std::function<void()> wake)
    : world_(world),
      host_(host),
      id_(options.id),
      incarnation_(host.incarnation()),
      log_(log),
      fabric_(world.world, host, world.fabric),
      poller_(std::move(*fabric_.create_poller())),
      window_(world.window_bytes) {
  make_links(options);
  make_store(options, std::move(wake));
  replicator_ = make_replicator(world.protocol,
                                {.gap_patience = 100 * kMicrosecond,
                                 .fetch_timeout = 2 * kMillisecond,
                                 .soonest_look = 100 * kMicrosecond,
                                 .latest_look = kMillisecond},
                                world.id(), log, *links_);
  honest_ = std::make_unique<HonestReplicator>(*replicator_, [this](Lsn commit) {
    if (member_ == nullptr || commit <= member_->applied().lsn) return;
    world_.complain("member " + std::to_string(id_) +
                    " calls committed what others may show before it does itself");
  });
  member_ = std::make_unique<group::Member>(
      group::MemberOptions{.self = {options.id, address_of(host), options.clients},
                           .incarnation = options.seed | 1,
                           .group = world.id(),
                           .timing = world.timing,
                           .leads = leads_of(world, options.id),
                           .ack = world.ack,
                           .min_members = world.min_members},
      log, applied, machine, *honest_, *links_, *store_, host.clock());
  world_.drivers.push_back(this);
}

SimDriver::~SimDriver() {
  std::erase(world_.drivers, this);
  store_.reset();
  links_.reset();
}

void SimDriver::make_links(const Options& options) {
  const group::LinksOptions links_options{
      .group = world_.id(),
      .self = options.id,
      .incarnation = options.seed | 1,
      .listen = transport::Address::parse(address_of(host_)).value(),
      .multicast =
          transport::Address::parse("sim://239.1.1.1:" + std::to_string(world_.number + 1)).value(),
      .redial = 2 * kMillisecond,
      .dial_timeout = kDialTimeout,
      .upstream_dial_timeout = kDialTimeout,
      .push_bytes = pushes(world_.protocol) ? world_.push_bytes : 0};
  auto links = group::Links::create(links_options, fabric_, *poller_, dialer(),
                                    {.region = {.bytes = window_, .fd = -1}});
  SILURUS_CHECK(links.has_value());
  links_ = std::move(*links);
}

group::Dialer SimDriver::dialer() {
  return [this](const transport::Address& address, Nanoseconds timeout,
                std::span<const std::byte> hello, transport::ConnectionHandler& handler,
                group::Connected done) {
    fabric_.connect_later(address, {.timeout = timeout}, *poller_, hello, handler, std::move(done));
  };
}

void SimDriver::make_store(const Options& options, std::function<void()> wake) {
  if (!world_.static_views) {
    store_ = std::make_unique<SimViewStore>(world_.world, host_, world_.etcd, kStoreTimeout,
                                            std::move(wake));
    return;
  }
  StaticViews& views = *world_.static_views;
  std::string& kept = views.kept[options.id];
  const auto decoded =
      kept.empty() ? std::nullopt : std::optional(group::decode_persisted_view(kept).value());
  const auto save = [&kept](const group::PersistedView& view) {
    kept = encode(view);
    return Status{};
  };
  if (options.id != views.first) {
    store_ = std::make_unique<group::RemoteViewStore>(
        group::RemoteViewStoreOptions{.group = world_.id(),
                                      .self = options.id,
                                      .incarnation = options.seed | 1,
                                      .keeper = transport::Address::parse(views.keeper).value(),
                                      .timeout = kStoreTimeout,
                                      .kept = decoded,
                                      .save = save,
                                      .wake = std::move(wake)},
        dialer(), host_.clock());
    return;
  }
  auto keeper = group::StaticViewStore::create({.group = world_.id(),
                                                .self = options.id,
                                                .lease = 2 * world_.timing.lease,
                                                .kept = decoded,
                                                .takes_over = views.takes_over,
                                                .save = save,
                                                .wake = std::move(wake)},
                                               host_.clock());
  SILURUS_CHECK(keeper.has_value());
  links_->admit(group::kViewStoreMagic, keeper->get());
  store_ = std::move(*keeper);
}

Status SimDriver::turn() {
  if (Status done = store_->progress(); !done) return done;
  poller_->progress();
  if (Status done = member_->step(); !done) return done;
  if (works()) look();
  return {};
}

void SimDriver::look() {
  if (member_->role() != last_role_) {
    last_role_ = member_->role();
    world_.note(host_.name() + " is " + std::string(to_string(last_role_)) + " in view " +
                std::to_string(member_->epoch()));
    const bool may_lead = leads_of(world_, id_) != group::Leads::kNever;
    if (last_role_ == group::Role::kPrimary && !may_lead) {
      world_.complain(host_.name() + " leads a static group, and is not its first member");
    }
    if (last_role_ == group::Role::kCandidate && world_.static_views) {
      world_.complain(host_.name() + " leaves its view for another one of a static group");
    }
  }
  for (const SimDriver* other : world_.drivers) {
    if (other != this && other->works()) compare(*other);
  }
  check_staleness();
}

/// A client that has seen what one member shows must not go back in time at the primary.
void SimDriver::compare(const SimDriver& other) const {
  const bool may_read = member_->may_read();
  const bool may_other_read = other.member().may_read();
  if (may_read && may_other_read) world_.complain("two members believe that they may read");
  const SimDriver& reader = may_read ? *this : other;
  const SimDriver& shows = may_read ? other : *this;
  if ((may_read || may_other_read) &&
      shows.member().applied().lsn > reader.member().applied().lsn) {
    world_.complain(shows.host_.name() + " shows what the primary " + reader.host_.name() +
                    " does not show yet");
  }
}

/// What any member had applied by the time that the member says must be applied here.
void SimDriver::check_staleness() {
  if (member_->complete_at() < 0) return;
  const Nanoseconds age = host_.clock().now() - member_->complete_at();
  const Nanoseconds then = world_.world.now() - age - 2 * age / group::kDriftDenominator - 1;
  const Lsn applied = member_->applied().lsn;
  for (auto one = world_.first_applied.rbegin(); one != world_.first_applied.rend(); ++one) {
    if (one->first <= applied) return;
    if (one->second <= then) {
      world_.complain(host_.name() + " is staler than it says");
      return;
    }
  }
}

}  // namespace silurus::simulation
