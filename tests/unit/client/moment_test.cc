// SPDX-License-Identifier: Apache-2.0

#include "client/tool/moment.h"

#include <gtest/gtest.h>

#include "replication/hybrid_clock.h"
#include "silurus/time.h"

namespace silurus::tool {
namespace {

constexpr std::int64_t kNow = 1'795'223'937'500'000'000;  // 2026-11-21T01:18:57.5Z

TEST(Moment, IsAVersionIfItIsAWholeNumber) { EXPECT_EQ(parse_moment("812", kNow).value(), 812u); }

TEST(Moment, IsATimeAgo) {
  EXPECT_EQ(parse_moment("-30s", kNow).value(), moment_at(kNow - 30'000'000'000));
}

TEST(Moment, IsATimeOfDayInUtc) {
  EXPECT_EQ(parse_moment("2026-11-21T01:18:57.5Z", kNow).value(), moment_at(kNow));
  EXPECT_EQ(parse_moment("2026-11-21T01:18:57Z", kNow).value(), moment_at(kNow - 500'000'000));
}

TEST(Moment, IsNothingElse) {
  for (const char* text : {"", "0", "-", "yesterday", "12.5", "2026-11-21", "-30", "+5s",
                           "9999-01-01T00:00:00Z", "2026-11-21T01:18:57", "281474976710656"}) {
    const auto moment = parse_moment(text, kNow);
    ASSERT_FALSE(moment) << text;
    EXPECT_NE(moment.error().message.find("is no moment"), std::string::npos);
  }
}

TEST(Moment, CoversEveryStampOfTheLogUpToThatTime) {
  replication::HybridClock clock;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LE(clock.next(kNow), moment_at(kNow));
  }
  EXPECT_GT(replication::HybridClock().next(kNow + 20'000), moment_at(kNow));
}

TEST(Moment, IsNeverTakenForAVersion) {
  for (const std::int64_t unix_ns : {INT64_MIN, std::int64_t{0}, kNow, INT64_MAX}) {
    EXPECT_GE(moment_at(unix_ns), kFirstStamp) << unix_ns;
  }
}

}  // namespace
}  // namespace silurus::tool
