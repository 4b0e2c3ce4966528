// SPDX-License-Identifier: Apache-2.0

#include "server/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "silurus/time.h"

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
      history.add(*tree_, stamps_.next(unix_ns()));
      History<2>* const one = &history;
      History<2>::limit({&one, 1}, tree_->stats().bytes_held);
    }
  }
  /// The time of day, which may have jumped.
  std::int64_t unix_ns() const { return kNow + seconds_ * kSecond + jumped_; }
  HistoryOptions with_clocks(HistoryOptions options) const {
    options.unix_ns = [this] { return unix_ns(); };
    options.now = [this] { return seconds_ * kSecond; };
    return options;
  }
  /// What a client is answered that asks for that time ago.
  std::uint64_t entries_ago(const History<2>& history, Nanoseconds ago) const {
    const auto found = history.at(moment_at(unix_ns() - ago));
    return found ? found->size() : 0;
  }

  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
  replication::HybridClock stamps_;
  std::int64_t seconds_ = 0;
  Nanoseconds jumped_ = 0;
};

TEST_F(HistoryUnit, KeepsWhatWasCurrentWithinItsAge) {
  History<2> history(with_clocks({.age = 10 * kSecond}));
  publish(history, 30);
  const auto kept = history.list();
  ASSERT_EQ(kept.size(), 12u);  // published at 19 s, and thus current until 20 s: to 29 s and now
  EXPECT_EQ(kept.front().entries, 19u);
  EXPECT_EQ(kept.back().entries, 30u);
}

TEST_F(HistoryUnit, KeepsTheRecentOnesExactlyAndTheOlderOnesCoarsely) {
  History<2> history(with_clocks({.age = 400 * kSecond, .versions = 16}));
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
  History<2> history(
      with_clocks({.age = 1000 * kSecond, .retained_bytes = 20 * rtree::kChunkBytes<2>}));
  publish(history, 300);
  EXPECT_LE(tree_->stats().bytes_held, 25 * rtree::kChunkBytes<2>);
  EXPECT_GT(history.list().size(), 2u);
}

TEST_F(HistoryUnit, FindsTheVersionThatWasCurrentAtATime) {
  History<2> history(with_clocks({.age = 1000 * kSecond}));
  publish(history, 10);
  const auto at = [&](Nanoseconds after) { return history.at(moment_at(kNow + after)); };
  EXPECT_EQ(at(0)->size(), 1u);
  EXPECT_EQ(at(4 * kSecond)->size(), 5u);
  EXPECT_EQ(at(5 * kSecond - kMillisecond)->size(), 5u);
  EXPECT_EQ(at(1000 * kSecond)->size(), 10u);
  const auto before = at(-kSecond);
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().code, ErrorCode::kNotFound);
}

TEST_F(HistoryUnit, HoldsAVersionForWhoReadsItThoughItIsForgotten) {
  History<2> history(with_clocks({.age = kSecond}));
  publish(history, 1);
  const auto version = history.list().front().version;
  const auto held = history.at(version);
  ASSERT_TRUE(held);
  publish(history, 500);
  EXPECT_FALSE(history.at(version));
  EXPECT_EQ(held->size(), 1u);
  EXPECT_TRUE(held->validate());
}

TEST_F(HistoryUnit, AnswersRightThoughTheTimeOfDayJumpsAheadAndBack) {
  History<2> history(with_clocks({.age = 100 * kSecond}));
  const auto expect_right = [&](const char* when) {
    // Before each publication, the version of that many entries was published that many seconds
    // ago.
    const auto newest = static_cast<std::uint64_t>(seconds_);
    for (const std::uint64_t ago : {1u, 2u, 5u}) {
      EXPECT_EQ(entries_ago(history, static_cast<Nanoseconds>(ago) * kSecond), newest + 1 - ago)
          << when << ", " << ago << " s ago";
    }
  };
  publish(history, 10);
  expect_right("before");
  jumped_ = 86'400 * kSecond;
  expect_right("ahead, nothing published");
  publish(history, 10);
  expect_right("ahead");
  jumped_ = 0;
  expect_right("back, nothing published");
  publish(history, 10);
  expect_right("back");
  jumped_ = -3600 * kSecond;
  publish(history, 10);
  expect_right("an hour behind");
}

TEST_F(HistoryUnit, KeepsTheSameThoughTheTimeOfDayJumpsAheadAndBack) {
  History<2> history(with_clocks({.age = 10 * kSecond}));
  for (const Nanoseconds jumped : {Nanoseconds{0}, 86'400 * kSecond, Nanoseconds{0}}) {
    if (jumped != 0) publish(history, 20);
    jumped_ = jumped;
    for (int i = 0; i < 30; ++i) {
      publish(history, 1);
      EXPECT_EQ(history.list().size(),
                static_cast<std::size_t>(std::min<std::int64_t>(seconds_, 12)))
          << "after " << seconds_ << " s, jumped by " << jumped_ / kSecond << " s";
    }
  }
}

TEST_F(HistoryUnit, TimesOfVersionsAreAsTheTimeOfDayIsNow) {
  History<2> history(with_clocks({.age = 100 * kSecond}));
  jumped_ = 86'400 * kSecond;
  publish(history, 5);
  jumped_ = 0;
  const auto kept = history.list();
  ASSERT_EQ(kept.size(), 5u);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(kept[i].unix_ns - kNow),
                static_cast<double>(static_cast<std::int64_t>(i) * kSecond), 1e6);
  }
}

TEST_F(HistoryUnit, AVersionOfAnEarlierLifeIsAsOldAsItsStampSays) {
  const auto stamp = replication::HybridClock::from_unix_ns(kNow - 60 * kSecond);
  History<2> history(with_clocks({.age = 100 * kSecond}));
  history.add(*tree_, stamp);
  EXPECT_TRUE(history.at(moment_at(kNow - 50 * kSecond)));
  EXPECT_FALSE(history.at(moment_at(kNow - 70 * kSecond)));
}

TEST_F(HistoryUnit, AVersionIsNoOlderThanTheOneBefore) {
  History<2> history(with_clocks({.age = 100 * kSecond}));
  publish(history, 5);
  for (const Nanoseconds ago : {Nanoseconds{0}, kSecond / 2}) {  // two machines' clocks
    ASSERT_TRUE(tree_->insert({static_cast<std::uint64_t>(100 + ago), {{0, 0}, {1, 1}}}));
    tree_->publish();
    history.add(*tree_, replication::HybridClock::from_unix_ns(unix_ns() - ago));
  }
  const auto kept = history.list();
  ASSERT_EQ(kept.size(), 7u);
  EXPECT_TRUE(std::ranges::is_sorted(kept, {}, [](const auto& one) { return one.unix_ns; }));
  EXPECT_EQ(kept.back().unix_ns, kept[kept.size() - 2].unix_ns);
  EXPECT_EQ(entries_ago(history, kSecond / 4), 5u);
  EXPECT_EQ(entries_ago(history, 0), 7u);
}

TEST_F(HistoryUnit, WarnsOnceEachTimeTheTimeOfDayFellBack) {
  History<2> history(with_clocks({}));  // keeps nothing
  ::testing::internal::CaptureStderr();
  publish(history, 3);
  for (int times = 0; times < 2; ++times) {
    jumped_ += 86'400 * kSecond;
    publish(history, 3);
    jumped_ -= 86'400 * kSecond;
    publish(history, 3);
    jumped_ += 2 * 86'400 * kSecond;  // it has caught up
    publish(history, 3);
  }
  const std::string said = ::testing::internal::GetCapturedStderr();
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (std::size_t at = said.find(text); at != said.npos; at = said.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("warning the time of day is "), 2) << said;
  EXPECT_EQ(count("caught up"), 2) << said;
}

}  // namespace
}  // namespace silurus::server
