#include "transport/nap_plan.h"

#include <gtest/gtest.h>

namespace silurus::transport {
namespace {

constexpr Nanoseconds kCost = 5 * kMicrosecond;  ///< of a nap, CPU time

struct Outcome {
  double overhead;  ///< CPU time of naps, of that of the work
  Nanoseconds nap;  ///< the last one
};

/// A thread that has work for that share of the time, spread evenly.
Outcome run(NapPlan& plan, double load, int naps = 300) {
  double work = 0, cost = 0;
  Nanoseconds nap = 0;
  for (int i = 0; i < naps; ++i) {
    // What came during the nap and while that was worked on.
    const auto busy = static_cast<Nanoseconds>(static_cast<double>(nap) * load / (1 - load));
    const auto time = plan.next(busy);
    if (!time) break;
    nap = *time;
    plan.napped(nap);
    plan.cost(kCost);
    if (i < naps / 3) continue;  // it learns
    work += static_cast<double>(busy);
    cost += static_cast<double>(kCost);
  }
  return {cost / work, nap};
}

TEST(NapPlan, CostsAFixedShareOfTheWork) {
  for (const double load : {0.02, 0.1, 0.3, 0.5, 0.8}) {
    NapPlan plan;
    EXPECT_LE(run(plan, load).overhead, 0.12) << load;
    EXPECT_NEAR(plan.load(), load, 0.05 * load) << load;
  }
}

TEST(NapPlan, MakesARequestWaitLittleLongerAtATenthOfTheLoad) {
  NapPlan low, half;
  const Nanoseconds at_tenth = run(low, 0.1).nap, at_half = run(half, 0.5).nap;
  EXPECT_GT(at_tenth, at_half);
  // A request waits for the nap, and for the work that came with it: 1 / (1 - load) of a nap.
  EXPECT_LE(static_cast<double>(at_tenth) / 0.9, 3 * static_cast<double>(at_half) / 0.5);
}

TEST(NapPlan, NeverNapsLongerThanItIsTold) {
  NapPlan plan({.most = kMillisecond});
  EXPECT_EQ(run(plan, 0.0001).nap, kMillisecond);
}

TEST(NapPlan, SleepsWhenThereIsNothingToDo) {
  NapPlan plan;
  run(plan, 0.5);
  int naps = 0;
  while (const auto nap = plan.next(0)) {
    plan.napped(*nap);
    ASSERT_LT(++naps, 200);
  }
  plan.called();
  EXPECT_TRUE(plan.next(kMicrosecond)) << "there is work again";
}

TEST(NapPlan, LooksMoreOftenAsSoonAsThereIsMoreWork) {
  NapPlan plan;
  const Nanoseconds before = run(plan, 0.01).nap;
  const Nanoseconds after = run(plan, 0.5, 10).nap;
  EXPECT_LT(after, before / 5);
}

}  // namespace
}  // namespace silurus::transport
