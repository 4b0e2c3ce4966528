// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/timetable.h"

#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::transport::sim {
namespace {

TEST(Timetable, WhatFindsItFreeIsDoneAtOnce) {
  Timetable table;
  EXPECT_EQ(table.claim(0, 1'000, 50), 1'050);
  EXPECT_EQ(table.claim(0, 5'000, 0), 5'000);
}

TEST(Timetable, WhatIsTooMuchWaits) {
  Timetable table;
  Nanoseconds done = 0;
  for (int i = 0; i < 100; ++i) done = table.claim(0, 0, 100);
  EXPECT_NEAR(static_cast<double>(done), 10'000, 1);
}

TEST(Timetable, WhoComesForAnEarlierTimeIsServedEarlier) {
  Timetable table;
  for (int i = 0; i < 10; ++i) table.claim(0, 100'000, 1'000);
  EXPECT_EQ(table.claim(0, 10'000, 100), 10'100);
}

TEST(Timetable, NeverDoesMoreThanThereIsTimeFor) {
  Random random(testing_support::seed(1));
  Timetable table;
  Nanoseconds now = 0, last = 0;
  double taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    now += static_cast<Nanoseconds>(random.below(40));
    const double duration = 30 * random.uniform();
    const auto at = now + static_cast<Nanoseconds>(random.below(3'000));
    const Nanoseconds done = table.claim(now, at, duration);
    EXPECT_GE(done, at);
    taken += duration;
    last = std::max(last, done);
  }
  EXPECT_LE(taken, static_cast<double>(last) + 1);
}

}  // namespace
}  // namespace silurus::transport::sim
