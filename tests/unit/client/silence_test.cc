// SPDX-License-Identifier: Apache-2.0

#include "client/silence.h"

#include <gtest/gtest.h>

namespace silurus::client {
namespace {

constexpr Nanoseconds kHeartbeat = 10 * kMillisecond;
constexpr Nanoseconds kLimit = Silence::kHeartbeats * kHeartbeat;

/// A server that owes an answer, looked at every millisecond.
class SilenceTest : public testing::Test {
 protected:
  bool look(std::uint64_t messages, std::uint64_t heartbeat, std::uint32_t owed) {
    return silence_.look(messages, heartbeat, owed, now_);
  }
  /// Nothing comes for that time.
  bool pass(Nanoseconds time, std::uint32_t owed) {
    for (const Nanoseconds until = now_ + time; now_ < until; now_ += kMillisecond) {
      look(1, 1, owed);
    }
    return look(1, 1, owed);
  }

  Silence silence_{kHeartbeat};
  Nanoseconds now_ = kSecond;
};

TEST_F(SilenceTest, IsNoneWhileNothingIsOwed) { EXPECT_FALSE(pass(kSecond, 0)); }

TEST_F(SilenceTest, BeginsFiveHeartbeatsAfterTheLastSignOfLife) {
  pass(kSecond, 0);
  EXPECT_FALSE(pass(kLimit - kMillisecond, 1));
  EXPECT_TRUE(pass(2 * kMillisecond, 1));
}

TEST_F(SilenceTest, EndsWithAMessage) {
  pass(kSecond, 1);
  ASSERT_TRUE(silence_.is_silent());
  EXPECT_FALSE(look(2, 1, 1));
}

TEST_F(SilenceTest, EndsWithAHeartbeat) {
  pass(kSecond, 1);
  ASSERT_TRUE(silence_.is_silent());
  EXPECT_FALSE(look(1, 2, 1));
}

TEST_F(SilenceTest, BeginsWithTheFirstLookAtWhatIsOwed) {
  pass(kSecond, 0);
  now_ += kSecond;
  EXPECT_FALSE(look(1, 1, 1));
}

TEST_F(SilenceTest, IsFoundByTheNextLookHoweverLateThatIs) {
  look(1, 1, 0);
  look(1, 1, 1);
  now_ += kSecond;
  EXPECT_TRUE(look(1, 1, 1));
}

TEST_F(SilenceTest, LastsThroughAPauseOfTheOneThatLooks) {
  pass(kSecond, 1);
  now_ += kSecond;
  EXPECT_TRUE(look(1, 1, 1));
}

TEST_F(SilenceTest, OfAServerWithVeryQuickHeartbeatsTakesALeastTime) {
  silence_ = Silence(kMicrosecond);
  pass(kSecond, 0);
  EXPECT_FALSE(pass(Silence::kShortest - 2 * kMillisecond, 1));
  EXPECT_TRUE(pass(4 * kMillisecond, 1));
}

}  // namespace
}  // namespace silurus::client
