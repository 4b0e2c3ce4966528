// SPDX-License-Identifier: Apache-2.0

#include "replication/collections.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "replication/data_directory.h"
#include "replication/replay.h"
#include "replication/store.h"
#include "tests/support/server_process.h"

namespace silurus::replication {
namespace {

using Action = CollectionAction;

CollectionOrder order_to(Action action, std::uint64_t number, std::string_view text = {},
                         std::uint32_t dimensions = 2) {
  return *CollectionOrder::make(action, number, text, dimensions);
}

rtree::Box<2> box_of(std::uint64_t id) {
  const double at = static_cast<double>(id % 1000);
  return {{at, at}, {at + 1, at + 1}};
}

std::vector<std::uint64_t> ids_of(const rtree::Tree<2>& tree) {
  rtree::RangeResult<2> found;
  EXPECT_TRUE(tree.snapshot().range({.window = {{-1, -1}, {2000, 2000}}}, found));
  std::sort(found.ids.begin(), found.ids.end());
  return found.ids;
}

class CollectionsTest : public testing::Test {
 protected:
  CollectionsTest() : all_(*rtree::Tree<2>::create({.grace = kSecond}, slabs_, clock_)) {}

  /// Obeys it and publishes that.
  Collections<2>::Done obey(const CollectionOrder& order) {
    const rtree::Version before = all_.first().next_version();
    const Status begun = all_.begin(order);
    EXPECT_TRUE(begun) << begun.error().message;
    EXPECT_EQ(all_.first().publish(), before) << "each order is a version";
    return all_.commit();
  }
  std::uint64_t create(const char* name) {
    return obey(order_to(Action::kCreate, 0, name)).change.number;
  }
  void insert(std::uint64_t number, std::uint64_t id) {
    ASSERT_TRUE(all_.find(number)->insert({id, box_of(id)}));
    all_.first().publish();
  }

  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  Collections<2> all_;
};

TEST_F(CollectionsTest, HaveATreeEach) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  insert(0, 6);
  EXPECT_EQ(ids_of(*all_.find(roads)), std::vector<std::uint64_t>{5});
  EXPECT_EQ(ids_of(all_.first()), std::vector<std::uint64_t>{6});
  EXPECT_EQ(all_.find(77), nullptr);
  EXPECT_EQ(all_.entries(), 2u);
}

TEST_F(CollectionsTest, AnOrderIsNotSeenBeforeItIsCommitted) {
  ASSERT_TRUE(all_.begin(order_to(Action::kCreate, 0, "roads")));
  EXPECT_EQ(all_.catalogue().collections().size(), 1u);
  EXPECT_EQ(all_.trees().size(), 1u);
  all_.first().publish();
  all_.commit();
  EXPECT_EQ(all_.catalogue().collections().size(), 2u);
}

TEST_F(CollectionsTest, EachOrderCanBeTakenBack) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  const std::uint64_t fresh = create("fresh");
  insert(fresh, 6);
  insert(0, 7);
  const Catalogue before = all_.catalogue();
  const rtree::Version next = all_.first().next_version();
  for (const CollectionOrder& order :
       {order_to(Action::kCreate, 0, "more"), order_to(Action::kDrop, roads),
        order_to(Action::kClear, 0), order_to(Action::kRename, roads, "streets"),
        order_to(Action::kReplace, fresh, "roads"), order_to(Action::kNote, roads, "of 2026")}) {
    ASSERT_TRUE(all_.begin(order));
    all_.first().abandon();
    all_.take_back();
    EXPECT_EQ(all_.catalogue(), before);
    EXPECT_EQ(all_.first().publish(), next - 1) << "nothing is left in the batch";
    EXPECT_EQ(ids_of(*all_.find(roads)), std::vector<std::uint64_t>{5});
    EXPECT_EQ(ids_of(*all_.find(fresh)), std::vector<std::uint64_t>{6});
    EXPECT_EQ(ids_of(all_.first()), std::vector<std::uint64_t>{7});
  }
}

TEST_F(CollectionsTest, ADroppedOneIsEmptyAndGivenToTheCaller) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  auto done = obey(order_to(Action::kDrop, roads));
  ASSERT_EQ(done.removed.size(), 1u);
  EXPECT_EQ(done.removed.front()->snapshot().size(), 0u);
  EXPECT_EQ(all_.find(roads), nullptr);
  rtree::Tree<2>::remove(std::move(done.removed.front()));
  EXPECT_EQ(all_.first().publish(), all_.first().next_version() - 1);
}

TEST_F(CollectionsTest, ADroppedOneIsRetiredBeforeItsReadersCouldFindItEmpty) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  const std::uint64_t fresh = create("fresh");
  for (const CollectionOrder& order :
       {order_to(Action::kDrop, roads), order_to(Action::kReplace, fresh, "roads")}) {
    ASSERT_TRUE(all_.begin(order));
    EXPECT_TRUE(all_.find(roads)->is_retired());
    EXPECT_FALSE(all_.find(fresh)->is_retired());
    all_.first().abandon();
    all_.take_back();
    EXPECT_FALSE(all_.find(roads)->is_retired());
  }
}

TEST_F(CollectionsTest, OneThatReplacesAnotherKeepsItsEntriesUnderANewNumber) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  const std::uint64_t fresh = create("fresh");
  insert(fresh, 6);
  auto done = obey(order_to(Action::kReplace, fresh, "roads"));
  ASSERT_EQ(done.removed.size(), 1u);
  EXPECT_EQ(done.removed.front()->number(), roads);
  EXPECT_EQ(all_.find(fresh), nullptr);
  EXPECT_EQ(ids_of(*all_.find(done.change.number)), std::vector<std::uint64_t>{6});
  rtree::Tree<2>::remove(std::move(done.removed.front()));
}

TEST_F(CollectionsTest, TheFirstTreeStaysEvenIfAnotherIsTheDefaultCollection) {
  insert(0, 7);
  const std::uint64_t fresh = create("fresh");
  insert(fresh, 6);
  const auto done = obey(order_to(Action::kReplace, fresh, "default"));
  EXPECT_TRUE(done.removed.empty());
  EXPECT_EQ(all_.trees().size(), 2u);
  EXPECT_EQ(all_.first().snapshot().size(), 0u);
  EXPECT_EQ(all_.catalogue().find("default")->number, done.change.number);
  EXPECT_TRUE(all_.first().is_retired());
  EXPECT_EQ(all_.find(0), nullptr) << "it is no collection";
  EXPECT_EQ(ids_of(*all_.find(done.change.number)), std::vector<std::uint64_t>{6});
}

TEST_F(CollectionsTest, OfOtherDimensionsAreRefusedBeforeAnythingChanges) {
  const Status refused = all_.begin(order_to(Action::kCreate, 0, "volumes", 3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(all_.begin(order_to(Action::kCreate, 0, "volumes", 5)).error().code,
            ErrorCode::kInvalidArgument);
}

TEST_F(CollectionsTest, WhatIsHeldIsOfOneVersion) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  insert(0, 7);
  const auto held = all_.hold();
  ASSERT_TRUE(all_.find(roads)->insert({6, box_of(6)}));  // part of a batch that is not published
  EXPECT_EQ(held.forest.roots.version, all_.first().next_version() - 1);
  EXPECT_EQ(held.forest.roots.entries, 2u);
  ASSERT_EQ(held.forest.roots.trees.size(), 2u);
  EXPECT_EQ(held.forest.roots.trees[1].number, roads);
  EXPECT_EQ(all_.sealed().roots.entries, 3u);
  EXPECT_EQ(all_.sealed().roots.version, held.forest.roots.version + 1);
  all_.first().abandon();
}

TEST_F(CollectionsTest, AStoredForestIsDecodedAsItWasEncoded) {
  const std::uint64_t roads = create("roads");
  insert(roads, 5);
  const auto held = all_.hold();
  const auto bytes = held.forest.encode();
  const auto decoded = StoredForest::decode(bytes, held.forest.roots.version, 1);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->catalogue, held.forest.catalogue);
  ASSERT_EQ(decoded->roots.trees.size(), 2u);
  EXPECT_EQ(decoded->roots.trees[1].root, held.forest.roots.trees[1].root);
  EXPECT_EQ(decoded->roots.trees[1].root_chunk, all_.find(roads)->root_chunk());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(StoredForest::decode(std::span(bytes).first(size), 1, 1)) << size;
  }
}

TEST_F(CollectionsTest, AForestInWhichACollectionHasNoTreeIsRefused) {
  create("roads");
  auto forest = all_.hold().forest;
  forest.roots.trees.pop_back();
  EXPECT_FALSE(StoredForest::decode(forest.encode(), 1, 0));
}

TEST_F(CollectionsTest, AsManyAsThereMayBeFitIntoACheckpoint) {
  StoredForest forest{.roots = {}, .catalogue = Catalogue(2)};
  for (std::uint64_t i = 1; i < Catalogue::kMaxCollections; ++i) {
    const std::string number = std::to_string(i);
    const std::string name = number + std::string(Catalogue::kMaxName - number.size(), 'a');
    ASSERT_TRUE(forest.catalogue.obey(order_to(Action::kCreate, 0, name)));
    ASSERT_TRUE(forest.catalogue.obey(
        order_to(Action::kNote, i, std::string(CollectionOrder::kMaxText, 'n'))));
  }
  forest.roots.trees.resize(Catalogue::kMaxCollections + 1);
  EXPECT_LE(forest.encode().size(), StoredForest::kMostBytes);
  EXPECT_LE(StoredForest::kMostBytes + sizeof(RootRecord), kRootBytes);
}

/// A store whose log is written by hand, as a server would.
class CollectionsStoreTest : public testing::Test {
 protected:
  using Opened = Store<2>::Opened;

  Result<Opened> open() {
    opened_.reset();
    auto directory = open_directory<2>(
        folder_ / "data", {.log_bytes = kMinLogBytes, .tree_bytes = std::uint64_t{64} << 20});
    if (!directory) return fail(directory.error());
    lock_.emplace(std::move(directory->lock));
    slabs_.emplace_back(std::make_unique<rtree::AnonymousSlabs>());
    return Store<2>::open(std::move(directory->volume),
                          {.options = {.memory_budget_bytes = std::uint64_t{64} << 20},
                           .slabs = *slabs_.back(),
                           .clock = clock_},
                          {.threads = 1}, 1, 99);
  }
  void reopen() {
    close();
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    opened_ = std::make_unique<Opened>(std::move(*opened));
    std::vector<std::unique_ptr<rtree::Tree<2>>> trees;
    trees.push_back(std::move(opened_->tree));
    for (auto& other : opened_->others) trees.push_back(std::move(other));
    all_ = std::make_unique<Collections<2>>(std::move(trees), opened_->catalogue);
  }
  void close() {
    all_.reset();
    opened_.reset();
    lock_.reset();
  }

  template <typename Payload>
  void append(RecordType type, const Payload& payload) {
    ASSERT_TRUE(opened_->store->log().append({.checksum = 0,
                                              .lsn = 0,
                                              .stamp = ++stamp_,
                                              .epoch = 1,
                                              .length = 0,
                                              .type = type,
                                              .flags = 0},
                                             std::as_bytes(std::span(&payload, 1))));
  }
  void end_batch() {
    opened_->store->log().end_batch();
    ASSERT_TRUE(opened_->store->log().commit());
    all_->first().publish();
  }
  std::uint64_t obey(const CollectionOrder& order) {
    EXPECT_TRUE(all_->begin(order));
    append(RecordType::kCollection, order);
    end_batch();
    auto done = all_->commit();
    for (auto& removed : done.removed) rtree::Tree<2>::remove(std::move(removed));
    return done.change.number;
  }
  void insert(std::uint64_t number, std::uint64_t id, bool ends = true) {
    append(RecordType::kSelect, SelectPayload{number});
    append(RecordType::kInsert, EntryPayload<2>{id, box_of(id)});
    ASSERT_TRUE(all_->find(number)->insert({id, box_of(id)}));
    if (ends) end_batch();
  }
  void checkpoint() {
    const auto held = all_->hold();
    ASSERT_TRUE(opened_->store->checkpoint(all_->first(), held.forest, opened_->store->log().end(),
                                           stamp_));
  }
  std::vector<std::uint64_t> ids(const char* name) {
    const auto info = all_->catalogue().get(name);
    EXPECT_TRUE(info) << name;
    return info ? ids_of(*all_->find(info->number)) : std::vector<std::uint64_t>{};
  }

  testing_support::TemporaryFolder folder_;
  ManualClock clock_;
  Stamp stamp_ = 1;
  std::vector<std::unique_ptr<rtree::AnonymousSlabs>> slabs_;
  std::optional<DirectoryLock> lock_;
  std::unique_ptr<Opened> opened_;
  std::unique_ptr<Collections<2>> all_;
};

using Ids = std::vector<std::uint64_t>;

TEST_F(CollectionsStoreTest, ComeBackFromTheLog) {
  ASSERT_NO_FATAL_FAILURE(reopen());
  const std::uint64_t roads = obey(order_to(Action::kCreate, 0, "roads"));
  insert(roads, 1);
  insert(0, 2);
  insert(roads, 3, false);
  insert(0, 4);                                                // two collections in a batch
  append(RecordType::kInsert, EntryPayload<2>{5, box_of(5)});  // a record of the first tree
  ASSERT_TRUE(all_->first().insert({5, box_of(5)}));
  end_batch();
  const rtree::Version next = all_->first().next_version();
  ASSERT_NO_FATAL_FAILURE(reopen());
  EXPECT_EQ(ids("roads"), (Ids{1, 3}));
  EXPECT_EQ(ids("default"), (Ids{2, 4, 5}));
  EXPECT_EQ(all_->first().next_version(), next);
}

TEST_F(CollectionsStoreTest, ComeBackFromACheckpointAndTheLogBehindIt) {
  ASSERT_NO_FATAL_FAILURE(reopen());
  const std::uint64_t roads = obey(order_to(Action::kCreate, 0, "roads"));
  for (std::uint64_t id = 0; id < 500; ++id) insert(roads, id);
  ASSERT_NO_FATAL_FAILURE(checkpoint());
  insert(0, 1'000);
  const std::uint64_t fresh = obey(order_to(Action::kCreate, 0, "fresh"));
  insert(fresh, 2'000);
  const std::uint64_t now = obey(order_to(Action::kReplace, fresh, "roads"));
  insert(now, 2'001);
  for (int round = 0; round < 3; ++round) {
    const rtree::Version next = all_->first().next_version();
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_EQ(ids("roads"), (Ids{2'000, 2'001}));
    EXPECT_EQ(ids("default"), (Ids{1'000}));
    EXPECT_EQ(all_->catalogue().collections().size(), 2u);
    EXPECT_EQ(all_->first().next_version(), next);
    for (const auto& tree : all_->trees()) EXPECT_TRUE(tree->snapshot().validate());
    ASSERT_NO_FATAL_FAILURE(checkpoint());
  }
}

TEST_F(CollectionsStoreTest, AFirstTreeWithoutANameStaysWithoutOne) {
  ASSERT_NO_FATAL_FAILURE(reopen());
  const std::uint64_t fresh = obey(order_to(Action::kCreate, 0, "fresh"));
  insert(fresh, 1);
  obey(order_to(Action::kReplace, fresh, "default"));
  ASSERT_NO_FATAL_FAILURE(checkpoint());
  ASSERT_NO_FATAL_FAILURE(reopen());
  EXPECT_EQ(ids("default"), (Ids{1}));
  EXPECT_EQ(all_->find(0), nullptr);
  EXPECT_TRUE(all_->first().is_retired());
}

TEST_F(CollectionsStoreTest, ACheckpointWritesOnlyWhatIsNewOfAnyTree) {
  ASSERT_NO_FATAL_FAILURE(reopen());
  const std::uint64_t roads = obey(order_to(Action::kCreate, 0, "roads"));
  for (std::uint64_t id = 0; id < 2'000; ++id) insert(roads, id);
  for (std::uint64_t id = 0; id < 2'000; ++id) insert(0, id);
  ASSERT_NO_FATAL_FAILURE(checkpoint());
  insert(roads, 5'000);
  ASSERT_NO_FATAL_FAILURE(checkpoint());
  EXPECT_LE(opened_->store->checkpointer().figures().nodes, 4u);
  insert(0, 5'000);
  ASSERT_NO_FATAL_FAILURE(checkpoint());
  EXPECT_LE(opened_->store->checkpointer().figures().nodes, 4u);
  ASSERT_NO_FATAL_FAILURE(reopen());
  EXPECT_EQ(ids("roads").size(), 2'001u);
  EXPECT_EQ(ids("default").size(), 2'001u);
}

TEST_F(CollectionsStoreTest, ARecordOfACollectionThatIsNoneEndsTheReplay) {
  ASSERT_NO_FATAL_FAILURE(reopen());
  append(RecordType::kSelect, SelectPayload{3});
  append(RecordType::kInsert, EntryPayload<2>{1, box_of(1)});
  opened_->store->log().end_batch();
  ASSERT_TRUE(opened_->store->log().commit());
  close();
  const auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kProtocol);
}

}  // namespace
}  // namespace silurus::replication
