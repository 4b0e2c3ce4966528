// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "common/check.h"
#include "common/random.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

/// The nodes of a snapshot, copied.
class CopiedNodes final : public StoredNodes<2> {
 public:
  explicit CopiedNodes(const Snapshot<2>& snapshot) { copy(snapshot, snapshot.root().ref); }

  std::span<const std::byte> find(NodeRef ref) const override {
    const auto found = nodes.find(ref.word());
    if (found == nodes.end()) return {};
    return std::as_bytes(std::span(&found->second, 1));
  }

  std::map<std::uint64_t, Node<2>> nodes;

 private:
  void copy(const Snapshot<2>& snapshot, NodeRef ref) {
    const Node<2>& node = snapshot.node(ref);
    copy_node(nodes[ref.word()], node);
    if (node.is_leaf()) return;
    for (std::uint32_t i = 0; i < node.count(); ++i) copy(snapshot, node.child(i));
  }
};

class RestoreTest : public testing::Test {
 protected:
  RestoreTest() {
    tree_ = std::move(*Tree<2>::create({}, slabs_, clock_));
    for (std::uint64_t id = 0; id < 20'000; ++id) insert(*tree_, id);
    for (std::uint64_t id = 0; id < 20'000; id += 3) {
      EXPECT_TRUE(tree_->erase({id, box_of(id)}));
      if (id % 100 == 0) tree_->publish();
    }
    tree_->publish();
  }

  static Box<2> box_of(std::uint64_t id) {
    Random random(id);
    const double x = random.uniform();
    const double y = random.uniform();
    return {{x, y}, {x + 0.01 * random.uniform(), y + 0.01 * random.uniform()}};
  }
  static void insert(Tree<2>& tree, std::uint64_t id) {
    ASSERT_TRUE(tree.insert({id, box_of(id)}));
  }
  static std::vector<std::uint64_t> all_ids(const Tree<2>& tree) {
    RangeResult<2> found;
    EXPECT_TRUE(tree.snapshot().range({.window = {{-1, -1}, {3, 3}}}, found));
    std::sort(found.ids.begin(), found.ids.end());
    return found.ids;
  }
  Result<std::unique_ptr<Tree<2>>> restore(const CopiedNodes& nodes, TreeOptions options = {}) {
    return Tree<2>::restore(options, other_slabs_, clock_, tree_->snapshot().root().ref, nodes,
                            {.threads = 2});
  }

  ManualClock clock_;
  AnonymousSlabs slabs_;
  AnonymousSlabs other_slabs_;
  std::unique_ptr<Tree<2>> tree_;
};

TEST_F(RestoreTest, GivesTheTreeThatWasStored) {
  const auto restored = restore(CopiedNodes(tree_->snapshot()));
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ((*restored)->snapshot().version(), tree_->snapshot().version());
  EXPECT_EQ((*restored)->snapshot().root().ref, tree_->snapshot().root().ref);
  EXPECT_EQ((*restored)->stats().nodes, tree_->stats().nodes);
  EXPECT_TRUE((*restored)->snapshot().validate());
  EXPECT_EQ(all_ids(**restored), all_ids(*tree_));
}

TEST_F(RestoreTest, GivesATreeThatCanBeChanged) {
  const auto restored = restore(CopiedNodes(tree_->snapshot()));
  ASSERT_TRUE(restored);
  for (Tree<2>* tree : {tree_.get(), restored->get()}) {
    for (std::uint64_t id = 0; id < 20'000; id += 3) insert(*tree, id);
    for (std::uint64_t id = 1; id < 20'000; id += 3) {
      ASSERT_TRUE(tree->erase({id, box_of(id)}));
      if (id % 50 == 1) tree->publish();
    }
    tree->publish();
  }
  EXPECT_TRUE((*restored)->snapshot().validate());
  EXPECT_EQ(all_ids(**restored), all_ids(*tree_));
}

TEST_F(RestoreTest, RefusesANodeWithAnyByteChanged) {
  CopiedNodes nodes(tree_->snapshot());
  auto& node = std::next(nodes.nodes.begin(), 77)->second;
  for (std::size_t at = 0; at < node_bytes<2>(node.level()); at += 61) {
    auto* byte = reinterpret_cast<unsigned char*>(&node) + at;
    *byte ^= 0x10;
    const auto restored = restore(nodes);
    ASSERT_FALSE(restored) << "byte " << at;
    EXPECT_EQ(restored.error().code, ErrorCode::kProtocol);
    *byte ^= 0x10;
  }
  EXPECT_TRUE(restore(nodes));
}

TEST_F(RestoreTest, RefusesDamageOfTheLastOfManyLeaves) {
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 100'000; ++id) entries.push_back({id, box_of(id)});
  tree_ = std::move(*Tree<2>::create({}, slabs_, clock_));
  ASSERT_TRUE(tree_->bulk_load(entries, {.threads = 1}));
  CopiedNodes nodes(tree_->snapshot());
  ASSERT_GT(nodes.nodes.size(), 2'048u);
  NodeRef last = tree_->snapshot().root().ref;
  for (;;) {
    const Node<2>& node = nodes.nodes.at(last.word());
    if (node.is_leaf()) break;
    last = node.child(node.count() - 1);
  }
  auto* byte = reinterpret_cast<unsigned char*>(&nodes.nodes.at(last.word())) + 100;
  *byte ^= 1;
  const auto restored = restore(nodes);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kProtocol);
  *byte ^= 1;
  EXPECT_TRUE(restore(nodes));
}

TEST_F(RestoreTest, ALeafWhoseBoxIsNotOfNumbersIsFoundByValidation) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    CopiedNodes nodes(tree_->snapshot());
    const auto leaf =
        std::ranges::find_if(nodes.nodes, [](const auto& one) { return one.second.is_leaf(); });
    leaf->second.bounds.min[1] = bad;
    leaf->second.header.checksum = node_checksum(leaf->second);
    const auto restored = restore(nodes);
    ASSERT_TRUE(restored);
    const Status valid = (*restored)->snapshot().validate();
    ASSERT_FALSE(valid);
    EXPECT_EQ(valid.error().code, ErrorCode::kProtocol);
  }
}

TEST_F(RestoreTest, RefusesATreeWithANodeMissing) {
  CopiedNodes nodes(tree_->snapshot());
  nodes.nodes.erase(std::next(nodes.nodes.begin(), 33));
  EXPECT_FALSE(restore(nodes));
}

TEST_F(RestoreTest, RefusesATreeInWhichANodeHasTwoPlaces) {
  const CopiedNodes nodes(tree_->snapshot());
  const std::uint32_t height = tree_->stats().height;
  ASSERT_GE(height, 2u);
  for (std::uint32_t level = 1; level < height; ++level) {
    CopiedNodes twice = nodes;
    const auto parent = std::find_if(twice.nodes.begin(), twice.nodes.end(),
                                     [&](const auto& one) { return one.second.level() == level; });
    ASSERT_NE(parent, twice.nodes.end());
    parent->second.inner.children[1] = parent->second.inner.children[0];
    parent->second.header.checksum = node_checksum(parent->second);
    const auto restored = restore(twice);
    ASSERT_FALSE(restored) << "level " << level;
    EXPECT_EQ(restored.error().code, ErrorCode::kProtocol);
    EXPECT_NE(restored.error().message.find("is named twice"), std::string::npos);
  }
}

/// A tree of three levels at least, of whose nodes some were changed by a stranger.
class StrangeTreeTest : public RestoreTest {
 protected:
  StrangeTreeTest() : nodes_(tree_->snapshot()) {
    SILURUS_CHECK(tree_->stats().height >= 3);
    root_ = &nodes_.nodes.at(tree_->snapshot().root().ref.word());
  }
  /// Has a child of the root lie elsewhere.
  void move(std::uint32_t index, std::uint32_t chunk) {
    const NodeRef from = root_->child(index);
    const NodeRef to(chunk, from.birth());
    copy_node(nodes_.nodes[to.word()], nodes_.nodes.at(from.word()));
    root_->inner.children[index] = to.word();
    root_->header.checksum = node_checksum(*root_);
  }
  void expect_refused(const char* why) {
    const auto restored = restore(nodes_);
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code, ErrorCode::kProtocol);
    EXPECT_NE(restored.error().message.find(why), std::string::npos) << restored.error().message;
  }

  CopiedNodes nodes_;
  Node<2>* root_;
};

TEST_F(StrangeTreeTest, IsTakenIfItsNodesLieElsewhereSideBySide) {
  const std::uint32_t free = 2 * kChunksPerSlab;
  move(0, free);
  move(1, free + kInnerChunks<2>);
  const auto restored = restore(nodes_);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_TRUE((*restored)->snapshot().validate());
  EXPECT_EQ(all_ids(**restored), all_ids(*tree_));
}

TEST_F(StrangeTreeTest, IsRefusedIfTwoInnerNodesShareAChunk) {
  if (kInnerChunks<2> == 1) GTEST_SKIP() << "inner nodes of this build take one chunk";
  const std::uint32_t free = 2 * kChunksPerSlab;
  move(0, free);
  move(1, free + kInnerChunks<2> - 1);
  expect_refused("is named twice");
}

TEST_F(StrangeTreeTest, IsRefusedIfALeafLiesInAnInnerNode) {
  if (kInnerChunks<2> == 1) GTEST_SKIP() << "inner nodes of this build take one chunk";
  Node<2>* parent = root_;
  while (parent->level() > 1) parent = &nodes_.nodes.at(parent->child(0).word());
  move(1, parent->child(0).chunk() - kInnerChunks<2> + 1);
  expect_refused("is named twice");
}

TEST_F(StrangeTreeTest, IsRefusedIfAnInnerNodeLiesInTwoSlabs) {
  if (kInnerChunks<2> == 1) GTEST_SKIP() << "inner nodes of this build take one chunk";
  move(0, 2 * kChunksPerSlab - 1);
  expect_refused("is missing or damaged");
}

TEST_F(StrangeTreeTest, IsRefusedIfANodeIsOfAnotherLevelThanItsParentSays) {
  Node<2>& child = nodes_.nodes.at(root_->child(0).word());
  for (const std::uint32_t level : {root_->level(), root_->level() - 2}) {
    const std::uint32_t before = std::exchange(child.header.level, level);
    child.header.checksum = node_checksum(child);
    expect_refused("is missing or damaged");
    child.header.level = before;
  }
}

TEST_F(StrangeTreeTest, IsRefusedIfItsRootIsOfNoLevelThatThereIs) {
  for (const std::uint32_t level : {kMaxLevel + 1, kAnyLevel, 0u}) {
    const std::uint32_t before = std::exchange(root_->header.level, level);
    root_->header.checksum = level == kAnyLevel ? 1 : node_checksum(*root_);
    expect_refused("is missing or damaged");
    root_->header.level = before;
  }
}

TEST_F(RestoreTest, SaysThatTheBudgetIsTooSmall) {
  const auto restored = restore(CopiedNodes(tree_->snapshot()),
                                {.memory_budget_bytes = Tree<2>::kMinimumBudgetBytes});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kOutOfMemory);
}

TEST_F(RestoreTest, SkipsVersionsInOneBatch) {
  const Version before = tree_->snapshot().version();
  tree_->skip_to(before + 10);
  insert(*tree_, 1'000'000);
  EXPECT_EQ(tree_->publish(), before + 10);
  EXPECT_EQ(tree_->snapshot().version(), before + 10);
  insert(*tree_, 1'000'001);
  EXPECT_EQ(tree_->publish(), before + 11);
  EXPECT_TRUE(tree_->snapshot().validate());
}

TEST_F(RestoreTest, ShowsABulkLoadBeforeItIsPublished) {
  AnonymousSlabs slabs;
  auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
  ASSERT_TRUE(tree->bulk_load_batch({{1, box_of(1)}, {2, box_of(2)}}, {}));
  const WantedNode root = tree->seal();
  EXPECT_EQ(tree->batch_node(root.ref).header.entries, 2u);
  EXPECT_EQ(tree->batch_node(root.ref).birth(), tree->next_version());
  EXPECT_EQ(tree->snapshot().size(), 0u);
  tree->publish();
  EXPECT_EQ(tree->snapshot().size(), 2u);
}

TEST_F(RestoreTest, TakesBackABatch) {
  const auto before = all_ids(*tree_);
  const TreeStats stats = tree_->stats();
  for (int again = 0; again < 20; ++again) {
    for (std::uint64_t id = 100'000; id < 101'000; ++id) insert(*tree_, id);
    for (std::uint64_t id = 1; id < 3000; id += 3) ASSERT_TRUE(tree_->erase({id, box_of(id)}));
    // Erases entries that were born in the batch, too.
    for (std::uint64_t id = 100'000; id < 101'000; ++id) {
      ASSERT_TRUE(tree_->erase({id, box_of(id)}));
    }
    if (again % 2 == 0) tree_->seal();
    tree_->abandon();
    EXPECT_EQ(tree_->snapshot().version(), stats.version);
    EXPECT_EQ(tree_->next_version(), stats.version + 1);
    EXPECT_EQ(all_ids(*tree_), before);
    EXPECT_EQ(tree_->stats().nodes, stats.nodes) << "no node is lost";
    EXPECT_EQ(tree_->stats().bytes_retired, stats.bytes_retired);
  }
  insert(*tree_, 200'000);
  EXPECT_EQ(tree_->publish(), stats.version + 1);
  EXPECT_EQ(all_ids(*tree_).size(), before.size() + 1);
  EXPECT_TRUE(tree_->snapshot().validate());
}

TEST_F(RestoreTest, RecyclesOnlyWhatIsRetiredAfterABatchIsTakenBack) {
  for (std::uint64_t id = 1; id < 9000; id += 3) ASSERT_TRUE(tree_->erase({id, box_of(id)}));
  tree_->abandon();
  std::vector<std::uint64_t> expected;
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    if (id % 3 == 2 || (id % 3 == 1 && id >= 9000)) expected.push_back(id);
  }
  for (std::uint64_t i = 0; i < 3000; ++i) {
    insert(*tree_, 100'000 + i);
    ASSERT_TRUE(tree_->erase({3 * i + 1, box_of(3 * i + 1)})) << i;
    tree_->publish();
    expected.push_back(100'000 + i);
  }
  const Status valid = tree_->snapshot().validate();
  EXPECT_TRUE(valid) << valid.error().message;
  EXPECT_EQ(all_ids(*tree_), expected);
  EXPECT_EQ(tree_->stats().nodes, CopiedNodes(tree_->snapshot()).nodes.size());
  EXPECT_EQ(tree_->stats().bytes_retired, 0u);
}

TEST_F(RestoreTest, FindsAnEntryOfTheOldTreeThatWasLookedForInABatchTakenBack) {
  const auto [gone, looked_for] = [this] {
    const auto snapshot = tree_->snapshot();
    NodeRef leaf = snapshot.root().ref;
    while (!snapshot.node(leaf).is_leaf()) leaf = snapshot.node(leaf).child(0);
    return std::pair(snapshot.node(leaf).entry(0), snapshot.node(leaf).entry(1));
  }();
  auto expected = all_ids(*tree_);
  std::erase(expected, looked_for.id);
  ASSERT_TRUE(tree_->erase(gone));
  std::uint32_t nodes = UINT32_MAX;
  ASSERT_TRUE(tree_->look_for(looked_for, nodes));
  tree_->abandon();
  ASSERT_TRUE(tree_->erase(looked_for));
  tree_->publish();
  const Status valid = tree_->snapshot().validate();
  EXPECT_TRUE(valid) << valid.error().message;
  EXPECT_EQ(all_ids(*tree_), expected);
}

/// Entries of a leaf change places when they are grouped at the end of a batch.
TEST_F(RestoreTest, ErasesTheEntryThatWasLookedForBeforeTheBatchWasPublished) {
  auto expected = all_ids(*tree_);
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t id = 200'000 + static_cast<std::uint64_t>(round);
    insert(*tree_, id);
    expected.push_back(id);
    std::optional<Entry<2>> wanted;
    {
      const auto snapshot = tree_->snapshot();
      NodeRef leaf = snapshot.root().ref;
      for (int step = round; !snapshot.node(leaf).is_leaf(); ++step) {
        const Node<2>& inner = snapshot.node(leaf);
        leaf = inner.child(static_cast<std::uint32_t>(step) % inner.count());
      }
      const Node<2>& node = snapshot.node(leaf);
      wanted = node.entry(static_cast<std::uint32_t>(round) % node.count());
    }
    // Something else in that leaf, so that it is grouped anew.
    ASSERT_TRUE(tree_->insert({300'000 + id, wanted->box}));
    expected.push_back(300'000 + id);
    std::uint32_t nodes = UINT32_MAX;
    ASSERT_TRUE(tree_->look_for(*wanted, nodes));
    tree_->publish();
    ASSERT_TRUE(tree_->erase(*wanted));
    tree_->publish();
    std::erase(expected, wanted->id);
  }
  std::ranges::sort(expected);
  auto left = all_ids(*tree_);
  std::ranges::sort(left);
  EXPECT_EQ(left, expected);
}

TEST_F(RestoreTest, SealsABatchWithTheChecksumsOfItsNodes) {
  for (std::uint64_t id = 100'000; id < 101'000; ++id) insert(*tree_, id);
  const WantedNode root = tree_->seal();
  std::vector<NodeRef> rest{root.ref};
  std::size_t of_the_batch = 0;
  while (!rest.empty()) {
    const Node<2>& node = tree_->batch_node(rest.back());
    rest.pop_back();
    EXPECT_EQ(node.header.checksum, node_checksum(node)) << "level " << node.level();
    of_the_batch += node.birth() == tree_->next_version() ? 1 : 0;
    for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
      rest.push_back(node.child(i));
    }
  }
  EXPECT_GT(of_the_batch, 100u);
}

TEST_F(RestoreTest, TakesBackABulkLoadAndHasItsRoomForAnother) {
  AnonymousSlabs slabs;
  const std::uint64_t budget = 20'000 * 100;
  auto tree = std::move(*Tree<2>::create({.memory_budget_bytes = budget}, slabs, clock_));
  std::vector<Entry<2>> entries;  // entries for more than half of the budget
  for (std::uint64_t id = 0; id < 20'000; ++id) entries.push_back({id, box_of(id)});
  for (int again = 0; again < 3; ++again) {
    const Status loaded = tree->bulk_load_batch(entries, {});
    ASSERT_TRUE(loaded) << loaded.error().message;
    tree->seal();
    tree->abandon();
    EXPECT_EQ(tree->snapshot().size(), 0u);
    EXPECT_EQ(tree->stats().nodes, 1u);
  }
  ASSERT_TRUE(tree->bulk_load_batch(entries, {}));
  tree->publish();
  EXPECT_EQ(tree->snapshot().size(), entries.size());
  EXPECT_TRUE(tree->snapshot().validate());
}

}  // namespace
}  // namespace silurus::rtree
