// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "transport/sim/host.h"

namespace silurus::transport::sim {
namespace {

using testing::ElementsAre;

TEST(SimWorld, RunsEventsByTimeAndThenInOrderOfCalls) {
  World world(1);
  std::vector<int> order;
  world.at(20, [&] { order.push_back(3); });
  world.at(10, [&] {
    order.push_back(1);
    world.after(0, [&] { order.push_back(2); });
    world.at(5, [&] { order.push_back(22); });  // past: now
  });
  world.at(20, [&] { order.push_back(4); });
  world.run_until(15);
  EXPECT_THAT(order, ElementsAre(1, 2, 22));
  EXPECT_EQ(world.now(), 15);
  world.run_for(5);
  EXPECT_THAT(order, ElementsAre(1, 2, 22, 3, 4));
  EXPECT_FALSE(world.step());
}

TEST(SimWorld, RunsUntilAConditionHoldsOrTheDeadlineHasCome) {
  World world(1);
  int count = 0;
  for (int i = 1; i <= 10; ++i) world.at(i, [&] { ++count; });
  EXPECT_TRUE(world.run_until([&] { return count == 3; }, 100));
  EXPECT_EQ(world.now(), 3);
  EXPECT_FALSE(world.run_until([&] { return count == 99; }, 7));
  EXPECT_EQ(count, 7);
}

TEST(SimWorld, LinksDelayByLatencyBandwidthAndJitter) {
  World world(1);
  Host& a = world.add_host("a");
  Host& b = world.add_host("b");
  world.set_link(a, b, {.latency = 1000, .jitter = 0, .bytes_per_second = 1e9});
  EXPECT_EQ(*world.transmit(a, b, 500), 1500);
  EXPECT_EQ(*world.transmit(a, b, 500), 2000);  // behind the first
  world.set_link(b, a, {.latency = 1000, .jitter = 100});
  for (int i = 0; i < 100; ++i) {
    const auto arrival = world.transmit(b, a, 0);
    EXPECT_GE(*arrival, 1000);
    EXPECT_LE(*arrival, 1100);
  }
}

TEST(SimWorld, CutsAreOneWayAndHeal) {
  World world(1);
  Host& a = world.add_host("a");
  Host& b = world.add_host("b");
  world.cut(a, b);
  EXPECT_FALSE(world.transmit(a, b, 1).has_value());
  EXPECT_TRUE(world.transmit(b, a, 1).has_value());
  world.heal(a, b);
  EXPECT_TRUE(world.transmit(a, b, 1).has_value());
  Host* const left[] = {&a};
  Host* const right[] = {&b};
  world.partition(left, right);
  EXPECT_FALSE(world.transmit(a, b, 1).has_value());
  EXPECT_FALSE(world.transmit(b, a, 1).has_value());
  EXPECT_TRUE(world.transmit(a, a, 1).has_value());
  world.heal_all();
  EXPECT_TRUE(world.transmit(b, a, 1).has_value());
}

TEST(SimWorld, LosesAboutTheShareOfPacketsAskedFor) {
  World world(7);
  Host& a = world.add_host("a");
  Host& b = world.add_host("b");
  world.set_default_link({.loss = 0.3});
  int lost = 0;
  for (int i = 0; i < 10'000; ++i) lost += world.transmit(a, b, 10) ? 0 : 1;
  EXPECT_GT(lost, 2800);
  EXPECT_LT(lost, 3200);
}

TEST(SimHost, ClocksRunAtTheirOwnRate) {
  World world(1);
  Host& fast = world.add_host("fast", {.clock_offset = 5, .clock_rate = 1.001});
  world.run_for(kSecond);
  EXPECT_NEAR(fast.clock().now(), 5 + kSecond + kMillisecond, 1);
  EXPECT_EQ(fast.to_host_time(fast.to_world_time(123'456'789)), 123'456'789);
}

TEST(SimHost, TimersGoByTheHostsClockAndTheLastCallCounts) {
  World world(1);
  Host& slow = world.add_host("slow", {.clock_offset = 0, .clock_rate = 0.5});
  std::vector<Nanoseconds> steps;
  auto process = slow.spawn("p", [&](Process& self) {
    steps.push_back(world.now());
    if (steps.size() > 1) return;
    self.wake_at(300);
    self.wake_at(500);
  });
  world.run_until(10'000);
  EXPECT_THAT(steps, ElementsAre(0, 1000));
}

TEST(SimHost, ChargedTimePassesForThatProcessOnly) {
  World world(1);
  Host& host = world.add_host("h");
  std::vector<std::pair<char, Nanoseconds>> steps;
  std::unique_ptr<Process> other;
  auto busy = host.spawn("busy", [&](Process& self) {
    steps.emplace_back('b', world.now());
    host.charge(1000);
    EXPECT_EQ(host.clock().now(), host.to_host_time(world.now() + 1000));
    if (steps.size() < 5) self.wake();
  });
  other = host.spawn("other", [&](Process&) { steps.emplace_back('o', world.now()); });
  world.at(1500, [&] { other->wake(); });
  world.run_until(10'000);
  EXPECT_THAT(steps, ElementsAre(std::pair('b', 0), std::pair('o', 0), std::pair('b', 1000),
                                 std::pair('o', 1500), std::pair('b', 2000)));
  EXPECT_EQ(host.cpu_time(), 3000);
}

TEST(SimHost, PauseStopsProcessesUntilResumed) {
  World world(1);
  Host& host = world.add_host("h");
  std::vector<Nanoseconds> steps;
  auto process = host.spawn("p", [&](Process& self) {
    steps.push_back(world.now());
    self.wake_at(host.clock().now() + 100);
  });
  world.at(150, [&] { host.pause(); });
  world.at(1000, [&] { host.resume(); });
  world.run_until(1150);
  EXPECT_THAT(steps, ElementsAre(0, 100, 1000, 1100));
}

TEST(SimHost, AClockMayMissAPause) {
  World world(1);
  Host& host = world.add_host("h", {.clock_offset = 0});
  std::vector<Nanoseconds> steps;
  auto often = host.spawn("often", [&](Process& self) {
    steps.push_back(world.now());
    self.wake_at(host.clock().now() + 100);
  });
  std::vector<Nanoseconds> late;
  auto once = host.spawn("once", [&](Process& self) {
    late.push_back(world.now());
    if (late.size() == 1) self.wake_at(1200);
  });
  world.at(150, [&] { host.pause(); });
  world.at(1000, [&] { host.resume(700); });
  world.run_until(1250);
  EXPECT_THAT(steps, ElementsAre(0, 100, 1000, 1100, 1200));
  EXPECT_EQ(host.clock().now(), 550);
  EXPECT_EQ(host.awake_time(), 1250) << "it did not sleep";
  world.run_until(3000);
  EXPECT_THAT(late, ElementsAre(0, 1900));
}

TEST(SimHost, AClockGoesOnInSleep) {
  World world(1);
  Host& host = world.add_host("h", {.clock_offset = 0});
  world.at(100, [&] { host.suspend(); });
  world.at(1000, [&] { host.resume(); });
  world.run_until(1100);
  EXPECT_EQ(host.clock().now(), 1100);
  EXPECT_EQ(host.awake_time(), 200);
}

TEST(SimHost, CrashEndsProcessesForEver) {
  for (const Nanoseconds restart : {260, 500}) {  // before and after the time it had set itself
    World world(1);
    Host& host = world.add_host("h");
    int steps = 0;
    auto process = host.spawn("p", [&](Process& self) {
      ++steps;
      self.wake_at(host.clock().now() + 100);
    });
    world.at(250, [&] { host.crash(); });
    world.at(restart, [&] { host.restart(); });
    world.run_until(2000);
    EXPECT_EQ(steps, 3) << "restarted at " << restart;
    int again = 0;
    auto next = host.spawn("q", [&](Process&) { ++again; });
    process->wake();
    world.run_until(3000);
    EXPECT_EQ(steps, 3) << "restarted at " << restart;
    EXPECT_EQ(again, 1);
  }
}

TEST(SimHost, WakeLatencyDelaysASleeper) {
  World world(1);
  Host& host = world.add_host("h", {.wake_latency = 50});
  std::vector<Nanoseconds> steps;
  auto process = host.spawn("p", [&](Process&) { steps.push_back(world.now()); });
  world.at(100, [&] { process->wake(); });
  world.run_until(1000);
  EXPECT_THAT(steps, ElementsAre(0, 150));
}

}  // namespace
}  // namespace silurus::transport::sim
