// SPDX-License-Identifier: Apache-2.0

#include "common/log_limiter.h"

#include <gtest/gtest.h>

#include <string>

namespace silurus::log {
namespace {

TEST(LogLimiter, LetsOneLineOfAPeerThroughAndThenCounts) {
  LogLimiter limiter;
  EXPECT_EQ(limiter.line("user 1", "broken", kSecond), "broken");
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limiter.line("user 1", "broken", 2 * kSecond));
  EXPECT_EQ(limiter.line("user 2", "broken", 2 * kSecond), "broken") << "another peer";
  EXPECT_EQ(limiter.line("user 1", "broken", kSecond + LogLimiter::kInterval),
            "broken (5 more such lines of user 1 were held back)");
}

TEST(LogLimiter, CountsMorePeersThanItKeepsAsOne) {
  LogLimiter limiter;
  std::size_t lines = 0;
  for (std::size_t i = 0; i < 10 * LogLimiter::kMaxPeers; ++i) {
    if (limiter.line("peer " + std::to_string(i), "broken", kSecond)) ++lines;
  }
  EXPECT_EQ(lines, LogLimiter::kMaxPeers + 1);
  EXPECT_TRUE(limiter.line("one more", "broken", kSecond + LogLimiter::kInterval));
}

}  // namespace
}  // namespace silurus::log
