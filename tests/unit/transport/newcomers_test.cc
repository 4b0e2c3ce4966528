// SPDX-License-Identifier: Apache-2.0

#include "transport/newcomers.h"

#include <gtest/gtest.h>

namespace silurus::transport {
namespace {

Newcomers newcomers(std::uint32_t most) {
  return Newcomers({.hello_timeout = 10, .max_handshakes = most});
}

TEST(Newcomers, PushOutNoneWhileThereIsRoom) {
  Newcomers some = newcomers(3);
  some.add(1, "a", 0);
  some.add(2, "a", 0);
  EXPECT_FALSE(some.make_room());
}

TEST(Newcomers, PushOutTheOldestOfThePeerThatHasMost) {
  Newcomers some = newcomers(3);
  some.add(1, "a", 0);
  some.add(2, "b", 0);
  some.add(3, "b", 0);
  const auto pushed_out = some.make_room();
  ASSERT_TRUE(pushed_out);
  EXPECT_EQ(pushed_out->number, 2u);
  EXPECT_EQ(pushed_out->peer, "b");
  EXPECT_EQ(pushed_out->reason, RefusalReason::kHandshakes);
  EXPECT_NE(pushed_out->error.message.find("2 of them of b"), std::string::npos)
      << pushed_out->error.message;
  EXPECT_EQ(some.size(), 2u);
}

TEST(Newcomers, OfPeersThatHaveAsManyPushOutTheOldest) {
  Newcomers some = newcomers(2);
  some.add(1, "b", 0);
  some.add(2, "a", 0);
  EXPECT_EQ(some.make_room()->number, 1u);
}

TEST(Newcomers, ThatHaveGoneCountForTheirPeerNoMore) {
  Newcomers some = newcomers(3);
  some.add(1, "a", 0);
  some.add(2, "a", 0);
  some.add(3, "b", 0);
  EXPECT_TRUE(some.remove(1));
  EXPECT_FALSE(some.remove(1));
  some.add(4, "b", 0);
  EXPECT_EQ(some.make_room()->number, 3u);
}

TEST(Newcomers, ExpireOneAfterTheOther) {
  Newcomers some = newcomers(3);
  some.add(1, "a", 0);
  some.add(2, "a", 5);
  EXPECT_EQ(some.next_deadline(), 10);
  EXPECT_FALSE(some.expire(9));
  const auto late = some.expire(10);
  ASSERT_TRUE(late);
  EXPECT_EQ(late->number, 1u);
  EXPECT_EQ(late->reason, RefusalReason::kHandshakeTime);
  EXPECT_FALSE(some.expire(10));
  EXPECT_EQ(some.next_deadline(), 15);
}

TEST(Newcomers, LetOneInEvenIfTheLimitIsZero) {
  Newcomers some = newcomers(0);
  EXPECT_FALSE(some.make_room());
}

}  // namespace
}  // namespace silurus::transport
