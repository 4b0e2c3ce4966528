// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/random.h"
#include "rtree/cursor.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

// Memory that comes back: by erasures themselves, and by compactions.

namespace silurus::rtree {
namespace {

using testing_support::seed;

class CompactTest : public testing::Test {
 protected:
  void open(std::uint64_t budget = std::uint64_t{256} << 20, Nanoseconds grace = 0) {
    tree_ = std::move(
        *Tree<2>::create({.grace = grace, .memory_budget_bytes = budget}, slabs_, clock_));
  }
  static Entry<2> entry(std::uint64_t id, Random& random) {
    const double x = random.uniform();
    const double y = random.uniform();
    return {id, {{x, y}, {x + 1e-4, y + 1e-4}}};
  }
  void insert(std::size_t count, Random& random) {
    for (std::size_t i = 0; i < count; ++i) {
      entries_.push_back(entry(entries_.size(), random));
      ASSERT_TRUE(tree_->insert(entries_.back()));
      if (i % 500 == 0) tree_->publish();
    }
    tree_->publish();
  }
  /// Erases that share of all entries, in random order.
  void erase(double share, Random& random) {
    const auto left = static_cast<std::size_t>((1 - share) * static_cast<double>(entries_.size()));
    while (entries_.size() > left) {
      std::swap(entries_[random.below(entries_.size())], entries_.back());
      ASSERT_TRUE(tree_->erase(entries_.back()));
      entries_.pop_back();
      if (entries_.size() % 500 == 0) tree_->publish();
    }
    tree_->publish();
  }
  /// Nodes that a thousand searches of small windows look at.
  std::uint64_t nodes_visited() {
    const auto snapshot = tree_->snapshot();
    Random random(17);
    std::uint64_t visited = 0;
    RangeCursor<2> cursor;
    RangeResult<2> result;
    for (int i = 0; i < 1000; ++i) {
      const double x = random.uniform();
      const double y = random.uniform();
      cursor.start({.window = {{x, y}, {x + 0.02, y + 0.02}}}, snapshot.root(), result);
      while (const auto wanted = cursor.take()) {
        cursor.feed(snapshot.node(wanted->ref));
        ++visited;
      }
    }
    return visited;
  }
  std::vector<std::uint64_t> all_ids() {
    RangeResult<2> result;
    EXPECT_TRUE(tree_->snapshot().range({.window = {{-1, -1}, {2, 2}}}, result));
    std::sort(result.ids.begin(), result.ids.end());
    return result.ids;
  }
  /// Compacts the whole tree; returns the number of steps.
  std::size_t compact(double fill = 0) {
    std::size_t steps = 0;
    double share = 0;
    for (std::uint64_t cursor = 0; cursor != kCompacted && steps < 10'000; ++steps) {
      const Version before = tree_->snapshot().version();
      const auto step = tree_->compact(cursor, fill);
      EXPECT_TRUE(step) << step.error().message;
      if (step->is_short) {
        EXPECT_NE(step->next, cursor) << "no progress";
      }
      EXPECT_EQ(tree_->publish(), before + 1);
      cursor = step->next;
      EXPECT_GE(step->share, share);
      share = step->share;
      if (steps % 8 == 0) {
        EXPECT_TRUE(tree_->snapshot().validate());
      }
    }
    EXPECT_EQ(share, 1);
    const Status valid = tree_->snapshot().validate();
    EXPECT_TRUE(valid) << valid.error().message;
    return steps;
  }

  AnonymousSlabs slabs_;
  ManualClock clock_;
  std::unique_ptr<Tree<2>> tree_;
  std::vector<Entry<2>> entries_;
};

TEST_F(CompactTest, ErasingHalfAtRandomGivesAThirdOfTheNodesBack) {
  Random random(seed(41));
  open();
  insert(100'000, random);
  const double nodes = static_cast<double>(tree_->stats().nodes);
  const double visited = static_cast<double>(nodes_visited());
  erase(0.5, random);
  EXPECT_TRUE(tree_->snapshot().validate());
  const TreeStats stats = tree_->stats();
  std::printf("nodes %.0f before, %llu after; visited %.0f, %llu; joined %llu\n", nodes,
              static_cast<unsigned long long>(stats.nodes), visited,
              static_cast<unsigned long long>(nodes_visited()),
              static_cast<unsigned long long>(stats.joined_nodes));
  EXPECT_LE(static_cast<double>(stats.nodes), 2.0 / 3 * nodes);
  EXPECT_LE(static_cast<double>(nodes_visited()), 0.9 * visited);
  EXPECT_GT(stats.joined_nodes, 0u);
}

TEST_F(CompactTest, ErasingHalfOfABulkLoadGivesNodesBack) {
  Random random(seed(42));
  open();
  for (std::size_t i = 0; i < 100'000; ++i) entries_.push_back(entry(i, random));
  ASSERT_TRUE(tree_->bulk_load(entries_, {.threads = 1}));
  const double nodes = static_cast<double>(tree_->stats().nodes);
  erase(0.5, random);
  EXPECT_LE(static_cast<double>(tree_->stats().nodes), 0.85 * nodes);
}

/// A full leaf that takes one more is split, and one entry less must not join its halves again.
TEST_F(CompactTest, InsertsAndErasuresInTurnDoNotSplitAndJoinForEver) {
  Random random(seed(43));
  open();
  insert(20'000, random);
  for (int round = 0; round < 3; ++round) {
    const TreeStats before = tree_->stats();
    constexpr std::uint64_t kTurns = 5000;
    for (std::uint64_t i = 0; i < kTurns; ++i) {
      const Entry<2> one = entry(1'000'000 + i, random);
      ASSERT_TRUE(tree_->insert(one));
      ASSERT_TRUE(tree_->erase(one));
    }
    tree_->publish();
    const TreeStats after = tree_->stats();
    EXPECT_LE(after.joined_nodes - before.joined_nodes, 1 + kTurns / 50) << "round " << round;
    EXPECT_LE(after.split_nodes - before.split_nodes, kTurns / 20) << "round " << round;
  }
  const Entry<2> one = entry(1'000'000, random);
  ASSERT_TRUE(tree_->insert(one) && tree_->erase(one));
  const TreeStats before = tree_->stats();
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(tree_->insert(one) && tree_->erase(one));
  tree_->publish();
  EXPECT_EQ(tree_->stats().split_nodes, before.split_nodes);
  EXPECT_EQ(tree_->stats().joined_nodes, before.joined_nodes);
}

TEST_F(CompactTest, ErasuresOfEntriesAtTheEndsOfDoubleJoinNodes) {
  Random random(seed(44));
  open();
  static constexpr double kEnds[] = {-1.7e308, -1e300, -3.5e38, 0, 3.5e38, 1e300, 1.7e308};
  for (std::size_t i = 0; i < 5000; ++i) {
    const double x = kEnds[random.below(std::size(kEnds))];
    const double y = kEnds[random.below(std::size(kEnds))];
    entries_.push_back({i, {{std::min(x, y), std::min(x, y)}, {std::max(x, y), std::max(x, y)}}});
    ASSERT_TRUE(tree_->insert(entries_.back()));
  }
  erase(0.9, random);
  EXPECT_TRUE(tree_->snapshot().validate());
  EXPECT_GT(tree_->stats().joined_nodes, 0u);
  compact();
  EXPECT_EQ(tree_->snapshot().size(), entries_.size());
}

TEST_F(CompactTest, PacksWhatErasuresHaveLeft) {
  Random random(seed(45));
  open();
  insert(100'000, random);
  erase(0.48, random);
  const auto ids = all_ids();
  const double nodes = static_cast<double>(tree_->stats().nodes);
  const std::uint64_t visited = nodes_visited();
  const std::size_t steps = compact();
  std::printf("%.0f nodes before, %llu after, in %zu steps; visited %llu, %llu\n", nodes,
              static_cast<unsigned long long>(tree_->stats().nodes), steps,
              static_cast<unsigned long long>(visited),
              static_cast<unsigned long long>(nodes_visited()));
  EXPECT_EQ(all_ids(), ids);
  // 90 % full but for the shares of nodes, and one inner node for every 16 leaves at most.
  const double least = static_cast<double>(ids.size()) / kLeafFanout<2>;
  EXPECT_LE(static_cast<double>(tree_->stats().nodes), 1.25 * least);
  EXPECT_LE(nodes_visited(), visited);
  const std::uint64_t packed = tree_->stats().nodes;
  compact();
  EXPECT_EQ(tree_->stats().nodes, packed) << "there was nothing left to do";
}

TEST_F(CompactTest, PacksATreeThatIsTooHigh) {
  Random random(seed(50));
  open();
  for (std::size_t i = 0; i < 20'000; ++i) entries_.push_back(entry(i, random));
  ASSERT_TRUE(tree_->bulk_load(entries_, {.fill = 0.4, .threads = 1}));
  EXPECT_EQ(tree_->stats().height, 4u);
  compact(1);
  EXPECT_EQ(tree_->stats().height, 3u);
  EXPECT_LE(static_cast<double>(tree_->stats().nodes), 1.06 * 20'000 / kLeafFanout<2>);
}

TEST_F(CompactTest, KeepsOldVersionsAsTheyAre) {
  Random random(seed(46));
  open();
  insert(50'000, random);
  erase(0.6, random);
  const auto before = tree_->snapshot();
  const std::uint64_t size = before.size();
  compact();
  EXPECT_TRUE(before.validate());
  EXPECT_EQ(before.size(), size);
}

TEST_F(CompactTest, GoesOnThoughOthersWriteInBetween) {
  Random random(seed(47));
  open();
  insert(100'000, random);
  erase(0.6, random);
  std::size_t steps = 0;
  for (std::uint64_t cursor = 0; cursor != kCompacted && steps < 10'000; ++steps) {
    const auto step = tree_->compact(cursor, 0.9);
    ASSERT_TRUE(step);
    cursor = step->next;
    for (int i = 0; i < 20; ++i) {
      entries_.push_back(entry(1'000'000 + 20 * steps + i, random));
      ASSERT_TRUE(tree_->insert(entries_.back()));
      std::swap(entries_[random.below(entries_.size())], entries_.back());
      ASSERT_TRUE(tree_->erase(entries_.back()));
      entries_.pop_back();
    }
    tree_->publish();
  }
  EXPECT_LT(steps, 10'000u);
  EXPECT_TRUE(tree_->snapshot().validate());
  std::vector<std::uint64_t> ids;
  for (const auto& one : entries_) ids.push_back(one.id);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(all_ids(), ids);
}

TEST_F(CompactTest, TakesAnyCursor) {
  Random random(seed(48));
  open();
  ASSERT_TRUE(tree_->compact(0, 0));  // the tree is empty
  insert(20'000, random);
  erase(0.7, random);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t word = (random.below(1 << 16) << 48) | random.below(1 << 20);
    const auto step = tree_->compact(word, 0.9);
    ASSERT_TRUE(step);
    tree_->publish();
  }
  EXPECT_TRUE(tree_->snapshot().validate());
  EXPECT_EQ(tree_->snapshot().size(), entries_.size());
  EXPECT_EQ(tree_->compact(0, 1.5).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(tree_->compact(0, -1).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(CompactTest, AStepIsBoundedByItsWork) {
  Random random(seed(49));
  open();
  insert(100'000, random);
  erase(0.5, random);
  std::uint64_t most = 0;
  for (std::uint64_t cursor = 0; cursor != kCompacted;) {
    const std::uint64_t before = tree_->stats().bytes_used / kChunkBytes<2>;
    const auto pinned = tree_->snapshot();  // what the step retires stays
    const auto step = tree_->compact(cursor, 0);
    ASSERT_TRUE(step);
    tree_->publish();
    const TreeStats stats = tree_->stats();
    const std::uint64_t made = (stats.bytes_used + stats.bytes_retired) / kChunkBytes<2> - before;
    most = std::max(most, made);
    cursor = step->next;
  }
  std::printf("at most %llu nodes in a step\n", static_cast<unsigned long long>(most));
  EXPECT_LE(most, 2u * kInnerFanout<2>);
}

// --- at the limit

class FullTest : public CompactTest {
 protected:
  static constexpr std::uint64_t kBudget = std::uint64_t{8} << 20;
  /// Inserts until no more fit.
  void fill(Random& random) {
    for (std::uint64_t id = 0;; ++id) {
      entries_.push_back(entry(id, random));
      Status ok = tree_->insert(entries_.back());
      if (!ok) {  // but what is retired may come back yet
        publish_and_wait();
        ok = tree_->insert(entries_.back());
      }
      if (!ok) {
        EXPECT_EQ(ok.error().code, ErrorCode::kOutOfMemory);
        why_ = ok.error().message;
        entries_.pop_back();
        return;
      }
      if (entries_.size() % 100 == 0) publish_and_wait();
    }
  }
  void publish_and_wait() {
    tree_->publish();
    clock_.advance(kSecond);
    tree_->reclaim();
  }
  std::string why_;
};

TEST_F(FullTest, ErasuresWaitForNoMemoryThoughNothingIsRecycled) {
  Random random(seed(51));
  open(kBudget, 50 * kMillisecond);
  fill(random);
  // Time stands still: no retired node comes back.
  for (int i = 0; i < 60; ++i) {
    std::swap(entries_[random.below(entries_.size())], entries_.back());
    const Status erased = tree_->erase(entries_.back());
    ASSERT_TRUE(erased) << i << ": " << erased.error().message;
    entries_.pop_back();
    tree_->publish();
  }
}

TEST_F(FullTest, UpdatesGoOnForEver) {
  Random random(seed(52));
  open(kBudget);
  fill(random);
  for (int i = 0; i < 20'000; ++i) {
    Entry<2>& one = entries_[random.below(entries_.size())];
    const Box<2> to = entry(0, random).box;
    const Status moved = tree_->update(one.id, one.box, to);
    ASSERT_TRUE(moved) << i << ": " << moved.error().message;
    one.box = to;
    tree_->publish();
  }
  EXPECT_TRUE(tree_->snapshot().validate());
  ASSERT_TRUE(tree_->erase(entries_.back()));
}

TEST_F(FullTest, SaysWhatTheMemoryIsUsedFor) {
  Random random(seed(53));
  open(kBudget);
  fill(random);
  EXPECT_NE(why_.find("budget of 8.0 MiB"), std::string::npos) << why_;
  EXPECT_NE(why_.find("by the tree"), std::string::npos) << why_;
  EXPECT_NE(why_.find("by older versions"), std::string::npos) << why_;
  EXPECT_NE(why_.find("are kept for erasures"), std::string::npos) << why_;
}

TEST_F(FullTest, CanBeCompacted) {
  Random random(seed(54));
  for (const std::uint64_t budget : {Tree<2>::kMinimumBudgetBytes, kBudget}) {
    entries_.clear();
    open(budget);
    fill(random);
    const std::uint64_t used = tree_->stats().bytes_used;
    compact();
    EXPECT_LT(tree_->stats().bytes_used, used);
    EXPECT_TRUE(tree_->insert(entry(77'777'777, random)));
  }
}

/// What a log has was done once: it finds room though only the reserve is left, and so does the
/// compaction that comes after it.
TEST_F(FullTest, WhatWasAdmittedMayUseTheReserveAndACompactionFollows) {
  Random random(seed(56));
  open(kBudget);
  fill(random);
  const auto before = entries_.size();
  for (std::uint64_t id = before; tree_->stats().room.holds(tree_->reserved() / 4); ++id) {
    entries_.push_back(entry(id, random));
    ASSERT_FALSE(tree_->insert(entries_.back())) << "the reserve is not for inserts";
    const Status inserted = tree_->insert(entries_.back(), Tree<2>::Room::kAdmitted);
    ASSERT_TRUE(inserted) << inserted.error().message;
    publish_and_wait();
  }
  EXPECT_GT(entries_.size(), before + Tree<2>::kLeastReserve);
  const auto step = tree_->compact(0, 1);
  ASSERT_TRUE(step) << step.error().message;
  tree_->publish();
  EXPECT_EQ(all_ids().size(), entries_.size());
  EXPECT_TRUE(tree_->snapshot().validate());
  for (int i = 0; i < 100; ++i) {
    const Status erased = tree_->erase(entries_.back());
    ASSERT_TRUE(erased) << erased.error().message;
    entries_.pop_back();
    publish_and_wait();
  }
}

TEST_F(FullTest, ACompactionThatIsShortOfMemoryEndsEarlyAndChangesNothing) {
  Random random(seed(55));
  open(Tree<2>::kMinimumBudgetBytes, 50 * kMillisecond);
  fill(random);
  std::uint64_t cursor = 0;
  bool was_short = false;
  for (int i = 0; i < 20 && !was_short; ++i) {  // time stands still
    const auto step = tree_->compact(cursor, 1);
    ASSERT_TRUE(step);
    was_short = step->is_short;
    if (was_short) {
      EXPECT_NE(step->next, kCompacted);
    }
    cursor = step->next;
    tree_->publish();
    EXPECT_TRUE(tree_->snapshot().validate());
  }
  EXPECT_TRUE(was_short);
  ASSERT_TRUE(tree_->erase(entries_.back())) << "the rest of the reserve is for erasures";
  tree_->publish();
  clock_.advance(kSecond);
  const auto step = tree_->compact(cursor, 1);
  ASSERT_TRUE(step);
  EXPECT_NE(step->next, cursor);
}

}  // namespace
}  // namespace silurus::rtree
