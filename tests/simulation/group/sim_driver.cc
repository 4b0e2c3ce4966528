#include "tests/simulation/group/sim_driver.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kDialTimeout = 10 * kMillisecond;

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

SimDriver::SimDriver(GroupWorld& world, sim::Host& host, const Options& options,
                     replication::Log& log, LogPosition applied, group::Machine& machine,
                     std::function<void()> wake)
    : world_(world),
      host_(host),
      incarnation_(host.incarnation()),
      fabric_(world.world, host, world.fabric),
      poller_(std::move(*fabric_.create_poller())),
      window_(world.window_bytes),
      store_(std::make_unique<SimViewStore>(world.world, host, world.etcd, 10 * kMillisecond,
                                            std::move(wake))) {
  make_links(options);
  replicator_ = make_replicator(world.protocol,
                                {.gap_patience = 100 * kMicrosecond,
                                 .fetch_timeout = 2 * kMillisecond,
                                 .soonest_look = 100 * kMicrosecond,
                                 .latest_look = kMillisecond},
                                world.id(), log, *links_);
  member_ = std::make_unique<group::Member>(
      group::MemberOptions{.self = {options.id, address_of(host), options.clients},
                           .incarnation = options.seed | 1,
                           .group = world.id(),
                           .timing = world.timing,
                           .ack = world.ack},
      log, applied, machine, *replicator_, *links_, *store_, host.clock());
  world_.drivers.push_back(this);
}

SimDriver::~SimDriver() {
  std::erase(world_.drivers, this);
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
  const group::Dialer dialer = [this](const transport::Address& address, Nanoseconds timeout,
                                      std::span<const std::byte> hello,
                                      transport::ConnectionHandler& handler,
                                      group::Connected done) {
    fabric_.connect_later(address, {.timeout = timeout}, *poller_, hello, handler, std::move(done));
  };
  auto links = group::Links::create(links_options, fabric_, *poller_, dialer,
                                    {.region = {.bytes = window_, .fd = -1}});
  SILURUS_CHECK(links.has_value());
  links_ = std::move(*links);
}

Status SimDriver::turn() {
  store_->progress();
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
  }
  if (member_->may_read()) {
    for (const SimDriver* other : world_.drivers) {
      if (other != this && other->works() && other->member().may_read()) {
        world_.complain("two members believe that they may read");
      }
    }
  }
  check_staleness();
}

/// What anybody had applied by the time that the member says must be applied here.
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
