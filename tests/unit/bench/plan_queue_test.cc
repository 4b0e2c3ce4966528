// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_queue.h"

#include <gtest/gtest.h>

namespace silurus::bench {
namespace {

TEST(PlanQueue, OneCustomerWaitsForNoOther) {
  const PlanNetwork network = {.stations = {{"a", 2e-6}, {"b", 3e-6}}, .think = 5e-6};
  EXPECT_NEAR(solve(network, 1).latency, 10e-6, 1e-12);
}

TEST(PlanQueue, ManyCustomersFillTheSlowestStation) {
  const PlanNetwork network = {.stations = {{"a", 2e-6}, {"b", 8e-6, 2}}, .think = 5e-6};
  const PlanPrediction full = solve(network, 1e4);
  EXPECT_NEAR(full.ops_per_second, 0.25e6, 100);
  EXPECT_EQ(full.bottleneck, "b");
  EXPECT_NEAR(full.busy, 1, 0.001);
}

TEST(PlanQueue, FollowsLittlesLaw) {
  const PlanNetwork network = {.stations = {{"a", 1e-6}, {"b", 1e-6}}, .think = 1e-6};
  for (const double customers : {1.0, 3.0, 20.0, 1e6}) {
    const PlanPrediction at = solve(network, customers);
    EXPECT_NEAR(at.ops_per_second * at.latency / customers, 1, 1e-6);
  }
}

}  // namespace
}  // namespace silurus::bench
