// SPDX-License-Identifier: Apache-2.0

#include "server/member_status.h"

#include <gtest/gtest.h>

#include "protocol/messages.h"

// What a member says of itself before, and after, it knows anything.

namespace silurus::server {
namespace {

TEST(MemberStatusTest, HowFarBehindItIsIsNotKnownBeforeItWasToldAnything) {
  const MemberStatus member_status("cluster", 0, 1);
  EXPECT_EQ(member_status.staleness_ns(kSecond), protocol::kNoEnd);
}

TEST(MemberStatusTest, MayNotReadBeforeItWasToldSo) {
  const MemberStatus member_status("cluster", 0, 1);
  EXPECT_FALSE(member_status.may_read(0));
}

TEST(MemberStatusTest, OfAMemberThatWasGivenUpNothingIsKnown) {
  MemberStatus member_status("cluster", 0, 1);
  member_status.give_up({ErrorCode::kIo, "its disk is broken"});
  EXPECT_EQ(member_status.staleness_ns(kSecond), protocol::kNoEnd);
  EXPECT_EQ(member_status.facts(kSecond).failure, "its disk is broken");
}

}  // namespace
}  // namespace silurus::server
