// SPDX-License-Identifier: Apache-2.0

#include "transport/pause_plan.h"

#include <gtest/gtest.h>

namespace silurus::transport {
namespace {

constexpr Nanoseconds kCost = 5 * kMicrosecond;  ///< CPU time of one pause

struct Outcome {
  double overhead;    ///< CPU time of pauses, of that of the work
  Nanoseconds pause;  ///< the last one
};

/// A thread that has work for that share of the time, spread evenly.
Outcome run(PausePlan& plan, double load, int pauses = 300) {
  double work = 0, cost = 0;
  Nanoseconds pause = 0;
  for (int i = 0; i < pauses; ++i) {
    // What came during the pause and while that was worked on.
    const auto busy = static_cast<Nanoseconds>(static_cast<double>(pause) * load / (1 - load));
    const auto time = plan.next(busy);
    if (!time) break;
    pause = *time;
    plan.paused(pause);
    plan.cost(kCost);
    if (i < pauses / 3) continue;  // it learns
    work += static_cast<double>(busy);
    cost += static_cast<double>(kCost);
  }
  return {cost / work, pause};
}

TEST(PausePlan, CostsAFixedShareOfTheWork) {
  for (const double load : {0.02, 0.1, 0.3, 0.5, 0.8}) {
    PausePlan plan;
    EXPECT_LE(run(plan, load).overhead, 0.12) << load;
    EXPECT_NEAR(plan.load(), load, 0.05 * load) << load;
  }
}

TEST(PausePlan, MakesARequestWaitLittleLongerAtATenthOfTheLoad) {
  PausePlan low, half;
  const Nanoseconds at_tenth = run(low, 0.1).pause, at_half = run(half, 0.5).pause;
  EXPECT_GT(at_tenth, at_half);
  // A request waits for the pause, and for the work that came with it: 1 / (1 - load) of a pause.
  EXPECT_LE(static_cast<double>(at_tenth) / 0.9, 3 * static_cast<double>(at_half) / 0.5);
}

TEST(PausePlan, NeverNapsLongerThanItIsTold) {
  PausePlan plan({.most = kMillisecond});
  EXPECT_EQ(run(plan, 0.0001).pause, kMillisecond);
}

TEST(PausePlan, SleepsWhenThereIsNothingToDo) {
  PausePlan plan;
  run(plan, 0.5);
  int pauses = 0;
  while (const auto pause = plan.next(0)) {
    plan.paused(*pause);
    ASSERT_LT(++pauses, 200);
  }
  plan.called();
  EXPECT_TRUE(plan.next(kMicrosecond)) << "there is work again";
}

TEST(PausePlan, LooksMoreOftenAsSoonAsThereIsMoreWork) {
  PausePlan plan;
  const Nanoseconds before = run(plan, 0.01).pause;
  const Nanoseconds after = run(plan, 0.5, 10).pause;
  EXPECT_LT(after, before / 5);
}

}  // namespace
}  // namespace silurus::transport
