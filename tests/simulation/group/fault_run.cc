// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/fault_run.h"

namespace silurus::simulation {
namespace {

/// Stores and flushes within which the power of a life fails that is to crash while it writes.
constexpr std::uint64_t kStoresToLive = 40;
/// Pause before a member that has a copy of a tree is started again.
constexpr Nanoseconds kRenewal = 2 * kMillisecond;

}  // namespace

sim::FabricOptions draw_fabric(Random& random, std::uint64_t plain_in) {
  sim::FabricOptions fabric{.give_up = 30 * kMillisecond};
  if (random.below(plain_in) == 0) fabric.capabilities = 0;
  fabric.memory_outlives_process = random.below(2) == 0;
  fabric.told_late = random.below(2) == 0 ? fabric.give_up : 4 * fabric.give_up;
  return fabric;
}

sim::Host& add_drifting_host(sim::World& world, Random& random, const std::string& name) {
  const double drift = random.uniform(-1, 1) / group::kDriftDenominator;
  const auto offset = static_cast<Nanoseconds>(random.below(kSecond)) + kSecond;
  return world.add_host(name, {.clock_offset = offset, .clock_rate = 1 + drift});
}

Power::Failure draw_failure(Random& random) {
  return random.below(2) == 0 ? Power::Failure::kPowerCut : Power::Failure::kProcessDies;
}

void crash_with(Power& power, GroupWorld& group, sim::Host& host, std::function<void()> reap) {
  power.set_on_cut([&power, &group, &host, reap = std::move(reap)] {
    const bool is_killed = power.failure() == Power::Failure::kProcessDies;
    group.note(host.name() + (is_killed ? " is killed" : " crashes"));
    is_killed ? host.kill() : host.crash();
    group.world.after(0, reap);
  });
}

void cut_soon(Power& power, Random& random) {
  if (!power.is_off()) power.cut_after(random.below(kStoresToLive));
}

void keep_on(Power& power) { power.cut_after(UINT64_MAX - power.steps()); }

void start_again(Faults::Victims& victims, std::size_t member, GroupWorld& group, sim::Host& host) {
  group.note(host.name() + " has a copy");
  victims.crash(member);
  group.world.after(kRenewal, [&victims, member, &host] {
    if (victims.is_up(member)) return;
    host.restart();
    victims.start(member);
  });
}

}  // namespace silurus::simulation
