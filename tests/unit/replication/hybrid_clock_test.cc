// SPDX-License-Identifier: Apache-2.0

#include "replication/hybrid_clock.h"

#include <gtest/gtest.h>

namespace silurus::replication {
namespace {

constexpr std::int64_t kNow = 1'795'000'000'123'456'789;

TEST(HybridClock, FollowsTheTimeOfDay) {
  HybridClock clock;
  EXPECT_NEAR(static_cast<double>(HybridClock::to_unix_ns(clock.next(kNow)) - kNow), 0, 16'000);
  EXPECT_NEAR(static_cast<double>(HybridClock::to_unix_ns(clock.next(kNow + 1'000'000'000)) - kNow),
              1e9, 16'000);
}

TEST(HybridClock, NeverGoesBackThoughTheTimeOfDayDoes) {
  HybridClock clock;
  Stamp last = clock.next(kNow);
  for (int i = 0; i < 100'000; ++i) {
    const Stamp next = clock.next(kNow - 3'600'000'000'000);
    ASSERT_GT(next, last);
    last = next;
  }
}

TEST(HybridClock, IsAboveWhatItHasObserved) {
  HybridClock clock;
  const Stamp other = HybridClock::from_unix_ns(kNow + 5'000'000'000);
  clock.observe(other);
  EXPECT_GT(clock.next(kNow), other);
}

TEST(HybridClock, RoundsAMomentByLessThanAUnit) {
  for (std::int64_t ns = kNow; ns < kNow + 100'000; ns += 777) {
    const std::int64_t back = HybridClock::to_unix_ns(HybridClock::from_unix_ns(ns));
    EXPECT_LE(back, ns);
    EXPECT_GT(back, ns - 2 * 15'259);
  }
}

TEST(HybridClock, SaysHowFarItIsAheadOfATimeOfDayThatFellBack) {
  HybridClock clock;
  EXPECT_EQ(HybridClock::lead_ns(clock.next(kNow), kNow), 0);
  const std::int64_t day = 86'400'000'000'000;
  const Stamp ahead = clock.next(kNow + day);
  const Stamp after = clock.next(kNow);
  EXPECT_GT(after, ahead);
  EXPECT_NEAR(static_cast<double>(HybridClock::lead_ns(after, kNow) - day), 0, 16'000);
  EXPECT_EQ(HybridClock::lead_ns(clock.next(kNow + 2 * day), kNow + 2 * day), 0);
  EXPECT_EQ(HybridClock::lead_ns(0, -1), 0);
}

}  // namespace
}  // namespace silurus::replication
