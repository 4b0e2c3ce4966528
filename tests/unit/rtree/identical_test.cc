// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "common/random.h"
#include "rtree/split.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

// Entries of the same box, as trackers without a fix report, are found by their ids.

namespace silurus::rtree {
namespace {

using testing_support::seed;

template <int D>
Box<D> point(double at) {
  Box<D> box;
  box.min.fill(at);
  box.max.fill(at);
  return box;
}

/// Entries have even ids from 4 on, each another one, so that odd ones are absent.
template <int D>
class Crowd {
 public:
  explicit Crowd(std::uint64_t seed) : random(seed) {
    tree = std::move(*Tree<D>::create({}, slabs_, clock_));
  }

  /// box_of(random): of an entry.
  template <typename BoxOf>
  void draw(std::size_t count, BoxOf&& box_of) {
    for (std::size_t i = 1; i <= count; ++i) {
      entries.push_back({4 * i, box_of(random)});
      unused_ids_.push_back(4 * i + 2);
    }
  }
  void shuffle() {
    for (std::size_t i = entries.size(); i > 1; --i) {
      std::swap(entries[i - 1], entries[random.below(i)]);
    }
  }
  void load() { ASSERT_TRUE(tree->bulk_load(entries, {.threads = 1})); }
  void insert() {
    for (const Entry<D>& entry : entries) {
      ASSERT_TRUE(tree->insert(entry));
      publish_now_and_then();
    }
    tree->publish();
  }
  /// Gives that many entries other ids.
  void churn(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Entry<D>& entry = entries[random.below(entries.size())];
      ASSERT_TRUE(tree->erase(entry)) << "id " << entry.id;
      std::swap(entry.id, unused_ids_[random.below(unused_ids_.size())]);
      ASSERT_TRUE(tree->insert(entry));
      publish_now_and_then();
    }
    tree->publish();
  }
  /// Leaves `count` entries.
  void erase_down_to(std::size_t count) {
    shuffle();
    while (entries.size() > count) {
      ASSERT_TRUE(tree->erase(entries.back())) << "id " << entries.back().id;
      entries.pop_back();
      publish_now_and_then();
    }
    tree->publish();
  }

  std::uint32_t nodes_looked_at(const Entry<D>& entry) {
    std::uint32_t left = UINT32_MAX;
    EXPECT_TRUE(tree->look_for(entry, left));
    return UINT32_MAX - left;
  }
  /// The most nodes that a search for an entry at that place looks at, present or absent.
  std::uint32_t most_nodes(const Box<D>& place) {
    std::uint32_t most = 0;
    constexpr int kLooks = 2000;
    for (int i = 0; i < kLooks; ++i) {
      const Entry<D>& entry = entries[random.below(entries.size())];
      if (entry.box == place) most = std::max(most, nodes_looked_at(entry));
      most = std::max(most, nodes_looked_at({entry.id - 1, place}));
    }
    return most;
  }
  /// The children of one node of each level, and the root.
  std::uint32_t nodes_beside_one_path() const {
    return 1 + (tree->stats().height - 1) * kInnerFanout<D>;
  }
  void expect_valid() const {
    const Status valid = tree->snapshot().validate();
    EXPECT_TRUE(valid) << valid.error().message;
    EXPECT_EQ(tree->snapshot().size(), entries.size());
  }
  /// No two nodes of a level have ranges of ids that overlap.
  void expect_ranges_apart() const {
    const auto snapshot = tree->snapshot();
    std::vector<NodeRef> level{snapshot.root().ref};
    while (!level.empty()) {
      std::vector<NodeRef> next;
      std::vector<IdRange> ranges;
      for (const NodeRef ref : level) {
        const Node<D>& node = snapshot.node(ref);
        ranges.push_back(node.ids());
        if (node.is_leaf()) continue;
        for (std::uint32_t i = 0; i < node.count(); ++i) next.push_back(node.child(i));
      }
      std::sort(ranges.begin(), ranges.end(),
                [](const IdRange& a, const IdRange& b) { return a.least < b.least; });
      for (std::size_t i = 1; i < ranges.size(); ++i) {
        ASSERT_LT(ranges[i - 1].greatest, ranges[i].least) << ranges.size() << " nodes";
      }
      level = std::move(next);
    }
  }
  void expect_found_by_id(const Box<D>& place) {
    expect_valid();
    expect_ranges_apart();
    EXPECT_LE(most_nodes(place), nodes_beside_one_path());
    EXPECT_EQ(nodes_looked_at({1, place}), 1u) << "below all ids";
    EXPECT_EQ(nodes_looked_at({UINT64_MAX, place}), 1u) << "above all ids";
  }
  /// The same where nodes with other entries hold the place, too.
  void expect_found_among_others(const Box<D>& place) {
    expect_valid();
    EXPECT_LE(most_nodes(place), 2 * nodes_beside_one_path());
  }

  Random random;
  std::vector<Entry<D>> entries;
  std::unique_ptr<Tree<D>> tree;

 private:
  void publish_now_and_then() {
    if (++changes_ % 1000 == 0) tree->publish();
  }

  AnonymousSlabs slabs_;
  ManualClock clock_;
  std::vector<std::uint64_t> unused_ids_;
  std::uint64_t changes_ = 0;
};

constexpr std::size_t kMany = 200'000;
constexpr std::size_t kFewer = 30'000;

template <int D>
void find_after_bulk_load() {
  Crowd<D> crowd(seed(1));
  crowd.draw(kMany, [](Random&) { return point<D>(0); });
  crowd.shuffle();
  crowd.load();
  crowd.expect_found_by_id(point<D>(0));
  crowd.churn(kFewer);
  crowd.expect_found_by_id(point<D>(0));
}
TEST(IdenticalBoxes, AreFoundByTheirIdsAfterABulkLoadIn2D) { find_after_bulk_load<2>(); }
TEST(IdenticalBoxes, AreFoundByTheirIdsAfterABulkLoadIn3D) { find_after_bulk_load<3>(); }

TEST(IdenticalBoxes, AreFoundByTheirIdsAfterInsertsInTheirOrder) {
  Crowd<2> crowd(seed(2));
  crowd.draw(kMany, [](Random&) { return point<2>(0); });
  crowd.insert();
  crowd.expect_found_by_id(point<2>(0));
}

TEST(IdenticalBoxes, AreFoundByTheirIdsAfterInsertsInAnyOrder) {
  Crowd<2> crowd(seed(3));
  crowd.draw(kMany, [](Random&) { return point<2>(0); });
  crowd.shuffle();
  crowd.insert();
  crowd.expect_found_by_id(point<2>(0));
}

TEST(IdenticalBoxes, AreFoundByTheirIdsAfterManyChanges) {
  Crowd<2> crowd(seed(4));
  crowd.draw(kFewer, [](Random&) { return Box<2>{{0, 0}, {1, 1}}; });
  crowd.shuffle();
  crowd.insert();
  for (int round = 0; round < 3; ++round) {
    crowd.churn(kFewer);
    crowd.expect_found_by_id({{0, 0}, {1, 1}});
  }
}

TEST(IdenticalBoxes, AreFoundByTheirIdsAfterErasures) {
  Crowd<2> crowd(seed(5));
  crowd.draw(kFewer, [](Random&) { return point<2>(0); });
  crowd.shuffle();
  crowd.insert();
  for (const std::size_t left : {kFewer / 2, kFewer / 8, kFewer / 64}) {
    crowd.erase_down_to(left);
    crowd.expect_found_by_id(point<2>(0));
  }
}

TEST(IdenticalBoxes, AreFoundByTheirIdsAfterACompaction) {
  Crowd<2> crowd(seed(6));
  crowd.draw(kFewer, [](Random&) { return point<2>(0); });
  crowd.shuffle();
  crowd.insert();
  crowd.erase_down_to(kFewer / 2);
  const std::uint64_t nodes = crowd.tree->stats().nodes;
  for (std::uint64_t cursor = 0; cursor != kCompacted;) {
    const auto step = crowd.tree->compact(cursor, 0);
    ASSERT_TRUE(step);
    cursor = step->next;
    crowd.tree->publish();
  }
  EXPECT_LT(crowd.tree->stats().nodes, nodes);
  crowd.expect_found_by_id(point<2>(0));
  crowd.churn(kFewer / 2);
  crowd.expect_found_by_id(point<2>(0));
}

/// As a queue: the oldest go, newer ones come.
TEST(IdenticalBoxes, AreFoundByTheirIdsWhileTheirIdsGrow) {
  Crowd<2> crowd(seed(7));
  crowd.draw(kFewer / 4, [](Random&) { return point<2>(0); });
  crowd.insert();
  std::uint64_t next = 2 * crowd.entries.back().id;
  for (int round = 0; round < 4; ++round) {
    for (Entry<2>& entry : crowd.entries) {
      ASSERT_TRUE(crowd.tree->erase(entry));
      entry.id = next += 2;
      ASSERT_TRUE(crowd.tree->insert(entry));
    }
    crowd.tree->publish();
  }
  crowd.expect_found_by_id(point<2>(0));
}

/// Half of all at one place, each of the others anywhere.
Box<2> spot_or_anywhere(Random& random) {
  if (random.below(2) == 0) return point<2>(0);
  const double x = random.uniform() - 0.5;
  const double y = random.uniform() - 0.5;
  return {{x, y}, {x + 0.001, y + 0.001}};
}

TEST(IdenticalBoxes, AreFoundAmongOthersAfterABulkLoad) {
  Crowd<2> crowd(seed(8));
  crowd.draw(kMany, spot_or_anywhere);
  crowd.load();
  crowd.expect_found_among_others(point<2>(0));
  crowd.churn(kFewer);
  crowd.expect_found_among_others(point<2>(0));
}

TEST(IdenticalBoxes, AreFoundAmongOthersAfterInserts) {
  Crowd<2> crowd(seed(9));
  crowd.draw(kMany, spot_or_anywhere);
  crowd.shuffle();
  crowd.insert();
  crowd.expect_found_among_others(point<2>(0));
}

TEST(IdenticalBoxes, AreFoundAtEachOfTwoPlaces) {
  for (const double other : {1.0, 1e-9}) {
    Crowd<2> crowd(seed(10));
    crowd.draw(kFewer, [&](Random& random) { return point<2>(random.below(2) == 0 ? 0 : other); });
    crowd.shuffle();
    crowd.insert();
    crowd.churn(kFewer);
    crowd.expect_found_among_others(point<2>(0));
    crowd.expect_found_among_others(point<2>(other));
  }
}

/// All of whose areas are nothing.
TEST(IdenticalBoxes, AreFoundAmongOthersOnALine) {
  Crowd<2> crowd(seed(11));
  crowd.draw(kFewer, [](Random& random) {
    const double y = random.below(2) == 0 ? 0 : random.uniform() - 0.5;
    return Box<2>{{0, y}, {0, y}};
  });
  crowd.shuffle();
  crowd.insert();
  crowd.expect_found_among_others(point<2>(0));
}

TEST(IdenticalBoxes, FillTheirNodesWhenTheyComeInOrder) {
  for (const bool is_descending : {false, true}) {
    Crowd<2> crowd(seed(12));
    crowd.draw(kFewer, [](Random&) { return point<2>(0); });
    if (is_descending) std::reverse(crowd.entries.begin(), crowd.entries.end());
    crowd.insert();
    EXPECT_LT(static_cast<double>(crowd.tree->stats().nodes), kFewer / (0.6 * kLeafFanout<2>));
  }
}

TEST(IdenticalBoxes, AreSplitByTheirIds) {
  std::vector<SplitItem<2>> items;
  for (std::uint64_t i = 0; i < 33; ++i) {
    const std::uint64_t id = i * 7 % 33;
    items.push_back({point<2>(5), {id, id}, 0});
  }
  ASSERT_EQ(split_items<2>(items, 12, 32, false), 16u);
  for (std::uint64_t i = 0; i < 33; ++i) EXPECT_EQ(items[i].ids.least, i);
}

TEST(IdenticalBoxes, LeaveRoomWhereANewOneHasComeAtAnEnd) {
  const auto size_of_first = [](std::uint64_t new_id) {
    std::vector<SplitItem<2>> items;
    for (std::uint64_t id = 100; id < 132; ++id) items.push_back({point<2>(5), {id, id}, 0});
    items.push_back({point<2>(5), {new_id, new_id}, 0});
    return split_items<2>(items, 12, 32, true);
  };
  EXPECT_EQ(size_of_first(200), 21u);
  EXPECT_EQ(size_of_first(0), 12u);
  EXPECT_EQ(size_of_first(115), 16u);
}

TEST(SplitItems, CutsALineWhereTheMarginsAreLeast) {
  std::vector<SplitItem<2>> items;
  for (std::uint64_t i = 0; i < 33; ++i) {
    const double y = i < 19 ? 0 : 1;
    items.push_back({{{0, y}, {0, y}}, {i, i}, 0});
  }
  EXPECT_EQ(split_items<2>(items, 12, 32, false), 19u);
}

/// A stored tree whose inner nodes are changed before it is restored.
class StoredTree final : public StoredNodes<2> {
 public:
  template <typename Change>
  StoredTree(const Tree<2>& tree, Change&& change) : snapshot_root_(tree.snapshot().root().ref) {
    const auto snapshot = tree.snapshot();
    std::vector<NodeRef> rest{snapshot_root_};
    while (!rest.empty()) {
      const Node<2>& node = snapshot.node(rest.back());
      Node<2>& copy = nodes_[rest.back().word()];
      rest.pop_back();
      copy_node(copy, node);
      if (node.is_leaf()) continue;
      change(copy);
      copy.header.checksum = node_checksum(copy);
      for (std::uint32_t i = 0; i < node.count(); ++i) rest.push_back(node.child(i));
    }
  }
  std::span<const std::byte> find(NodeRef ref) const override {
    const auto found = nodes_.find(ref.word());
    return found == nodes_.end() ? std::span<const std::byte>()
                                 : std::as_bytes(std::span(&found->second, 1));
  }
  NodeRef root() const { return snapshot_root_; }

 private:
  NodeRef snapshot_root_;
  std::map<std::uint64_t, Node<2>> nodes_;
};

class RangesOfIds : public testing::Test {
 protected:
  RangesOfIds() : crowd_(seed(13)) {
    crowd_.draw(20'000, spot_or_anywhere);
    crowd_.shuffle();
    crowd_.insert();
  }
  template <typename Change>
  void restore_with(Change&& change) {
    const StoredTree stored(*crowd_.tree, change);
    auto restored =
        Tree<2>::restore({}, other_slabs_, clock_, stored.root(), stored, {.threads = 1});
    ASSERT_TRUE(restored);
    crowd_.tree = std::move(*restored);
  }

  AnonymousSlabs other_slabs_;
  ManualClock clock_;
  Crowd<2> crowd_;
};

TEST_F(RangesOfIds, AreKeptInAStoredTree) {
  restore_with([](Node<2>&) {});
  crowd_.expect_found_among_others(point<2>(0));
}

TEST_F(RangesOfIds, AreUnknownInATreeThatWasStoredWithoutThem) {
  restore_with([](Node<2>& node) {
    node.inner.ids = {};
    node.inner.ids_birth = 0;
  });
  crowd_.expect_valid();
  crowd_.churn(20'000);  // finds everything
  crowd_.expect_valid();
  crowd_.erase_down_to(0);
  crowd_.expect_valid();
}

/// It copies a node, and what it does not know of with it, and inserts entries of other ids.
TEST_F(RangesOfIds, AreNotBelievedWhereAnOlderReleaseHasChangedTheNode) {
  restore_with([](Node<2>& node) {
    node.inner.ids = {1, 1};
    node.inner.ids_birth = node.birth() - 1;
  });
  crowd_.expect_valid();
  crowd_.churn(20'000);
  crowd_.expect_valid();
}

TEST_F(RangesOfIds, AreCheckedByValidate) {
  std::uint64_t changed = 0;
  restore_with([&](Node<2>& node) {
    if (node.level() == 1 && changed++ == 0)
      node.set_ids({node.ids().least + 1, node.ids().greatest});
  });
  ASSERT_GT(changed, 0u);
  const Status valid = crowd_.tree->snapshot().validate();
  ASSERT_FALSE(valid);
  EXPECT_NE(valid.error().message.find("has ids beyond"), std::string::npos)
      << valid.error().message;
}

TEST(RangeOfIds, IsOfAllIdsUntilItIsSetForTheBirthOfTheNode) {
  const auto node = std::make_unique<Node<2>>();
  for (const std::uint32_t level : {1u, 2u}) {
    node->reset(7, level);
    EXPECT_EQ(node->ids(), kAllIds);
  }
  node->set_ids({3, 5});
  EXPECT_EQ(node->ids(), (IdRange{3, 5}));
  node->extend_ids({4, 9});
  EXPECT_EQ(node->ids(), (IdRange{3, 9}));
  node->header.birth = 8;
  EXPECT_EQ(node->ids(), kAllIds);
}

}  // namespace
}  // namespace silurus::rtree
