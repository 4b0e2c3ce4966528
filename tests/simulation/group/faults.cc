// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/faults.h"

#include <algorithm>
#include <utility>

namespace silurus::simulation {
namespace {

/// Kinds of faults, in order of their numbers: those of members and etcd, then those of clients.
constexpr unsigned kMemberFaults = 13;
constexpr unsigned kAllFaults = 19;
/// What a server takes to start again, when that is done at once: longer than a proof of life.
constexpr Nanoseconds kRestart = 2 * kMillisecond;
/// Time after its beginning within which a copy is disturbed.
constexpr Nanoseconds kSoon = 8 * kMillisecond;

}  // namespace

Faults::Faults(GroupWorld& group, Random& random, Hosts hosts, Victims& victims)
    : group_(group),
      world_(group.world),
      random_(random),
      hosts_(std::move(hosts)),
      victims_(victims) {}

void Faults::draw_links() {
  link_ = {.latency = 1500,
           .jitter = random_.below(2) == 0 ? 500 : 60 * kMicrosecond,
           .loss = random_.below(2) == 0 ? 0 : random_.uniform(0, 0.1),
           .duplicate = random_.below(2) == 0 ? 0 : random_.uniform(0, 0.1)};
  world_.set_default_link(link_);
}

void Faults::schedule(Nanoseconds from, Nanoseconds until) {
  const std::uint64_t count = 1 + random_.below(6);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto time = from + static_cast<Nanoseconds>(random_.below(until - from));
    const auto lasts = kMillisecond + static_cast<Nanoseconds>(random_.below(kLongest));
    const auto kind =
        static_cast<unsigned>(random_.below(hosts_.clients.empty() ? kMemberFaults : kAllFaults));
    world_.at(time, [this, kind, lasts] { inject(kind, lasts); });
  }
}

void Faults::restart(std::size_t member) {
  if (victims_.is_up(member)) return;
  hosts_.members[member]->restart();
  victims_.start(member);
}

void Faults::crash(std::size_t member, Nanoseconds lasts) {
  if (victims_.is_up(member)) victims_.crash(member);
  if (random_.below(2) == 0) lasts = kRestart;  // an operator looks after it
  world_.after(lasts, [this, member] { restart(member); });
}

void Faults::crash_while_writing(std::size_t member, Nanoseconds lasts) {
  if (!victims_.is_up(member)) return;
  victims_.crash_while_writing(member);
  world_.after(kLongest + lasts, [this, member] { restart(member); });
}

void Faults::leave_etcd() {
  group_.note("etcd is away");
  for (sim::Host* one : hosts_.members) world_.cut(*one, group_.etcd.host());
}

void Faults::stand_still(sim::Host& host, Nanoseconds lasts) {
  group_.note(host.name() + " stands still");
  host.pause();
  world_.after(lasts, [&host] { host.resume(); });
}

void Faults::sleep(sim::Host& host, Nanoseconds lasts) {
  group_.note(host.name() + " sleeps");
  host.suspend();
  world_.after(lasts, [&host] { host.resume(); });
}

/// What comes late comes in a burst, and in any order.
void Faults::hold_multicast_back(sim::Host& host, Nanoseconds lasts) {
  group_.note("datagrams for " + host.name() + " are held back");
  host.set_multicast({.holds_back = true});
  world_.after(lasts, [&host] { host.set_multicast({}); });
}

/// Who starts meanwhile has none until it starts again.
void Faults::refuse_multicast(sim::Host& host, Nanoseconds lasts) {
  group_.note("the network refuses the datagrams of " + host.name());
  host.set_multicast({.refuses_sends = true, .refuses_to_join = true});
  world_.after(lasts, [&host] { host.set_multicast({}); });
}

sim::Host& Faults::primary_or(std::size_t member) {
  for (const SimDriver* driver : group_.drivers) {
    if (driver->works() && driver->member().may_write()) return driver->host();
  }
  return *hosts_.members[member];
}

void Faults::cut_off(sim::Host& host) {
  group_.note(host.name() + " is cut off");
  for (sim::Host* other : hosts_.members) {
    if (other == &host) continue;
    world_.cut(host, *other);
    world_.cut(*other, host);
  }
}

void Faults::inject(unsigned kind, Nanoseconds lasts) {
  const std::size_t members = hosts_.members.size();
  const std::size_t member = random_.below(members);
  sim::Host& host = *hosts_.members[member];
  sim::Host& other = *hosts_.members[(member + 1 + random_.below(members - 1)) % members];
  sim::Host& etcd = group_.etcd.host();
  switch (kind) {
    case 0:
    case 1:
    case 2:
      return crash(member, lasts);
    case 3:
      group_.note("all crash");
      for (std::size_t one = 0; one < members; ++one) crash(one, lasts);
      return;
    case 4:
      return stand_still(host, lasts);
    case 5:
      cut_off(host);
      if (random_.below(2) == 0) {
        world_.cut(host, etcd);
        world_.cut(etcd, host);
      }
      break;
    case 6:
      group_.note(host.name() + " does not reach " + other.name());
      world_.cut(host, other);
      break;
    case 7:
      if (group_.static_views) {  // there is none: who leads crashes in the midst of writing
        if (!victims_.is_up(0)) return;
        victims_.crash_while_writing(0);
        return world_.after(kLongest + lasts, [this] { restart(0); });
      }
      leave_etcd();
      break;
    case 8: {
      group_.note(host.name() + " is far from " + other.name());
      sim::LinkModel slow = link_;
      slow.latency = 3 * kMillisecond;
      return world_.set_link(host, other, slow);
    }
    case 9:
      group_.note(host.name() + " is slow");
      return victims_.set_turn(member, kSlowTurn);
    case 10:
      return sleep(host, lasts);
    case 11:
      return hold_multicast_back(host, lasts);
    case 12:
      refuse_multicast(host, lasts);
      if (random_.below(2) == 0) crash(member, lasts / 2);
      return;
    default:
      return inject_at_clients(kind, member, lasts);
  }
  world_.after(lasts, [this] { world_.heal_all(); });
}

void Faults::inject_at_clients(unsigned kind, std::size_t member, Nanoseconds lasts) {
  sim::Host& client = *hosts_.clients[random_.below(hosts_.clients.size())];
  sim::Host& host = *hosts_.members[member];
  switch (kind) {
    case 13:
      return stand_still(client, lasts);
    case 14:
      return sleep(client, lasts);
    case 15:  // as on one machine
      sleep(primary_or(member), lasts);
      return sleep(client, lasts);
    case 16:
      cut_off(client);
      break;
    case 17: {
      const bool is_from_client = random_.below(2) == 0;
      sim::Host& from = is_from_client ? client : host;
      sim::Host& to = is_from_client ? host : client;
      group_.note(from.name() + " does not reach " + to.name());
      world_.cut(from, to);
      break;
    }
    default:
      return crash_while_writing(member, lasts);
  }
  world_.after(lasts, [this] { world_.heal_all(); });
}

void Faults::disturb(const sim::Host& copier, const sim::Host& source) {
  const auto place_of = [this](const sim::Host& host) {
    return static_cast<std::size_t>(std::ranges::find(hosts_.members, &host) -
                                    hosts_.members.begin());
  };
  const auto soon = static_cast<Nanoseconds>(random_.below(kSoon));
  const auto lasts = kMillisecond + static_cast<Nanoseconds>(random_.below(kLongest));
  world_.after(soon, [this, lasts, copier = place_of(copier), source = place_of(source)] {
    inject_at_copy(copier, source, lasts);
  });
}

void Faults::inject_at_copy(std::size_t copier, std::size_t source, Nanoseconds lasts) {
  sim::Host& from = *hosts_.members[source];
  sim::Host& to = *hosts_.members[copier];
  switch (random_.below(8)) {
    case 0:
      return crash(source, lasts);
    case 1:
      return crash(copier, lasts);
    case 2:
      return crash_while_writing(copier, lasts);
    case 3:
      return stand_still(from, lasts);
    case 4:
      return stand_still(to, lasts);
    case 5:
      group_.note(to.name() + " cannot go on copying " + from.name());
      world_.cut(from, to);
      if (random_.below(2) == 0) world_.cut(to, from);
      break;
    case 6:
      leave_etcd();
      break;
    default:
      return;
  }
  world_.after(lasts, [this] { world_.heal_all(); });
}

void Faults::heal() {
  group_.note("faults end");
  world_.heal_all();
  for (sim::Host* client : hosts_.clients) client->resume();
  for (std::size_t member = 0; member < hosts_.members.size(); ++member) {
    sim::Host& host = *hosts_.members[member];
    for (const sim::Host* other : hosts_.members) {
      if (other != &host) world_.set_link(host, *other, link_);
    }
    host.resume();
    host.set_multicast({});
    restart(member);
    victims_.set_turn(member, kQuickTurn);
  }
}

}  // namespace silurus::simulation
