// SPDX-License-Identifier: Apache-2.0

#include "client/primary_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"

// The search for the primary, step by step: no connection, and time is what the test says.

namespace silurus::client {
namespace {

using Step = PrimaryFinder::Step;
using ::testing::HasSubstr;

constexpr Nanoseconds kConnectFor = 5 * kSecond;
constexpr Nanoseconds kReconnectFor = 2 * kSecond;
/// Longer than a member may take to answer, and than any pause between two rounds.
constexpr Nanoseconds kLong = 400 * kMillisecond;
const Error kRefused{ErrorCode::kUnavailable, "nothing listens there"};
const Error kLost{ErrorCode::kConnectionLost, "the connection was lost"};

std::string url(int member) { return "tcp://member" + std::to_string(member) + ":1"; }

class PrimaryFinderTest : public testing::Test {
 protected:
  /// Knows that number of members.
  PrimaryFinder finder(int members, PrimaryFinder::Options options = {}) {
    options.connect_timeout = kConnectFor;
    options.reconnect_for = kReconnectFor;
    PrimaryFinder made(options, now_);
    for (int i = 0; i < members; ++i) made.learn(url(i));
    return made;
  }
  /// The next step that is none of waiting.
  PrimaryFinder::Action next(PrimaryFinder& finder) {
    for (int ticks = 0; ticks < 1000; ++ticks) {
      const auto action = finder.tick(now_);
      if (action.step != Step::kWait) return action;
      now_ = std::max(now_ + 1, finder.next_tick());
    }
    return {};
  }
  static ClusterInfo backup_of(std::string primary) {
    return {.is_primary = false, .is_backup = true, .primary = std::move(primary), .others = {}};
  }
  static ClusterInfo primary_with(std::vector<std::string> others) {
    return {.is_primary = true, .is_backup = false, .primary = {}, .others = std::move(others)};
  }
  /// Dials the next one, which is that member, and lets it lead.
  void lead(PrimaryFinder& finder, const std::string& expected) {
    const auto dial = next(finder);
    ASSERT_EQ(dial.step, Step::kDial);
    ASSERT_EQ(dial.member->url, expected);
    ASSERT_EQ(finder.dialled(*dial.member, true, now_).step, Step::kAsk);
    ASSERT_EQ(finder.heard(*dial.member, primary_with({}), now_).step, Step::kLead);
    ASSERT_EQ(finder.primary(), dial.member);
  }

  Nanoseconds now_ = kSecond;
};

TEST_F(PrimaryFinderTest, AServerThatIsInNoGroupLeads) {
  auto finder = this->finder(1);
  const auto dial = finder.tick(now_);
  ASSERT_EQ(dial.step, Step::kDial);
  EXPECT_EQ(dial.member->url, url(0));
  const auto lead = finder.dialled(*dial.member, false, now_);
  EXPECT_EQ(lead.step, Step::kLead);
  EXPECT_EQ(finder.primary(), lead.member);
  EXPECT_EQ(finder.tick(now_ + kConnectFor).step, Step::kWait) << "there is nothing left to do";
}

TEST_F(PrimaryFinderTest, AMemberOfAGroupLeadsWhenItSaysThatItIsThePrimary) {
  auto finder = this->finder(1);
  const auto dial = finder.tick(now_);
  const auto ask = finder.dialled(*dial.member, true, now_);
  ASSERT_EQ(ask.step, Step::kAsk);
  EXPECT_EQ(finder.primary(), nullptr);
  EXPECT_EQ(finder.tick(now_).step, Step::kWait);
  EXPECT_EQ(finder.heard(*ask.member, primary_with({url(1), url(2)}), now_).step, Step::kLead);
  ASSERT_EQ(finder.members().size(), 3u);
  EXPECT_TRUE(finder.members()[1]->in_view);
  EXPECT_TRUE(finder.members()[2]->in_view);
}

TEST_F(PrimaryFinderTest, TheOneMemberLeadsWhateverItIsIfThePrimaryIsNotToBeFollowed) {
  auto finder = this->finder(1, {.follow_primary = false});
  EXPECT_EQ(finder.dialled(*finder.tick(now_).member, true, now_).step, Step::kLead);
}

TEST_F(PrimaryFinderTest, WhereThePrimaryIsSaidToBeIsTriedNext) {
  auto finder = this->finder(2);
  const auto first = finder.tick(now_);
  static_cast<void>(finder.dialled(*first.member, true, now_));
  EXPECT_EQ(finder.heard(*first.member, backup_of(url(7)), now_).step, Step::kWait);
  lead(finder, url(7));
}

TEST_F(PrimaryFinderTest, OfAPrimarysAddressesTheOneOfOurFabricIsTaken) {
  auto finder = this->finder(1);
  const auto first = finder.tick(now_);
  static_cast<void>(finder.dialled(*first.member, true, now_));
  static_cast<void>(finder.heard(*first.member, backup_of("rdma://member5:2," + url(5)), now_));
  lead(finder, url(5));
}

TEST_F(PrimaryFinderTest, AMemberThatDoesNotAnswerIsDroppedAndTheNextOneDialled) {
  auto finder = this->finder(2);
  const auto first = finder.tick(now_);
  static_cast<void>(finder.dialled(*first.member, true, now_));
  const Nanoseconds until = finder.next_tick();
  EXPECT_EQ(finder.tick(until - 1).step, Step::kWait);
  const auto drop = finder.tick(until);
  ASSERT_EQ(drop.step, Step::kDrop);
  EXPECT_EQ(drop.member, first.member);
  finder.dropped(*drop.member);
  EXPECT_THAT(finder.last_error().message, HasSubstr(url(0) + " does not answer"));
  now_ = until;
  lead(finder, url(1));
}

TEST_F(PrimaryFinderTest, AQuestionThatCouldNotBeSentIsNotWaitedFor) {
  auto finder = this->finder(2);
  const auto first = finder.tick(now_);
  static_cast<void>(finder.dialled(*first.member, true, now_));
  finder.not_asked(*first.member, now_);
  EXPECT_EQ(finder.tick(now_).step, Step::kDrop);
}

TEST_F(PrimaryFinderTest, AfterARoundInVainItPausesAndReadsTheDirectory) {
  auto finder = this->finder(2, {.has_directory = true});
  for (int i = 0; i < 2; ++i) {
    const auto dial = finder.tick(now_);
    ASSERT_EQ(dial.step, Step::kDial);
    EXPECT_EQ(finder.not_dialled(*dial.member, kRefused, 0, now_).step, Step::kWait);
  }
  ASSERT_EQ(finder.tick(now_).step, Step::kReadDirectory);
  finder.listed(std::vector<std::string>{url(1), url(5)});
  EXPECT_EQ(finder.tick(now_).step, Step::kWait);
  EXPECT_GT(finder.next_tick(), now_);
  EXPECT_LE(finder.next_tick(), now_ + 20 * kMillisecond);
  ASSERT_EQ(finder.members().size(), 2u) << "the one that is not listed made room";
  EXPECT_EQ(finder.members()[0]->url, url(1));
  EXPECT_EQ(finder.members()[1]->url, url(5));
}

TEST_F(PrimaryFinderTest, AMemberThatIsLinkedStaysThoughTheDirectoryDoesNotListIt) {
  auto finder = this->finder(1, {.has_directory = true});
  const auto dial = finder.tick(now_);
  static_cast<void>(finder.dialled(*dial.member, true, now_));
  static_cast<void>(finder.heard(*dial.member, backup_of({}), now_));
  ASSERT_EQ(next(finder).step, Step::kReadDirectory);
  finder.listed(std::vector<std::string>{url(5)});
  EXPECT_EQ(finder.members().size(), 2u);
}

TEST_F(PrimaryFinderTest, PausesGetNoLongerThanTwentyMilliseconds) {
  auto finder = this->finder(2);
  for (int round = 0; round < 50; ++round) {
    const Nanoseconds before = now_;
    const auto dial = next(finder);
    ASSERT_EQ(dial.step, Step::kDial);
    EXPECT_LE(now_ - before, 25 * kMillisecond);
    static_cast<void>(finder.not_dialled(*dial.member, kRefused, 0, now_));
  }
}

TEST_F(PrimaryFinderTest, AMemberThatCostALongDialIsTriedLastForASecond) {
  auto finder = this->finder(2);
  const auto slow = finder.tick(now_);
  ASSERT_EQ(slow.member->url, url(0));
  now_ += 250 * kMillisecond;
  static_cast<void>(finder.not_dialled(*slow.member, kRefused, 250 * kMillisecond, now_));
  const Nanoseconds again = now_ + kSecond;
  for (;;) {
    const auto action = next(finder);
    ASSERT_NE(action.member, nullptr);
    if (action.member->url == url(0)) break;
    if (action.step == Step::kDial) static_cast<void>(finder.dialled(*action.member, true, now_));
    static_cast<void>(finder.heard(*action.member, backup_of({}), now_));
  }
  EXPECT_GE(now_, again);
  EXPECT_LE(now_, again + 25 * kMillisecond);
}

TEST_F(PrimaryFinderTest, OneServerThatIsNotThereEndsTheFirstSearchAtOnce) {
  auto finder = this->finder(1);
  const auto dial = finder.tick(now_);
  EXPECT_EQ(finder.not_dialled(*dial.member, kRefused, 0, now_).step, Step::kGiveUp);
  ASSERT_TRUE(finder.failure());
  EXPECT_EQ(finder.failure()->message, kRefused.message);
}

TEST_F(PrimaryFinderTest, AServerOfAnotherReleaseEndsTheSearchAtOnce) {
  auto finder = this->finder(3);
  const auto dial = finder.tick(now_);
  const Error other{ErrorCode::kUnsupported, "it speaks another version"};
  EXPECT_EQ(finder.not_dialled(*dial.member, other, 0, now_).step, Step::kGiveUp);
}

TEST_F(PrimaryFinderTest, TheSearchEndsWithItsTime) {
  auto finder = this->finder(2);
  EXPECT_EQ(finder.until(), now_ + kConnectFor);
  now_ += kConnectFor;
  EXPECT_EQ(finder.tick(now_).step, Step::kOutOfTime);
  finder.give_up(kLost);
  EXPECT_EQ(finder.tick(now_).step, Step::kWait);
  finder.restart(now_);
  EXPECT_FALSE(finder.failure());
  EXPECT_EQ(finder.until(), now_ + kReconnectFor);
  EXPECT_EQ(finder.tick(now_).step, Step::kDial);
}

TEST_F(PrimaryFinderTest, AfterALossTheOtherMembersAreTriedFirst) {
  auto finder = this->finder(3);
  lead(finder, url(0));
  now_ += kLong;
  finder.lost(kLost, false, now_);
  EXPECT_EQ(finder.primary(), nullptr);
  EXPECT_EQ(finder.until(), now_ + kReconnectFor);
  const auto dial = finder.tick(now_);
  ASSERT_EQ(dial.step, Step::kDial);
  EXPECT_EQ(dial.member->url, url(1));
}

TEST_F(PrimaryFinderTest, AMemberThatDeniesToBeThePrimaryIsAskedAgainALittleLater) {
  auto finder = this->finder(3);
  lead(finder, url(0));
  finder.lost(kLost, true, now_);
  EXPECT_EQ(finder.tick(now_).step, Step::kWait);
  const Nanoseconds before = now_;
  const auto dial = next(finder);
  ASSERT_EQ(dial.step, Step::kDial);
  EXPECT_EQ(dial.member->url, url(0));
  EXPECT_GT(now_, before);
}

TEST_F(PrimaryFinderTest, ALossEndsTheSearchForWhatBrokeTheProtocol) {
  auto finder = this->finder(3);
  lead(finder, url(0));
  finder.lost({ErrorCode::kProtocol, "it broke the protocol"}, false, now_);
  ASSERT_TRUE(finder.failure());
  EXPECT_EQ(finder.failure()->code, ErrorCode::kProtocol);
}

TEST_F(PrimaryFinderTest, AnAnswerThatWasNotWaitedForChangesTheViewButLeadsNoOne) {
  auto finder = this->finder(3);
  lead(finder, url(0));
  auto& reader = *finder.members()[1];
  finder.linked(reader);
  EXPECT_EQ(finder.heard(reader, primary_with({url(2)}), now_).step, Step::kWait);
  EXPECT_EQ(finder.primary()->url, url(0));
  EXPECT_TRUE(finder.members()[2]->in_view);
  EXPECT_FALSE(finder.members()[0]->in_view);
}

TEST_F(PrimaryFinderTest, NoMoreMembersAreLearntThanAGroupCanHave) {
  auto finder = this->finder(100);
  EXPECT_EQ(finder.members().size(), kMaxClusterMembers);
}

}  // namespace
}  // namespace silurus::client
