// SPDX-License-Identifier: Apache-2.0

#include "server/served_collections.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "common/log.h"
#include "rtree/arena.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using protocol::collection_key;
using replication::CollectionAction;

class ServedCollectionsTest : public testing::Test {
 protected:
  explicit ServedCollectionsTest(HistoryOptions history = {.age = kSecond}) {
    history.now = [this] { return clock_.now(); };
    auto made = rtree::Tree<2>::create({}, slabs_, clock_);
    SILURUS_CHECK(made.has_value());
    collections_ = std::make_unique<ServedCollections<2>>(
        replication::Collections<2>(std::move(*made)), history);
    remember();
  }

  Status order(CollectionAction action, const std::string& name, const std::string& text = {}) {
    const auto begun =
        collections_->begin({.action = action, .name = name, .text = text, .dimensions = 2});
    if (!begun) return fail(begun.error());
    collections_->publish();
    remember();
    return {};
  }
  rtree::Version insert(const std::string& name, std::uint64_t id) {
    const auto into = collections_->find(collection_key(name));
    SILURUS_CHECK(into->tree().insert({id, test::box_of(id)}).has_value());
    const rtree::Version version = collections_->publish();
    remember();
    return version;
  }
  void remember() {
    for (const auto& one : collections_->list()) {
      one.collection->served->history.add(one.collection->tree(), ++stamp_);
    }
  }
  std::uint64_t entries_at(const std::string& name, rtree::Version version) {
    const auto found = collections_->find(collection_key(name))->history().at(version);
    SILURUS_CHECK(found.has_value());
    return found->size();
  }

  rtree::AnonymousSlabs slabs_;
  ManualClock clock_;
  replication::Stamp stamp_ = kFirstStamp;
  std::unique_ptr<ServedCollections<2>> collections_;
};

TEST_F(ServedCollectionsTest, AreFoundByTheKeysOfTheirNames) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  EXPECT_EQ(collections_->find(collection_key("roads"))->info.name, "roads");
  EXPECT_EQ(collections_->find(protocol::kDefaultCollection)->info.name, "default");
  EXPECT_EQ(collections_->find(collection_key("rivers")), nullptr);
}

TEST_F(ServedCollectionsTest, OldVersionsGoThoughNothingIsWrittenToTheirTree) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  for (std::uint64_t id = 0; id < 5; ++id) insert("roads", id);
  const History<2>& history = collections_->find(collection_key("roads"))->history();
  ASSERT_GT(history.list().size(), 1u);
  clock_.advance(10 * kSecond);
  collections_->trim_histories(clock_.now());
  EXPECT_EQ(history.list().size(), 1u);
}

class SmallHistories : public ServedCollectionsTest {
 protected:
  SmallHistories()
      : ServedCollectionsTest(
            {.age = 1000 * kSecond, .retained_bytes = 20 * rtree::kChunkBytes<2>}) {}
};

TEST_F(SmallHistories, LoseTheOldestVersionsOfAllTreesWhenTheyHoldTooMuch) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  ASSERT_TRUE(order(CollectionAction::kCreate, "rivers"));
  for (std::uint64_t id = 0; id < 50; ++id) {
    clock_.advance(kMillisecond);
    insert("roads", id);
  }
  const History<2>& roads = collections_->find(collection_key("roads"))->history();
  const std::size_t before = roads.list().size();
  for (std::uint64_t id = 0; id < 100; ++id) {
    clock_.advance(kMillisecond);
    insert("rivers", id);
    collections_->trim_histories(clock_.now());
    collections_->reclaim();
  }
  EXPECT_LT(roads.list().size(), before / 2) << "they are older";
  EXPECT_GT(collections_->find(collection_key("rivers"))->history().list().size(), 2u);
  EXPECT_LE(collections_->first().stats().bytes_held, 25 * rtree::kChunkBytes<2>);
}

TEST_F(ServedCollectionsTest, TwoAreHeldAsOneVersionHasThem) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  const auto roads = collections_->find(collection_key("roads"));
  const auto first = collections_->default_one();
  std::jthread reader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto [a, b] = collections_->hold_both(*first, *roads);
      // Each version adds one to both.
      EXPECT_EQ(a.size(), b.size());
    }
  });
  for (std::uint64_t id = 0; id < 2000; ++id) {
    ASSERT_TRUE(first->tree().insert({id, test::box_of(id)}));
    ASSERT_TRUE(roads->tree().insert({id, test::box_of(id)}));
    collections_->publish();
  }
}

TEST_F(ServedCollectionsTest, TheDefaultOneIsThatWithoutANameAsWell) {
  EXPECT_EQ(collection_key(""), collection_key("default"));
}

TEST_F(ServedCollectionsTest, OneThatIsDroppedIsGoneForThoseThatHaveIt) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  const auto roads = collections_->find(collection_key("roads"));
  const std::uint64_t before = collections_->edition();
  ASSERT_TRUE(order(CollectionAction::kDrop, "roads"));
  EXPECT_TRUE(roads->is_gone.load());
  EXPECT_NE(collections_->edition(), before);
  EXPECT_EQ(collections_->find(collection_key("roads")), nullptr);
}

TEST_F(ServedCollectionsTest, OneThatIsDroppedKeepsItsMemoryAsLongAsSomeoneHasIt) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  for (std::uint64_t id = 0; id < 1000; ++id) insert("roads", id);
  auto roads = collections_->find(collection_key("roads"));
  auto snapshot = std::make_unique<rtree::Snapshot<2>>(roads->tree().snapshot());
  ASSERT_TRUE(order(CollectionAction::kDrop, "roads"));
  collections_->reclaim();
  EXPECT_EQ(snapshot->size(), 1000u);
  const std::uint64_t held = collections_->first().stats().bytes_retired;
  EXPECT_GT(held, 0u);
  snapshot.reset();
  roads.reset();
  for (int turn = 0; turn < 10; ++turn) collections_->reclaim();
  EXPECT_EQ(collections_->first().stats().bytes_retired, 0u);
}

TEST_F(ServedCollectionsTest, ARenamedOneKeepsItsVersions) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  const rtree::Version first = insert("roads", 1);
  insert("roads", 2);
  ASSERT_TRUE(order(CollectionAction::kRename, "roads", "streets"));
  EXPECT_EQ(entries_at("streets", first), 1u);
}

TEST_F(ServedCollectionsTest, AReplacedOneIsGoneAndTheOtherHasItsName) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "new"));
  insert("new", 1);
  insert("default", 2);
  insert("default", 3);
  const auto old = collections_->default_one();
  ASSERT_TRUE(order(CollectionAction::kReplace, "new", "default"));
  EXPECT_TRUE(old->is_gone.load());
  EXPECT_EQ(collections_->default_one()->tree().snapshot().size(), 1u);
}

TEST_F(ServedCollectionsTest, AreAskedAsTheyWereWhenAVersionOfAnotherOneWasTheNewest) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  insert("roads", 1);
  const rtree::Version between = insert("default", 1);
  insert("roads", 2);
  const rtree::Version last = insert("default", 2);
  EXPECT_EQ(entries_at("roads", between), 1u);
  EXPECT_EQ(entries_at("roads", last), 2u);
  EXPECT_FALSE(collections_->default_one()->history().at(last + 1));
}

TEST_F(ServedCollectionsTest, AreHeldTogetherAtOneVersion) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  insert("roads", 1);
  const rtree::Version version = insert("default", 1);
  const auto held = collections_->hold();
  insert("roads", 2);
  EXPECT_EQ(held.forest.roots.version, version);
  EXPECT_EQ(held.forest.roots.entries, 2u);
  EXPECT_EQ(held.pins.size(), 2u);
}

TEST_F(ServedCollectionsTest, TurnAllOneSidedReadersAwayAtOnce) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  collections_->set_retired(true);
  for (const auto& one : collections_->list()) EXPECT_TRUE(one.collection->tree().is_retired());
  collections_->set_retired(false);
  for (const auto& one : collections_->list()) EXPECT_FALSE(one.collection->tree().is_retired());
}

TEST_F(ServedCollectionsTest, AnOrderThatIsTakenBackHasChangedNothing) {
  ASSERT_TRUE(order(CollectionAction::kCreate, "roads"));
  insert("roads", 1);
  ASSERT_TRUE(collections_->begin(
      {.action = CollectionAction::kDrop, .name = "roads", .text = {}, .dimensions = 0}));
  collections_->first().abandon();
  collections_->take_back();
  const auto roads = collections_->find(collection_key("roads"));
  ASSERT_NE(roads, nullptr);
  EXPECT_FALSE(roads->is_gone.load());
  EXPECT_FALSE(roads->tree().is_retired());
  EXPECT_EQ(roads->tree().snapshot().size(), 1u);
}

}  // namespace
}  // namespace silurus::server
