// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "common/check.h"
#include "common/random.h"
#include "rtree/reader_slots.h"
#include "rtree/reclaimer.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<std::uint32_t> collect(Reclaimer& reclaimer, Nanoseconds now,
                                   std::vector<Version> pinned) {
  const auto freed = reclaimer.collect(now, pinned);
  std::vector<std::uint32_t> chunks;
  for (const RetiredNode& node : freed) chunks.push_back(node.chunk);
  return chunks;
}

TEST(Reclaimer, WaitsForTheGraceSincePublication) {
  Reclaimer reclaimer(100);
  reclaimer.retire(std::vector<RetiredNode>{{7, 1, 1, 2}}, 1000);
  reclaimer.retire(std::vector<RetiredNode>{{8, 1, 2, 3}}, 1050);
  EXPECT_THAT(collect(reclaimer, 1099, {}), IsEmpty());
  EXPECT_EQ(reclaimer.next_deadline(), 1100);
  EXPECT_THAT(collect(reclaimer, 1100, {}), ElementsAre(7));
  EXPECT_THAT(collect(reclaimer, 1149, {}), IsEmpty());
  EXPECT_THAT(collect(reclaimer, 1150, {}), ElementsAre(8));
  EXPECT_EQ(reclaimer.retired_count(), 0u);
}

TEST(Reclaimer, KeepsWhatAPinnedVersionHolds) {
  Reclaimer reclaimer(0);
  // Versions 3 to 6; 5 to 6; 7.
  reclaimer.retire(std::vector<RetiredNode>{{30, 1, 3, 7}, {50, 1, 5, 7}}, 0);
  reclaimer.retire(std::vector<RetiredNode>{{70, 1, 7, 8}}, 0);
  EXPECT_THAT(collect(reclaimer, 0, {4, 8}), UnorderedElementsAre(50, 70));
  EXPECT_EQ(reclaimer.pinned_count(), 1u);
  EXPECT_THAT(collect(reclaimer, 0, {4, 9}), IsEmpty());
  EXPECT_THAT(collect(reclaimer, 0, {9}), ElementsAre(30));
}

TEST(Reclaimer, CountsTheChunksOfWhatIsRetiredAndOfWhatIsHeld) {
  Reclaimer reclaimer(100);
  reclaimer.retire(std::vector<RetiredNode>{{10, 3, 1, 4}, {20, 1, 3, 4}}, 0);
  EXPECT_EQ(reclaimer.retired_chunks(), 4u);
  EXPECT_EQ(reclaimer.pinned_chunks(), 0u);
  EXPECT_THAT(collect(reclaimer, 100, {2}), ElementsAre(20));
  EXPECT_EQ(reclaimer.retired_chunks(), 3u);
  EXPECT_EQ(reclaimer.pinned_chunks(), 3u);
  EXPECT_THAT(collect(reclaimer, 100, {}), ElementsAre(10));
  EXPECT_EQ(reclaimer.retired_chunks(), 0u);
  EXPECT_EQ(reclaimer.pinned_chunks(), 0u);
}

TEST(Reclaimer, HandsANodeFromPinToPin) {
  Reclaimer reclaimer(0);
  reclaimer.retire(std::vector<RetiredNode>{{1, 1, 2, 9}}, 0);
  EXPECT_THAT(collect(reclaimer, 0, {3, 8}), IsEmpty());
  EXPECT_THAT(collect(reclaimer, 0, {8}), IsEmpty());
  EXPECT_THAT(collect(reclaimer, 0, {9}), ElementsAre(1));
}

TEST(ReaderSlots, KeepASlotForEachThreadAndGiveItBackWhenItEnds) {
  const auto slots = ReaderSlots::create();
  const PinnedSlot mine = slots->acquire();
  ReaderSlot* theirs = nullptr;
  std::thread([&] {
    const PinnedSlot held = slots->acquire();
    EXPECT_TRUE(held.threads_own);
    theirs = held.slot;
    ReaderSlots::release(held);
    EXPECT_EQ(slots->acquire().slot, theirs);
  }).join();
  EXPECT_NE(theirs, mine.slot);
  EXPECT_EQ(slots->acquire().slot, mine.slot);
  std::thread([&] { EXPECT_EQ(slots->acquire().slot, theirs); }).join();
}

TEST(ReaderSlots, GrowBeyondABlock) {
  const auto slots = ReaderSlots::create();
  std::vector<PinnedSlot> held;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    held.push_back(slots->acquire());
    held.back().slot->pinned.store(i);
  }
  std::vector<std::uint64_t> pinned;
  slots->collect(pinned);
  EXPECT_EQ(pinned.size(), 100u);
  for (const PinnedSlot& one : held) ReaderSlots::release(one);
  slots->collect(pinned);
  EXPECT_THAT(pinned, IsEmpty());
}

class ReclamationTest : public testing::Test {
 protected:
  void open(const TreeOptions& options) {
    auto created = Tree<2>::create(options, slabs_, clock_);
    ASSERT_TRUE(created.has_value()) << created.error().message;
    tree_ = std::move(*created);
  }
  Status insert() {
    const double x = 0.001 * static_cast<double>(next_ * 7919 % 1000);
    const double y = 0.001 * static_cast<double>(next_ * 104729 % 997);
    return tree_->insert({next_++, {{x, y}, {x, y}}});
  }
  void insert_and_publish(int times) {
    for (int i = 0; i < times; ++i) {
      ASSERT_TRUE(insert().has_value());
      tree_->publish();
    }
  }

  AnonymousSlabs slabs_;
  ManualClock clock_;
  std::unique_ptr<Tree<2>> tree_;
  std::uint64_t next_ = 0;
};

TEST_F(ReclamationTest, RecyclesAtOnceWithoutGraceOrReaders) {
  open({.grace = 0});
  insert_and_publish(2000);
  EXPECT_EQ(tree_->stats().bytes_retired, 0u);
  EXPECT_GT(tree_->stats().recycled_nodes, 2000u);
}

TEST_F(ReclamationTest, KeepsRetiredNodesForTheGrace) {
  open({.grace = 50 * kMillisecond});
  insert_and_publish(10);
  EXPECT_EQ(tree_->stats().bytes_retired, 10 * kChunkBytes<2>);
  clock_.advance(49 * kMillisecond);
  tree_->reclaim();
  EXPECT_EQ(tree_->stats().bytes_retired, 10 * kChunkBytes<2>);
  clock_.advance(1 * kMillisecond);
  tree_->reclaim();
  EXPECT_EQ(tree_->stats().bytes_retired, 0u);
}

TEST_F(ReclamationTest, ALongSnapshotHoldsItsOwnVersionOnly) {
  open({.grace = 0});
  insert_and_publish(1000);
  const auto used = tree_->stats().bytes_used;
  std::optional<Snapshot<2>> old(tree_->snapshot());
  insert_and_publish(3000);
  // No more than all of what it sees, though thousands of versions have come and gone.
  EXPECT_LE(tree_->stats().bytes_held, used);
  EXPECT_EQ(old->size(), 1000u);
  EXPECT_TRUE(old->validate().has_value());
  old.reset();
  tree_->reclaim();
  EXPECT_EQ(tree_->stats().bytes_retired, 0u);
}

TEST_F(ReclamationTest, ASnapshotMayBeMovedAndReleasedByAnotherThread) {
  open({.grace = 0});
  insert_and_publish(100);
  std::thread([moved = tree_->snapshot()] { EXPECT_EQ(moved.size(), 100u); }).join();
  std::optional<Snapshot<2>> kept;
  std::thread([&] { kept.emplace(tree_->snapshot()); }).join();
  insert_and_publish(100);
  EXPECT_TRUE(kept->validate().has_value());
  EXPECT_EQ(kept->size(), 100u);
  kept = tree_->snapshot();
  EXPECT_EQ(kept->size(), 200u);
  insert_and_publish(1000);
  EXPECT_EQ(kept->size(), 200u);
  EXPECT_TRUE(kept->validate().has_value()) << "its pin moved with it";
}

TEST_F(ReclamationTest, ASnapshotOfAVersionBeyondWhatANameHoldsKeepsItsNodes) {
  open({.grace = 0});
  const Version version = (Version{1} << NodeRef::kBirthBits) + 5;
  tree_->skip_to(version);
  insert_and_publish(200);
  const auto used = tree_->stats().bytes_used - kRootChunks<2> * kChunkBytes<2>;
  const Snapshot<2> old = tree_->snapshot();
  EXPECT_EQ(old.version(), version + 199);
  insert_and_publish(600);
  EXPECT_EQ(tree_->stats().bytes_held, used) << "every node has changed since";
  EXPECT_EQ(old.version(), version + 199);
  EXPECT_EQ(old.size(), 200u);
  const Status valid = old.validate();
  EXPECT_TRUE(valid) << valid.error().message;
}

TEST_F(ReclamationTest, AnOldSnapshotKeepsItsNodesWhenANewerOneTakesAnEarlierSlot) {
  open({.grace = 0});
  insert_and_publish(500);
  std::optional<Snapshot<2>> first(tree_->snapshot());
  const Snapshot<2> old = tree_->snapshot();
  first.reset();
  insert_and_publish(500);
  const Snapshot<2> newer = tree_->snapshot();
  insert_and_publish(1000);
  for (const auto& [snapshot, size] : {std::pair(&old, 500u), std::pair(&newer, 1000u)}) {
    EXPECT_EQ(snapshot->size(), size);
    const Status valid = snapshot->validate();
    EXPECT_TRUE(valid) << size << " entries: " << valid.error().message;
  }
}

TEST_F(ReclamationTest, ASnapshotThatHasOutlivedItsThreadKeepsItsSlot) {
  open({.grace = 0});
  insert_and_publish(400);
  const Snapshot<2> first = tree_->snapshot();  // in this thread's own slot
  insert_and_publish(100);
  std::optional<Snapshot<2>> kept;
  std::thread([&] { kept.emplace(tree_->snapshot()); }).join();
  // Those that take a free slot leave that of the thread alone.
  EXPECT_EQ(tree_->snapshot().size(), 500u);
  std::thread([&] { EXPECT_EQ(tree_->snapshot().size(), 500u); }).join();
  insert_and_publish(1000);
  EXPECT_EQ(kept->size(), 500u);
  const Status valid = kept->validate();
  EXPECT_TRUE(valid) << valid.error().message;
}

TEST_F(ReclamationTest, AsksTheWriterToWaitWhenTooMuchIsRetired) {
  constexpr std::uint32_t kFirst = kLeafFanout<2> - 8;
  open({.grace = 50 * kMillisecond,
        .memory_budget_bytes = 64 << 20,
        .retired_limit_bytes = (kFirst + 5) * kChunkBytes<2>});
  EXPECT_EQ(tree_->reclaim(), 0);
  insert_and_publish(kFirst);  // each retires the leaf that is all of the tree
  EXPECT_EQ(tree_->reclaim(), 0);
  clock_.advance(20 * kMillisecond);
  insert_and_publish(8);
  EXPECT_EQ(tree_->reclaim(), 30 * kMillisecond);
  clock_.advance(30 * kMillisecond);
  EXPECT_EQ(tree_->reclaim(), 0);
}

TEST_F(ReclamationTest, RefusesInsertsAtTheBudgetButGoesOnErasing) {
  open({.grace = 0, .memory_budget_bytes = Tree<2>::kMinimumBudgetBytes});
  Status inserted;
  while ((inserted = insert())) tree_->publish();
  EXPECT_EQ(inserted.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(inserted.error().message.find("budget"), std::string::npos);
  const std::uint64_t full = tree_->snapshot().size();
  EXPECT_GT(full, 5000u);
  EXPECT_TRUE(tree_->snapshot().validate().has_value());
  RangeResult<2> all;
  ASSERT_TRUE(tree_->snapshot()
                  .range({.window = {{0, 0}, {1, 1}}, .shape = ResultShape::kEntries}, all)
                  .has_value());
  for (std::size_t i = 0; i < all.count / 2; ++i) {
    ASSERT_TRUE(tree_->erase({all.ids[i], all.boxes[i]}).has_value());
    tree_->publish();
  }
  EXPECT_TRUE(tree_->snapshot().validate().has_value());
  EXPECT_TRUE(insert().has_value());
}

TEST_F(ReclamationTest, RefusesABulkLoadBeyondTheBudgetAndStaysEmpty) {
  open({.grace = 0, .memory_budget_bytes = Tree<2>::kMinimumBudgetBytes});
  std::vector<Entry<2>> entries(100'000);
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i].id = i;
  const auto loaded = tree_->bulk_load(std::move(entries), {});
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(tree_->snapshot().size(), 0u);
  EXPECT_TRUE(insert().has_value());
}

TEST_F(ReclamationTest, RefusesABudgetTooSmallForATree) {
  const auto created = Tree<2>::create({.memory_budget_bytes = 1000}, slabs_, clock_);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().code, ErrorCode::kInvalidArgument);
}

/// Notes which version was current when it was asked for the time.
class LookingClock final : public Clock {
 public:
  Nanoseconds now() const override {
    if (tree != nullptr) current.push_back(tree->snapshot().version());
    return kSecond;
  }
  const Tree<2>* tree = nullptr;
  mutable std::vector<Version> current;
};

TEST(Grace, BeginsNoEarlierThanThePublication) {
  AnonymousSlabs slabs;
  LookingClock clock;
  const auto tree = std::move(*Tree<2>::create({.grace = kSecond}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}).has_value());
  clock.tree = tree.get();
  const Version published = tree->publish();
  ASSERT_FALSE(clock.current.empty());
  EXPECT_EQ(clock.current.front(), published);
  clock.tree = nullptr;
}

/// Data sets that come and go, each of a third of the memory.
class LoadsAgain : public testing::Test {
 protected:
  static constexpr std::uint64_t kBudget = std::uint64_t{16} << 20;
  static constexpr std::size_t kEntries = 100'000;  // 5 MB

  LoadsAgain() {
    tree_ = std::move(*Tree<2>::create({.memory_budget_bytes = kBudget}, slabs_, clock_));
  }

  std::vector<Entry<2>> entries(std::uint64_t first) {
    std::vector<Entry<2>> all;
    for (std::uint64_t i = 0; i < kEntries; ++i) {
      const double x = random_.uniform();
      const double y = random_.uniform();
      all.push_back({first + i, {{x, y}, {x + 1e-3, y + 1e-3}}});
    }
    return all;
  }
  void clear() {
    SILURUS_CHECK(tree_->clear().has_value());
    tree_->publish();
  }

  AnonymousSlabs slabs_;
  ManualClock clock_;
  Random random_{7};
  std::unique_ptr<Tree<2>> tree_;
};

TEST_F(LoadsAgain, InChunksThatWereUsedBefore) {
  for (std::uint64_t round = 0; round < 8; ++round) {
    const auto loaded = tree_->bulk_load(entries(round * kEntries), {.threads = 2});
    ASSERT_TRUE(loaded) << round << ": " << loaded.error().message;
    const auto snapshot = tree_->snapshot();
    ASSERT_TRUE(snapshot.validate());
    EXPECT_EQ(snapshot.size(), kEntries);
    ASSERT_TRUE(tree_->erase({0, {{9, 9}, {9, 9}}}).error().code == ErrorCode::kNotFound);
    clear();
  }
}

TEST_F(LoadsAgain, AndIsTakenBack) {
  for (std::uint64_t round = 0; round < 3; ++round) {
    ASSERT_TRUE(tree_->bulk_load(entries(0), {.threads = 1}));
    clear();
  }
  while (tree_->stats().bytes_retired != 0) tree_->reclaim();
  const std::uint64_t used = tree_->stats().bytes_used;
  ASSERT_TRUE(tree_->bulk_load_batch(entries(0), {.threads = 1}));
  tree_->abandon();
  EXPECT_EQ(tree_->stats().bytes_used, used);
  ASSERT_TRUE(tree_->bulk_load(entries(0), {.threads = 1}));
  EXPECT_TRUE(tree_->snapshot().validate());
}

TEST_F(LoadsAgain, UnlessItDoesNotFit) {
  ASSERT_TRUE(tree_->bulk_load(entries(0), {.threads = 1}));
  auto other = std::move(*tree_->add_tree(1));
  tree_->publish();
  ASSERT_TRUE(other->bulk_load(entries(0), {.threads = 1}));
  auto third = std::move(*tree_->add_tree(2));
  tree_->publish();
  const auto refused = third->bulk_load(entries(0), {.threads = 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(third->snapshot().size(), 0u);
  EXPECT_TRUE(tree_->snapshot().validate());
}

}  // namespace
}  // namespace silurus::rtree
