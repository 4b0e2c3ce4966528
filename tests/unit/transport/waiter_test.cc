// SPDX-License-Identifier: Apache-2.0

#include "transport/waiter.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "tests/support/patience.h"

namespace silurus::transport {
namespace {

using testing_support::wait_until;

/// A poller of one eventfd: each readiness is one event.
class TestPoller final : public Poller {
 public:
  TestPoller() : fd_(eventfd(0, EFD_NONBLOCK)) {}
  std::size_t progress() override {
    ++rounds;
    std::uint64_t value = 0;
    return read(fd_.get(), &value, sizeof(value)) > 0 ? 1 : 0;
  }
  bool arm() override {
    ++armed;
    if (on_arm) on_arm();
    return can_arm-- <= 0;
  }
  void look() override {
    ++looks;
    if (on_look) on_look();
  }
  int fd() const override { return fd_.get(); }
  Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t) override {
    return fail(ErrorCode::kUnsupported, "no buffers here");
  }
  void happen() {
    const std::uint64_t one = 1;
    ASSERT_EQ(write(fd_.get(), &one, sizeof(one)), 8);
  }

  int rounds = 0;
  int armed = 0;
  int looks = 0;
  int can_arm = 0;  ///< refusals still to come
  std::function<void()> on_look;
  std::function<void()> on_arm;

 private:
  UniqueFd fd_;
};

std::unique_ptr<Waiter> make(WaitPolicy policy, std::vector<Poller*> pollers) {
  return std::move(*Waiter::create({.policy = policy}, std::move(pollers)));
}

class WaiterPolicies : public ::testing::TestWithParam<WaitPolicy> {};

TEST_P(WaiterPolicies, ReturnAtOnceWhenSomethingHasHappened) {
  TestPoller first, second;
  const auto waiter = make(GetParam(), {&first, &second});
  second.happen();
  EXPECT_EQ(waiter->wait(-1), 1u);
  EXPECT_EQ(waiter->sleeps(), 0u);
}

TEST_P(WaiterPolicies, ReturnNothingWhenTheTimeIsUp) {
  TestPoller poller;
  const auto waiter = make(GetParam(), {&poller});
  const SystemClock clock;
  const Nanoseconds start = clock.now();
  EXPECT_EQ(waiter->wait(kMillisecond), 0u);
  EXPECT_GE(clock.now() - start, kMillisecond);
  EXPECT_EQ(waiter->wait(0), 0u);
}

TEST_P(WaiterPolicies, AreEndedByAWakeBeforehand) {
  TestPoller poller;
  const auto waiter = make(GetParam(), {&poller});
  waiter->wake();
  EXPECT_EQ(waiter->wait(-1), 0u);
  EXPECT_EQ(waiter->wait(100), 0u) << "once";
}

TEST_P(WaiterPolicies, AreEndedByAWakeFromAnotherThread) {
  TestPoller poller;
  const auto waiter = make(GetParam(), {&poller});
  for (int round = 0; round < 500; ++round) {
    std::thread other([&] { waiter->wake(); });
    EXPECT_EQ(waiter->wait(-1), 0u);
    other.join();
  }
}

INSTANTIATE_TEST_SUITE_P(All, WaiterPolicies,
                         ::testing::Values(WaitPolicy::kAdaptive, WaitPolicy::kSpin,
                                           WaitPolicy::kSleep, WaitPolicy::kPeriodic));

TEST(Waiter, ToldToSleepNeverSpins) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kSleep, {&poller});
  EXPECT_EQ(waiter->wait(kMillisecond), 0u);
  EXPECT_LE(poller.rounds, 4);
  EXPECT_GE(waiter->sleeps(), 1u);
}

TEST(Waiter, ToldToSpinNeverSleeps) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kSpin, {&poller});
  EXPECT_EQ(waiter->wait(kMillisecond), 0u);
  EXPECT_EQ(waiter->sleeps(), 0u);
  EXPECT_EQ(poller.armed, 0);
}

TEST(Waiter, SpinsFirstAndThenSleeps) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kAdaptive, {&poller});
  // A busy machine may keep this thread from running until the time is up.
  EXPECT_TRUE(wait_until([&] {
    EXPECT_EQ(waiter->wait(10 * kMillisecond), 0u);
    return waiter->sleeps() > 0;
  }));
  EXPECT_GE(poller.rounds, 10);
}

TEST(Waiter, ToldToNapLooksNowAndThenWithoutBeingCalled) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kPeriodic, {&poller});
  poller.on_look = [&] {
    if (poller.looks == 2) poller.happen();  // rings no bell
  };
  EXPECT_EQ(waiter->wait(-1), 1u);
  EXPECT_EQ(poller.looks, 2);
  EXPECT_LT(poller.rounds, 100);
}

TEST(Waiter, ToldToNapSleepsWhenNothingComes) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kPeriodic, {&poller});
  std::uint64_t waits = 0;
  EXPECT_TRUE(wait_until([&] {
    ++waits;
    EXPECT_EQ(waiter->wait(100 * kMillisecond), 0u);
    return poller.armed > 0;
  }));
  EXPECT_LT(waiter->sleeps(), 20 * waits);
}

TEST(Waiter, DoesNotSleepIfAWakeComesJustBefore) {
  TestPoller poller;
  const auto waiter = make(WaitPolicy::kSleep, {&poller});
  poller.on_arm = [&] { waiter->wake(); };
  EXPECT_EQ(waiter->wait(kSecond), 0u);
  EXPECT_EQ(waiter->sleeps(), 0u);
  EXPECT_EQ(poller.armed, 1);
}

TEST(Waiter, DoesNotSleepWhileAPollerRefuses) {
  TestPoller willing, busy;
  busy.can_arm = 2;
  const auto waiter = make(WaitPolicy::kSleep, {&willing, &busy});
  busy.on_arm = [&] {
    if (busy.armed > 3) return;
    EXPECT_EQ(waiter->sleeps(), 0u) << "before it agrees, the third time";
  };
  EXPECT_TRUE(wait_until([&] {
    EXPECT_EQ(waiter->wait(kMillisecond), 0u);
    return busy.armed >= 3;
  }));
  EXPECT_EQ(willing.armed, busy.armed);
}

}  // namespace
}  // namespace silurus::transport
