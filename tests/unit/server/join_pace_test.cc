// SPDX-License-Identifier: Apache-2.0

#include "server/join_pace.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "server/limits.h"

namespace silurus::server {
namespace {

using replication::group::Joiner;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr JoinPace kPace{.log_bytes = 100 * kMiB, .log_end = 1000 * kMiB, .nodes = 1000};
constexpr double kRoom = 75.0 * kMiB;

/// A member that copies, or takes the log, from that number of bytes before the end.
Joiner copier(std::uint64_t behind, std::uint64_t nodes) {
  Joiner joiner;
  joiner.copies = true;
  joiner.nodes = nodes;
  joiner.at = kPace.log_end - behind;
  joiner.keeps_log = true;
  return joiner;
}
Joiner follower(std::uint64_t behind) {
  Joiner joiner = copier(behind, 0);
  joiner.copies = false;
  return joiner;
}
double rate(const Joiner& joiner) { return rate_for_joiners(std::array{joiner}, kPace); }

TEST(JoinPace, KeepsThreeQuartersOfALog) {
  EXPECT_EQ(room_for_joiners(kPace.log_bytes), 75 * kMiB);
}

TEST(JoinPace, DoesNotSlowWritersWhileThereIsRoom) {
  EXPECT_TRUE(std::isinf(rate_for_joiners({}, kPace)));
  EXPECT_TRUE(std::isinf(rate(copier(0, 0))));
  EXPECT_TRUE(std::isinf(rate(copier(9 * kMiB, 0)))) << "a quarter, but for the last part of it";
  EXPECT_TRUE(std::isinf(rate(follower(65 * kMiB))));
}

TEST(JoinPace, LetsTheLogAdvanceAsTheCopyDoes) {
  EXPECT_LT(rate(copier(15 * kMiB, 0)), kRoom);
  EXPECT_TRUE(std::isinf(rate(copier(15 * kMiB, 500)))) << "half is copied";
  EXPECT_TRUE(std::isinf(rate(copier(45 * kMiB, 1000))));
  EXPECT_FALSE(std::isinf(rate(copier(50 * kMiB, 1000)))) << "it still has to start again";
  EXPECT_EQ(rate(copier(50 * kMiB, 1000)), rate(copier(50 * kMiB, 5000))) << "more than all";
}

TEST(JoinPace, SpreadsWhatIsLeftOverATime) {
  const double left = kRoom - 70.0 * kMiB;
  const double seconds = static_cast<double>(kJoinRoomLasts) / kSecond;
  EXPECT_DOUBLE_EQ(rate(follower(70 * kMiB)), left / seconds);
  EXPECT_EQ(rate(follower(75 * kMiB)), 0);
  EXPECT_EQ(rate(follower(90 * kMiB)), 0);
}

TEST(JoinPace, GoesByTheOneThatHasTheLeastRoomAndForgetsWhoIsNotWaitedFor) {
  Joiner lost = follower(90 * kMiB);
  lost.keeps_log = false;
  const std::array joiners{copier(0, 0), follower(70 * kMiB), lost};
  EXPECT_EQ(rate_for_joiners(joiners, kPace), rate(follower(70 * kMiB)));
}

}  // namespace
}  // namespace silurus::server
