// SPDX-License-Identifier: Apache-2.0

#include "transport/ring_budget.h"

#include <gtest/gtest.h>

#include <vector>

#include "transport/ring.h"

namespace silurus::transport {
namespace {

TEST(RingBudget, GivesFullRingsWhileFewAreThere) {
  RingBudget budget({}, "here");
  EXPECT_EQ(budget.take().value(), kMaxRingBytes);
  EXPECT_EQ(budget.bytes(), 2 * kMaxRingBytes);
}

TEST(RingBudget, ShrinksRingsAsConnectionsComeAndNeverGoesBeyond) {
  const ListenOptions options;
  RingBudget budget(options, "here");
  std::uint32_t last = kMaxRingBytes;
  Result<std::uint32_t> ring = last;
  while ((ring = budget.take())) {
    EXPECT_TRUE(is_ring_size(*ring));
    EXPECT_LE(*ring, last);
    EXPECT_LE(budget.bytes(), options.ring_budget_bytes);
    last = *ring;
  }
  EXPECT_EQ(last, kMinRingBytes);
  EXPECT_GE(budget.connections(), 2000u) << "of the default budget";
  EXPECT_EQ(ring.error().code, ErrorCode::kTooLarge);
  EXPECT_NE(ring.error().message.find("ring_budget_bytes (67108864)"), std::string::npos)
      << ring.error().message;
}

TEST(RingBudget, GetsRingsBack) {
  RingBudget budget({.max_connections = 2}, "here");
  const auto first = budget.take();
  const auto second = budget.take();
  ASSERT_TRUE(first && second);
  const auto third = budget.take();
  ASSERT_FALSE(third);
  EXPECT_NE(third.error().message.find("max_connections (2)"), std::string::npos);
  budget.give_back(*first);
  EXPECT_TRUE(budget.take());
  budget.give_back(*second);
  budget.give_back(*first);
  EXPECT_EQ(budget.bytes(), 0u);
}

TEST(RingBudget, LimitsOnePeerAndLeavesRoomForOthers) {
  RingBudget budget({.max_connections_per_peer = 2}, "here");
  const auto first = budget.take("user 1");
  const auto second = budget.take("user 1");
  ASSERT_TRUE(first && second);
  const auto third = budget.take("user 1");
  ASSERT_FALSE(third);
  EXPECT_NE(third.error().message.find("user 1 has its 2 connections"), std::string::npos)
      << third.error().message;
  EXPECT_TRUE(budget.take("user 2"));
  EXPECT_TRUE(budget.take()) << "of no peer in particular";
  budget.give_back(*second, "user 1");
  EXPECT_TRUE(budget.take("user 1"));
  EXPECT_EQ(budget.refusals().get()[static_cast<std::size_t>(RefusalReason::kPeerConnections)], 1u);
}

TEST(RingBudget, KeepsAPartForOthersThanThePeerWithTheMost) {
  RingBudget budget({.max_connections_per_peer = 100'000}, "here");
  Result<std::uint32_t> ring = 0;
  while ((ring = budget.take("user 1"))) continue;
  EXPECT_NE(ring.error().message.find("user 1 has used up its share"), std::string::npos)
      << ring.error().message;
  EXPECT_GE(budget.connections(), 1024u) << "what --max-clients-per-peer gives by default";
  int others = 0;
  while (budget.take("user " + std::to_string(2 + others))) ++others;
  EXPECT_GE(others, 64);
}

TEST(RingBudget, TooSmallForOneConnectionRefusesIt) {
  RingBudget budget({.ring_budget_bytes = 2 * kMinRingBytes - 1}, "here");
  EXPECT_FALSE(budget.take());
  RingBudget exact({.ring_budget_bytes = 2 * kMinRingBytes}, "here");
  EXPECT_EQ(exact.take().value(), kMinRingBytes);
}

}  // namespace
}  // namespace silurus::transport
