// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/random.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

constexpr Nanoseconds kGrace = 50 * kMillisecond;

Box<2> place_of(std::uint64_t id) {
  Random random(id + 1);
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + 0.01, y + 0.01}};
}

std::vector<std::uint64_t> ids_of(const Snapshot<2>& snapshot) {
  RangeResult<2> found;
  EXPECT_TRUE(snapshot.range({.window = {{-9, -9}, {9, 9}}}, found));
  std::sort(found.ids.begin(), found.ids.end());
  return found.ids;
}
std::vector<std::uint64_t> ids_of(const Tree<2>& tree) { return ids_of(tree.snapshot()); }

void insert_some(Tree<2>& tree, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t id = first; id < first + count; ++id) {
    ASSERT_TRUE(tree.insert({id, place_of(id)}));
  }
}

/// Whether a one-sided reader that looks for a tree finds a root where that tree's root block was.
class RemoteReader {
 public:
  /// A source that remembers the slabs that it gave.
  class Slabs final : public SlabSource {
   public:
    Result<std::span<std::byte>> allocate(std::size_t bytes) override {
      auto slab = source_.allocate(bytes);
      if (slab) slabs.push_back(*slab);
      return slab;
    }
    std::vector<std::span<std::byte>> slabs;

   private:
    AnonymousSlabs source_;
  };

  RemoteReader(const Slabs& slabs, const Tree<2>& tree)
      : slabs_(slabs), number_(tree.number()), chunk_(tree.root_chunk()) {}

  NodeRef root() const {
    const auto block = slabs_.slabs.at(chunk_ / kChunksPerSlab)
                           .subspan(offset_in_slab<2>(chunk_), sizeof(RootBlock<2>));
    Node<2> room;
    return read_root_block<2>(block, NodeRef::kMaxChunks, room, number_).root;
  }

 private:
  const Slabs& slabs_;
  std::uint64_t number_;
  std::uint32_t chunk_;
};

class ForestTest : public testing::Test {
 protected:
  explicit ForestTest(const TreeOptions& options = {.grace = kGrace})
      : first_(std::move(*Tree<2>::create(options, slabs_, clock_))) {}

  std::unique_ptr<Tree<2>> add(std::uint64_t number) {
    auto tree = first_->add_tree(number);
    EXPECT_TRUE(tree) << tree.error().message;
    return std::move(*tree);
  }
  /// Until all that may be recycled is.
  void recycle_all() {
    // What is cleared is not even retired at first.
    for (int i = 0; i < 1000 && (i < 64 || first_->stats().bytes_retired != 0); ++i) {
      clock_.advance(kGrace);
      first_->reclaim();
    }
  }

  ManualClock clock_;
  RemoteReader::Slabs slabs_;
  std::unique_ptr<Tree<2>> first_;
};

TEST_F(ForestTest, ABatchThatChangesSeveralTreesIsOneVersion) {
  const auto second = add(1);
  insert_some(*first_, 0, 100);
  insert_some(*second, 1000, 50);
  const Version version = first_->next_version();
  EXPECT_EQ(second->next_version(), version);
  EXPECT_EQ(second->publish(), version);
  EXPECT_EQ(first_->snapshot().version(), version);
  EXPECT_EQ(second->snapshot().version(), version);
  EXPECT_EQ(first_->snapshot().size(), 100u);
  EXPECT_EQ(ids_of(*second).size(), 50u);
  EXPECT_EQ(ids_of(*second).front(), 1000u);
  EXPECT_TRUE(first_->snapshot().validate());
  EXPECT_TRUE(second->snapshot().validate());
}

TEST_F(ForestTest, ATreeThatABatchDoesNotChangeKeepsItsRoot) {
  const auto second = add(1);
  insert_some(*second, 0, 10);
  const Version before = first_->publish();
  insert_some(*first_, 0, 10);
  EXPECT_EQ(first_->publish(), before + 1);
  EXPECT_EQ(second->snapshot().version(), before);
}

TEST_F(ForestTest, AnAbandonedBatchIsTakenBackInAllTrees) {
  const auto second = add(1);
  insert_some(*first_, 0, 500);
  insert_some(*second, 0, 300);
  first_->publish();
  recycle_all();
  const TreeStats before = first_->stats();
  insert_some(*first_, 500, 400);
  ASSERT_TRUE(second->clear());
  insert_some(*second, 900, 400);
  second->abandon();
  EXPECT_EQ(first_->stats().nodes, before.nodes);
  EXPECT_EQ(first_->publish(), before.version);
  EXPECT_EQ(ids_of(*first_).size(), 500u);
  EXPECT_EQ(ids_of(*second).size(), 300u);
  EXPECT_TRUE(second->snapshot().validate());
}

TEST_F(ForestTest, ATreeWhoseBatchIsAbandonedGivesItsRootBlockToTheNext) {
  auto second = add(1);
  const std::uint32_t chunk = second->root_chunk();
  insert_some(*second, 0, 300);
  first_->abandon();
  Tree<2>::remove(std::move(second));
  first_->reclaim();
  EXPECT_EQ(first_->stats().nodes, 1u);
  const auto third = add(2);
  EXPECT_EQ(third->root_chunk(), chunk);
}

TEST_F(ForestTest, ABatchInWhichATreeComesAndGoesLeavesNothingOfIt) {
  insert_some(*first_, 0, 10);
  auto second = add(1);
  Tree<2>::remove(std::move(second));
  first_->publish();
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, 1u);
  EXPECT_EQ(ids_of(*first_).size(), 10u);
}

TEST_F(ForestTest, AClearedTreeIsEmptyAndGivesItsMemoryBack) {
  auto second = add(1);
  insert_some(*second, 0, 50'000);
  first_->publish();
  recycle_all();
  ASSERT_GT(first_->stats().nodes, 2'048u + 64);  // more than one step retires
  {
    const auto old = second->snapshot();
    ASSERT_TRUE(second->clear());
    EXPECT_EQ(ids_of(*second).size(), 50'000u);
    second->publish();
    EXPECT_EQ(second->snapshot().size(), 0u);
    recycle_all();
    EXPECT_EQ(ids_of(old).size(), 50'000u);
    EXPECT_TRUE(old.validate());
    EXPECT_GT(first_->stats().bytes_held, 0u);
  }
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, 2u);
  EXPECT_EQ(first_->stats().bytes_retired, 0u);
}

TEST_F(ForestTest, AClearedTreeTakesEntriesInTheSameBatch) {
  insert_some(*first_, 0, 3'000);
  first_->publish();
  insert_some(*first_, 3'000, 3'000);
  ASSERT_TRUE(first_->clear());
  insert_some(*first_, 6'000, 40);
  first_->publish();
  EXPECT_EQ(ids_of(*first_).size(), 40u);
  EXPECT_TRUE(first_->snapshot().validate());
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, first_->stats().height == 1 ? 1u : 3u);
}

TEST_F(ForestTest, NodesThatAreClearedWaitForTheirGrace) {
  insert_some(*first_, 0, 3'000);
  first_->publish();
  recycle_all();
  const std::uint64_t recycled = first_->stats().recycled_nodes;
  ASSERT_TRUE(first_->clear());
  first_->publish();
  clock_.advance(kGrace - 1);
  first_->reclaim();
  EXPECT_EQ(first_->stats().recycled_nodes, recycled);
  clock_.advance(1);
  first_->reclaim();
  EXPECT_GT(first_->stats().recycled_nodes, recycled);
}

TEST_F(ForestTest, WhatIsClearedIsRecycledAtOnceWithoutReaders) {
  auto second = add(1);
  insert_some(*second, 0, 150'000);
  first_->publish();
  first_->reclaim_unread();
  const std::uint64_t before = first_->stats().recycled_nodes;
  ASSERT_TRUE(second->clear());
  first_->publish();
  first_->reclaim_unread();
  EXPECT_EQ(first_->stats().nodes, 2u);
  EXPECT_EQ(first_->stats().bytes_retired, 0u);
  EXPECT_GT(first_->stats().recycled_nodes, before + 2'048);
  // And what is retired later is recycled when its own grace is over.
  insert_some(*second, 0, 1'000);
  first_->publish();
  ASSERT_TRUE(second->clear());
  first_->publish();
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, 2u);
}

TEST_F(ForestTest, ARemovedTreeIsFoundByNoRemoteReaderAndGivesAllBack) {
  auto second = add(1);
  insert_some(*second, 0, 5'000);
  first_->publish();
  const RemoteReader reader(slabs_, *second);
  EXPECT_TRUE(reader.root());
  const std::uint32_t chunk = second->root_chunk();
  Tree<2>::remove(std::move(second));
  EXPECT_FALSE(reader.root());
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, 1u);
  const auto third = add(2);
  ASSERT_EQ(third->root_chunk(), chunk);
  first_->publish();
  EXPECT_FALSE(reader.root()) << "there is another tree now";
  EXPECT_TRUE(RemoteReader(slabs_, *third).root());
}

TEST_F(ForestTest, ARootBlockIsUsedAgainOnlyAfterTheGrace) {
  auto second = add(1);
  first_->publish();
  const std::uint32_t chunk = second->root_chunk();
  Tree<2>::remove(std::move(second));
  first_->reclaim();
  clock_.advance(kGrace - 1);
  first_->reclaim();
  const auto third = add(2);
  EXPECT_NE(third->root_chunk(), chunk);
}

TEST_F(ForestTest, ASnapshotOfARemovedTreeLivesOn) {
  auto second = add(1);
  insert_some(*second, 0, 2'000);
  first_->publish();
  auto snapshot = std::optional(second->snapshot());
  Tree<2>::remove(std::move(second));
  insert_some(*first_, 0, 20'000);
  first_->publish();
  recycle_all();
  EXPECT_EQ(ids_of(*snapshot).size(), 2'000u);
  EXPECT_TRUE(snapshot->validate());
  snapshot.reset();
  const std::uint64_t nodes = first_->stats().nodes;
  recycle_all();
  EXPECT_EQ(first_->stats().bytes_retired, 0u);
  EXPECT_EQ(first_->stats().nodes, nodes);
}

TEST_F(ForestTest, AReaderOfATreeThatRestsHoldsNoNodesOfOthers) {
  const auto second = add(1);
  insert_some(*first_, 0, 5'000);
  insert_some(*second, 0, 10);
  first_->publish();
  const auto reader = second->snapshot();
  for (std::uint64_t id = 0; id < 5'000; ++id) {
    ASSERT_TRUE(first_->erase({id, place_of(id)}));
    if (id % 100 == 0) first_->publish();
  }
  first_->publish();
  recycle_all();
  EXPECT_EQ(first_->stats().bytes_held, 0u);
  EXPECT_EQ(first_->stats().bytes_retired, 0u);
}

TEST_F(ForestTest, OneTreeMoreThanTheBudgetHoldsIsRefused) {
  TreeOptions options;
  options.memory_budget_bytes = Tree<2>::kMinimumBudgetBytes + 3 * sizeof(RootBlock<2>);
  const auto small = std::move(*Tree<2>::create(options, slabs_, clock_));
  std::vector<std::unique_ptr<Tree<2>>> more;
  std::optional<Error> refused;
  for (std::uint64_t number = 1; number < 1000 && !refused; ++number) {
    auto tree = small->add_tree(number);
    if (tree) {
      more.push_back(std::move(*tree));
    } else {
      refused = tree.error();
    }
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, ErrorCode::kOutOfMemory);
  EXPECT_GE(more.size(), 1u);
  insert_some(*more.back(), 0, 40);
  EXPECT_EQ(small->publish(), 2u);
  EXPECT_EQ(ids_of(*more.back()).size(), 40u);
}

TEST_F(ForestTest, BulkLoadsOfSeveralTreesInABatchAreAbandonedTogether) {
  const auto second = add(1);
  first_->publish();
  recycle_all();
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 3'000; ++id) entries.push_back({id, place_of(id)});
  const std::uint64_t nodes = first_->stats().nodes;
  ASSERT_TRUE(first_->bulk_load_batch(entries, {.threads = 1}));
  ASSERT_TRUE(second->bulk_load_batch(entries, {.threads = 1}));
  first_->abandon();
  EXPECT_EQ(first_->stats().nodes, nodes);
  ASSERT_TRUE(second->bulk_load(entries, {.threads = 1}));
  EXPECT_EQ(ids_of(*first_).size(), 0u);
  EXPECT_EQ(ids_of(*second).size(), 3'000u);
}

/// The nodes of some trees, copied.
class StoredForest final : public StoredNodes<2> {
 public:
  void add(const Tree<2>& tree) {
    const auto snapshot = tree.snapshot();
    trees.push_back({snapshot.root().ref, {}, tree.number(), tree.root_chunk()});
    copy(snapshot, snapshot.root().ref);
  }
  std::span<const std::byte> find(NodeRef ref) const override {
    const auto found = nodes_.find(ref.word());
    if (found == nodes_.end()) return {};
    return std::as_bytes(std::span(&found->second, 1));
  }

  std::vector<StoredTree> trees;

 private:
  void copy(const Snapshot<2>& snapshot, NodeRef ref) {
    const Node<2>& node = snapshot.node(ref);
    copy_node(nodes_[ref.word()], node);
    for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
      copy(snapshot, node.child(i));
    }
  }
  std::map<std::uint64_t, Node<2>> nodes_;
};

class StoredForestTest : public ForestTest {
 protected:
  StoredForestTest() : second_(add(7)), third_(add(9)) {
    insert_some(*first_, 0, 2'000);
    insert_some(*second_, 5'000, 1'000);
    first_->publish();
    insert_some(*third_, 8'000, 10);
    version_ = first_->publish();
    for (const Tree<2>* tree : {first_.get(), second_.get(), third_.get()}) stored_.add(*tree);
  }
  Result<std::vector<std::unique_ptr<Tree<2>>>> restore() {
    return Tree<2>::restore({.grace = kGrace}, other_slabs_, clock_, stored_.trees, version_,
                            stored_, {.threads = 2});
  }

  std::unique_ptr<Tree<2>> second_;
  std::unique_ptr<Tree<2>> third_;
  Version version_ = 0;
  StoredForest stored_;
  AnonymousSlabs other_slabs_;
};

TEST_F(StoredForestTest, IsRestoredAsItWas) {
  auto restored = restore();
  ASSERT_TRUE(restored) << restored.error().message;
  ASSERT_EQ(restored->size(), 3u);
  const auto& trees = *restored;
  EXPECT_EQ(trees[1]->number(), 7u);
  EXPECT_EQ(trees[1]->root_chunk(), second_->root_chunk());
  EXPECT_EQ(trees[2]->root_chunk(), third_->root_chunk());
  EXPECT_EQ(trees[0]->stats().nodes, first_->stats().nodes);
  EXPECT_EQ(ids_of(*trees[0]), ids_of(*first_));
  EXPECT_EQ(ids_of(*trees[1]), ids_of(*second_));
  EXPECT_EQ(ids_of(*trees[2]), ids_of(*third_));
  EXPECT_EQ(trees[0]->next_version(), version_ + 1);
  insert_some(*trees[1], 0, 3'000);
  insert_some(*trees[2], 0, 3'000);
  EXPECT_EQ(trees[0]->publish(), version_ + 1);
  for (const auto& tree : trees) EXPECT_TRUE(tree->snapshot().validate());
  EXPECT_EQ(ids_of(*trees[0]), ids_of(*first_));
}

TEST_F(StoredForestTest, GoesOnBehindTheVersionPublishedLast) {
  version_ += 5;  // versions of trees that no longer exist
  const auto restored = restore();
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->front()->next_version(), version_ + 1);
}

TEST_F(StoredForestTest, IsRefusedIfARootBlockLiesWhereItCannot) {
  const std::uint32_t good = stored_.trees[1].root_chunk;
  const std::uint32_t used = stored_.trees[0].root.chunk();
  for (const std::uint32_t chunk :
       {1u, kRootChunks<2> - 1, used, used - 1, stored_.trees[2].root_chunk + 1, kChunksPerSlab - 1,
        UINT32_MAX}) {
    stored_.trees[1].root_chunk = chunk;
    const auto restored = restore();
    ASSERT_FALSE(restored) << chunk;
    EXPECT_TRUE(restored.error().code == ErrorCode::kProtocol ||
                restored.error().code == ErrorCode::kOutOfMemory)
        << restored.error().message;
  }
  stored_.trees[1].root_chunk = good;
  EXPECT_TRUE(restore());
}

/// Trees and what they should hold.
struct Modelled {
  std::unique_ptr<Tree<2>> tree;
  std::map<std::uint64_t, Box<2>> entries;    ///< in the batch
  std::map<std::uint64_t, Box<2>> published;  ///< in the version published last
  bool is_published = false;
};

class RandomForestTest : public ForestTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(RandomForestTest, HoldsWhatAModelHolds) {
  Random random(testing_support::seed(GetParam()));
  std::vector<Modelled> trees;
  std::uint64_t number = 0;
  std::uint64_t next_id = 0;
  const auto drop = [&](std::size_t index) {
    Tree<2>::remove(std::move(trees[index].tree));
    trees.erase(trees.begin() + static_cast<std::ptrdiff_t>(index));
  };
  for (int step = 0; step < 6'000; ++step) {
    const std::uint64_t what = random.below(1000);
    if (trees.size() < 2 || (what < 3 && trees.size() < 6)) {
      trees.push_back({add(++number), {}, {}, false});
      continue;
    }
    Modelled& one = trees[random.below(trees.size())];
    if (what < 600) {
      const std::uint64_t id = next_id++;
      ASSERT_TRUE(one.tree->insert({id, place_of(id)}));
      one.entries[id] = place_of(id);
    } else if (what < 900 && !one.entries.empty()) {
      auto found = one.entries.lower_bound(random.below(next_id));
      if (found == one.entries.end()) found = one.entries.begin();
      ASSERT_TRUE(one.tree->erase({found->first, found->second}));
      one.entries.erase(found);
    } else if (what < 905) {
      ASSERT_TRUE(one.tree->clear());
      one.entries.clear();
    } else if (what < 915) {
      first_->abandon();
      for (std::size_t i = trees.size(); i-- > 0;) {
        trees[i].entries = trees[i].published;
        if (!trees[i].is_published) drop(i);
      }
    } else if (what < 960) {
      first_->publish();
      for (Modelled& tree : trees) {
        tree.published = tree.entries;
        tree.is_published = true;
        ASSERT_EQ(tree.tree->snapshot().size(), tree.published.size());
      }
      clock_.advance(kGrace / 3);
    } else if (what < 963) {
      // As a server does: with nothing in the batch.
      first_->publish();
      for (Modelled& tree : trees) {
        tree.published = tree.entries;
        tree.is_published = true;
      }
      drop(random.below(trees.size()));
    }
  }
  first_->publish();
  for (const Modelled& tree : trees) {
    ASSERT_TRUE(tree.tree->snapshot().validate());
    std::vector<std::uint64_t> expected;
    for (const auto& [id, box] : tree.entries) expected.push_back(id);
    ASSERT_EQ(ids_of(*tree.tree), expected);
  }
  while (!trees.empty()) drop(0);
  recycle_all();
  EXPECT_EQ(first_->stats().nodes, 1u);
  EXPECT_EQ(first_->stats().bytes_retired, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomForestTest, testing::Range<std::uint64_t>(0, 8));

}  // namespace
}  // namespace silurus::rtree
