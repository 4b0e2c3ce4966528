#include "server/history.h"

#include <gtest/gtest.h>

#include "protocol/moment.h"

namespace silurus::server {
namespace {

constexpr std::int64_t kNow = 1'795'223'937 * kSecond;

/// One version each second, each with one entry more.
class HistoryUnit : public testing::Test {
 protected:
  void publish(History<2>& history, int count) {
    for (int i = 0; i < count; ++i, ++seconds_) {
      ASSERT_TRUE(tree_->insert({static_cast<std::uint64_t>(seconds_), {{0, 0}, {1, 1}}}));
      tree_->publish();
      history.add(*tree_, replication::HybridClock::from_unix_ns(kNow + seconds_ * kSecond));
    }
  }

  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
  std::int64_t seconds_ = 0;
};

TEST_F(HistoryUnit, KeepsWhatWasCurrentWithinItsAge) {
  History<2> history({.age = 10 * kSecond});
  publish(history, 30);
  const auto kept = history.list();
  ASSERT_EQ(kept.size(), 12u);  // published at 19 s, and thus current until 20 s: to 29 s and now
  EXPECT_EQ(kept.front().entries, 19u);
  EXPECT_EQ(kept.back().entries, 30u);
}

TEST_F(HistoryUnit, KeepsTheRecentOnesExactlyAndTheOlderOnesCoarsely) {
  History<2> history({.age = 400 * kSecond, .versions = 16});
  for (int round = 0; round < 1000; ++round) {
    publish(history, 1);
    const auto kept = history.list();
    ASSERT_LE(kept.size(), 16u);
    // Entries are seconds here.
    for (std::size_t i = 0; i < 8 && i < kept.size(); ++i) {
      ASSERT_EQ(kept[kept.size() - 1 - i].entries, kept.back().entries - i);
    }
    for (std::size_t i = 1; i < kept.size(); ++i) {
      ASSERT_LE(kept[i].entries - kept[i - 1].entries, 2 * 400 / (16 / 4));
    }
    ASSERT_LE(kept.front().entries, std::max<std::uint64_t>(kept.back().entries, 400) - 399);
  }
}

TEST_F(HistoryUnit, GivesTheOldestUpWhenTheyHoldTooMuch) {
  History<2> history({.age = 1000 * kSecond, .held_bytes = 20 * rtree::kChunkBytes<2>});
  publish(history, 300);
  EXPECT_LE(tree_->stats().bytes_held, 25 * rtree::kChunkBytes<2>);
  EXPECT_GT(history.list().size(), 2u);
}

TEST_F(HistoryUnit, FindsTheVersionThatWasCurrentAtATime) {
  History<2> history({.age = 1000 * kSecond});
  publish(history, 10);
  const auto at = [&](Nanoseconds after) { return history.at(protocol::moment_at(kNow + after)); };
  EXPECT_EQ(at(0)->size(), 1u);
  EXPECT_EQ(at(4 * kSecond)->size(), 5u);
  EXPECT_EQ(at(5 * kSecond - kMillisecond)->size(), 5u);
  EXPECT_EQ(at(1000 * kSecond)->size(), 10u);
  const auto before = at(-kSecond);
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().code, ErrorCode::kNotFound);
}

TEST_F(HistoryUnit, HoldsAVersionForWhoReadsItThoughItIsForgotten) {
  History<2> history({.age = kSecond});
  publish(history, 1);
  const auto version = history.list().front().version;
  const auto held = history.at(version);
  ASSERT_TRUE(held);
  publish(history, 500);
  EXPECT_FALSE(history.at(version));
  EXPECT_EQ(held->size(), 1u);
  EXPECT_TRUE(held->validate());
}

}  // namespace
}  // namespace silurus::server
