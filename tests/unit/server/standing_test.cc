#include "server/standing.h"

#include <gtest/gtest.h>

#include "protocol/messages.h"

// What a member says of itself before, and after, it knows anything.

namespace silurus::server {
namespace {

TEST(StandingTest, HowFarBehindItIsIsNotKnownBeforeItWasToldAnything) {
  const Standing standing("cluster", 0, 1);
  EXPECT_EQ(standing.staleness_ns(kSecond), protocol::kNoEnd);
}

TEST(StandingTest, MayNotReadBeforeItWasToldSo) {
  const Standing standing("cluster", 0, 1);
  EXPECT_FALSE(standing.may_read(0));
}

TEST(StandingTest, OfAMemberThatWasGivenUpNothingIsKnown) {
  Standing standing("cluster", 0, 1);
  standing.give_up({ErrorCode::kIo, "its disk is broken"});
  EXPECT_EQ(standing.staleness_ns(kSecond), protocol::kNoEnd);
  EXPECT_EQ(standing.facts(kSecond).failure, "its disk is broken");
}

}  // namespace
}  // namespace silurus::server
