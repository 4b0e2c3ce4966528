// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/simulation/group/group_rules.h"

// What members tell their operators when a view ends and another one begins: which member says it,
// in which epoch, and why.

namespace silurus::simulation {
namespace {

using ::testing::HasSubstr;

class LogLines : public GroupRules {
 protected:
  /// All lines from level info on that `act` leads to.
  template <typename Act>
  static std::string lines_of(Act&& act) {
    testing::internal::CaptureStderr();
    log::set_level(log::Level::kInfo);
    act();
    log::set_level(log::Level::kError);
    return testing::internal::GetCapturedStderr();
  }
  static std::string label(group::MemberId member, group::Epoch epoch) {
    return "info member " + std::to_string(member) + ", epoch " + std::to_string(epoch) + ": ";
  }
};

TEST_F(LogLines, OfAFailOverNameMembersEpochsAndTheReason) {
  begin();
  const group::View before = primary()->member().view();
  const std::string lines = lines_of([&] {
    crash(*primary());
    ASSERT_NE(next_primary(nullptr), nullptr);
    world_.run_for(10 * kMillisecond);
  });
  const group::View now = primary()->member().view();
  ASSERT_EQ(now.members.size(), kMembers - 1);
  const std::string gone = std::to_string(before.primary);
  const std::string next = std::to_string(now.epoch);
  EXPECT_THAT(lines, HasSubstr(label(now.primary, before.epoch) +
                               "has heard nothing of the primary, member " + gone +
                               ", for as long as it promised to wait, and stands for election"));
  const std::string who_has_gone =
      "; gone: member " + gone + " at " + before.find(before.primary)->peers + "\n";
  for (const group::MemberInfo& member : now.members) {
    const std::string leads = member.id == now.primary
                                  ? "led by us"
                                  : "with us, led by member " + std::to_string(now.primary);
    EXPECT_THAT(lines, HasSubstr(label(member.id, now.epoch) + "view " + next + " of 2 members, " +
                                 leads + who_has_gone));
  }
}

TEST_F(LogLines, OfAMemberThatIsVotedOutSayHowLongItWasSilent) {
  begin();
  const group::View before = primary()->member().view();
  std::size_t which = 0;
  group::MemberId gone = 0;
  const std::string lines = lines_of([&] {
    which = crash(backup());
    gone = which + 1;
    ASSERT_TRUE(
        world_.run_until([&] { return primary()->member().view().members.size() == kMembers - 1; },
                         world_.now() + kSecond));
  });
  EXPECT_THAT(
      lines, HasSubstr(label(before.primary, before.epoch) + "votes out member " +
                       std::to_string(gone) + " at " + before.find(gone)->peers + ", silent for "));
  const group::Epoch epoch = primary()->member().view().epoch;
  const std::string back = lines_of([&] {
    restart(which);
    ASSERT_TRUE(
        world_.run_until([&] { return primary()->member().view().members.size() == kMembers; },
                         world_.now() + kSecond));
  });
  EXPECT_THAT(back,
              HasSubstr(label(before.primary, epoch) + "takes in member " + std::to_string(gone) +
                        " at " + before.find(gone)->peers + ", which has caught up"));
  EXPECT_THAT(back, HasSubstr("; new: member " + std::to_string(gone) + " at "));
}

}  // namespace
}  // namespace silurus::simulation
