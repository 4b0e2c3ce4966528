// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <optional>

#include "tests/simulation/group/group_rules.h"

// How many members a write must be durable at (View::needed()).

namespace silurus::simulation {
namespace {

class CopiesRules : public GroupRules {
 protected:
  void begin_with(group::Ack ack, std::optional<std::uint32_t> min_members = {}) {
    min_members_ = min_members;
    begin(kQuick, ReplicationProtocol::kMulticast, ack);
  }
  /// All but one crash; that one, when it leads alone.
  MemberLife* leave_one() {
    MemberLife& leads = *primary();
    for (MemberLife* life : std::vector(lives_)) {
      if (life != nullptr && life != &leads) gone_ = crash(*life);
    }
    const bool is_alone = world_.run_until(
        [&] { return leads.member().view().members.size() == 1; }, world_.now() + kSecond);
    return is_alone ? &leads : nullptr;
  }
  /// The answer to one write, within a heartbeat: nothing if there was none.
  std::optional<bool> answer_of(MemberLife& at) {
    std::optional<bool> done;
    ++sequence_;
    at.ask({.kind = Request::Kind::kAdd, .key = 0, .value = 1, .client = 7, .sequence = sequence_},
           [&](const Answer& answer) { done = answer.done; });
    world_.run_until([&] { return done.has_value(); }, world_.now() + kQuick.heartbeat);
    return done;
  }
  bool may_read(MemberLife& at) {
    bool done = false;
    at.ask({.kind = Request::Kind::kRead}, [&](const Answer& answer) { done = answer.done; });
    world_.run_until([&] { return done; }, world_.now() + kQuick.heartbeat);
    return done;
  }
  bool wait_for(MemberLife& leads, std::size_t members) {
    return world_.run_until(
        [&] {
          return leads.member().view().members.size() == members && leads.member().may_write();
        },
        world_.now() + kSecond);
  }
  std::size_t gone_ = 0;
};

class CopiesRulesOfEachAck : public CopiesRules, public testing::WithParamInterface<group::Ack> {};

TEST_P(CopiesRulesOfEachAck, AMemberThatIsLeftAloneOfThreeTakesNoWritesUntilAnotherOneIsBack) {
  begin_with(GetParam());
  ASSERT_TRUE(put_and_wait(*primary()));
  MemberLife* const alone = leave_one();
  if (GetParam() == group::Ack::kQuorum && alone == nullptr) return;  // a majority is not voted out
  ASSERT_NE(alone, nullptr);
  EXPECT_EQ(answer_of(*alone), false) << "at once, and not done";
  EXPECT_TRUE(may_read(*alone)) << "searches need no other member";
  EXPECT_EQ(alone->member().view().needed(), 2u);
  restart(gone_);
  ASSERT_TRUE(wait_for(*alone, 2)) << "joining needs no write";
  EXPECT_TRUE(put_and_wait(*alone));
}

INSTANTIATE_TEST_SUITE_P(Acks, CopiesRulesOfEachAck,
                         testing::Values(group::Ack::kAll, group::Ack::kQuorum,
                                         group::Ack::kMetadata),
                         [](const auto& one) { return std::string(to_string(one.param)); });

TEST_F(CopiesRules, AGroupThatIsToldSoWritesWithOneMember) {
  begin_with(group::Ack::kAll, 1);
  MemberLife* const alone = leave_one();
  ASSERT_NE(alone, nullptr);
  EXPECT_TRUE(put_and_wait(*alone));
}

TEST_F(CopiesRules, AGroupThatNeedsAllOfItsMembersWritesWithNoFewer) {
  begin_with(group::Ack::kQuorum, 3);
  MemberLife& leads = *primary();
  ASSERT_TRUE(put_and_wait(leads));
  const std::size_t which = crash(backup());
  ASSERT_TRUE(wait_for(leads, 2));
  EXPECT_EQ(answer_of(leads), false);
  restart(which);
  ASSERT_TRUE(wait_for(leads, 3));
  EXPECT_TRUE(put_and_wait(leads));
}

TEST_F(CopiesRules, AWriteThatWasUnderWayWhenMembersLeftIsNotAcknowledged) {
  begin_with(group::Ack::kAll);
  MemberLife& leads = *primary();
  for (MemberLife* life : std::vector(lives_)) {
    if (life != &leads) crash(*life);
  }
  put(leads);  // logged in the view of three, and committed in that of one
  ASSERT_TRUE(wait_for(leads, 1));
  ASSERT_TRUE(
      world_.run_until([&] { return leads.member().applied().lsn == leads.log().end().lsn; },
                       world_.now() + kSecond));
  EXPECT_EQ(done_, 0u);
  EXPECT_LT(leads.member().acknowledged(), leads.member().applied().lsn);
}

TEST_F(CopiesRules, AnOperatorLowersTheNumberByAnOptionOfTheMemberThatIsLeft) {
  begin_with(group::Ack::kAll);
  ASSERT_TRUE(put_and_wait(*primary()));
  MemberLife* const alone = leave_one();
  ASSERT_NE(alone, nullptr);
  ASSERT_EQ(answer_of(*alone), false);
  group_->min_members = 1;
  MemberLife& again = restart(crash(*alone));
  ASSERT_TRUE(world_.run_until([&] { return again.member().may_write(); },
                               world_.now() + 10 * kQuick.lease));
  EXPECT_TRUE(put_and_wait(again));
  group_->min_members.reset();
  MemberLife& later = restart(crash(again));
  ASSERT_TRUE(world_.run_until([&] { return later.member().may_write(); },
                               world_.now() + 10 * kQuick.lease));
  EXPECT_TRUE(put_and_wait(later)) << "the group remembers what it was told last";
}

TEST_F(CopiesRules, AFounderAloneIsOneCopyAndWrites) {
  begin_with(group::Ack::kAll);
  EXPECT_EQ(etcd_->history.front().members.size(), 1u);
  EXPECT_TRUE(etcd_->history.front().has_enough());
  EXPECT_EQ(etcd_->history.front().needed(), 1u);
}

TEST_F(CopiesRules, AFounderThatIsToldToWaitsForItsFirstCompanion) {
  begin_with(group::Ack::kAll, 2);
  EXPECT_EQ(etcd_->history.front().members.size(), 1u);
  EXPECT_FALSE(etcd_->history.front().has_enough());
}

}  // namespace
}  // namespace silurus::simulation
