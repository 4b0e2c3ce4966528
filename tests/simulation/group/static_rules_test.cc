// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <bit>

#include "tests/simulation/group/group_rules.h"

// Single promises of a group without etcd, whose first member always leads.

namespace silurus::simulation {
namespace {

class StaticRules : public GroupRules {
 protected:
  StaticRules() { is_static_ = true; }
  /// Everything that was written, wherever it is.
  static std::uint64_t values(const MemberLife& life) {
    std::uint64_t all = 0;
    for (unsigned key = 0; key < kKeys; ++key) {
      all += static_cast<std::uint64_t>(std::popcount(life.machine().values(key)));
    }
    return all;
  }
  void put_some(MemberLife& at) {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(put_and_wait(at));
  }
  /// From its next start on that member leads, by hand, unless it did before.
  void take_over(std::size_t which, bool by_hand = true) {
    group_->static_views->first = which + 1;
    group_->static_views->keeper = "sim://member" + std::to_string(which + 1) + ":7";
    group_->static_views->takes_over = by_hand;
  }
  /// It gives up, does not try again, and leads not even when the one before has gone.
  void expect_no_heir(std::size_t which) {
    ASSERT_TRUE(
        world_.run_until([&] { return !group_->complaints.empty(); }, world_.now() + kSecond));
    EXPECT_NE(group_->complaints[0].find("is still there"), std::string::npos)
        << group_->complaints[0];
    crash(*lives_[0]);
    world_.run_for(20 * kQuick.lease);
    EXPECT_EQ(primary(), nullptr);
    EXPECT_NE(lives_[which]->member().role(), group::Role::kPrimary);
    group_->complaints.clear();
  }
  bool leads_alone(std::size_t which) {
    return world_.run_until([&] { return primary() == lives_[which]; }, world_.now() + kSecond);
  }
};

class StaticRulesOfEachAck : public StaticRules, public testing::WithParamInterface<group::Ack> {};

TEST_P(StaticRulesOfEachAck, TheFirstMemberNeedsNoOtherWhenItComesBack) {
  begin(kQuick, ReplicationProtocol::kMulticast, GetParam());
  put_some(*lives_[0]);
  for (MemberLife* life : std::vector(lives_)) crash(*life);
  MemberLife& back = restart(0);
  ASSERT_TRUE(leads_alone(0)) << "though the others are away";
  EXPECT_EQ(back.member().view().members.size(), 1u) << "it has voted them out";
  EXPECT_EQ(values(back), done_);
  restart(1);
  restart(2);
  ASSERT_TRUE(world_.run_until([&] { return back.member().view().members.size() == kMembers; },
                               world_.now() + kSecond));
}

INSTANTIATE_TEST_SUITE_P(Acks, StaticRulesOfEachAck,
                         testing::Values(group::Ack::kAll, group::Ack::kQuorum,
                                         group::Ack::kMetadata),
                         [](const auto& one) { return std::string(to_string(one.param)); });

TEST_F(StaticRules, BackupsStayInTheirViewWhileTheFirstMemberIsAway) {
  begin();
  put_some(*lives_[0]);
  world_.run_for(2 * kQuick.heartbeat);  // they hear that it is committed
  crash(*lives_[0]);
  world_.run_for(20 * kQuick.lease);
  for (const std::size_t which : {1, 2}) {
    EXPECT_EQ(lives_[which]->member().role(), group::Role::kBackup);
    EXPECT_FALSE(lives_[which]->member().may_read());
    EXPECT_EQ(values(*lives_[which]), done_);
  }
  restart(0);
  ASSERT_TRUE(leads_alone(0));
  put_some(*lives_[0]);
}

TEST_F(StaticRules, AMemberOfTheLastViewTakesOverByHandAndHasEverything) {
  begin();
  put_some(*lives_[0]);
  for (MemberLife* life : std::vector(lives_)) crash(*life);
  take_over(1);
  MemberLife& successor = restart(1);
  restart(2);
  ASSERT_TRUE(leads_alone(1));
  EXPECT_GE(successor.member().epoch(), group::kEpochsOfALeader);
  put_some(successor);
  EXPECT_EQ(values(successor), done_);
  restart(0);  // it only follows now
  ASSERT_TRUE(world_.run_until(
      [&] {
        return successor.member().view().members.size() == kMembers && values(*lives_[0]) == done_;
      },
      world_.now() + kSecond));
}

TEST_F(StaticRules, NoMemberTakesOverByHandWhileTheFirstMemberIsThere) {
  begin();
  put_some(*lives_[0]);
  crash(*lives_[1]);
  world_.run_for(2 * kQuick.silence);  // it is voted out
  take_over(1);
  restart(1);
  expect_no_heir(1);
}

TEST_F(StaticRules, NorWhileAnyOtherLifeOfItIsThere) {
  capabilities_ = 0;  // nothing is heard but over connections
  begin();
  put_some(*lives_[0]);
  crash(*lives_[1]);
  crash(*lives_[0]);
  restart(0);
  ASSERT_TRUE(leads_alone(0));
  put_some(*lives_[0]);  // what the successor lacks
  take_over(1);
  restart(1);
  expect_no_heir(1);
}

TEST_F(StaticRules, NorWhenTheFirstMemberStartsAgainMeanwhile) {
  begin();
  put_some(*lives_[0]);
  for (MemberLife* life : std::vector(lives_)) crash(*life);
  take_over(1);
  restart(1);
  world_.run_for(kQuick.lease / 2);
  take_over(0, false);
  restart(0);  // leads in a lease, as ever
  expect_no_heir(1);
}

TEST_F(StaticRules, TheFirstMemberWaitsForTheReadLeaseOfItsLastLife) {
  begin();
  put_some(*lives_[0]);
  crash(*lives_[0]);
  const Nanoseconds since = world_.now();
  restart(0);
  ASSERT_TRUE(leads_alone(0));
  EXPECT_GE(world_.now() - since, kQuick.lease);
}

}  // namespace
}  // namespace silurus::simulation
