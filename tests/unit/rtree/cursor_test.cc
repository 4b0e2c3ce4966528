// SPDX-License-Identifier: Apache-2.0

#include "rtree/cursor.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <vector>

#include "rtree/tree.h"
#include "tests/model/rtree/model.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

/// Copies of all nodes of a tree, by name: a source of nodes that has never seen an arena.
template <int D>
class NodeMap {
 public:
  explicit NodeMap(const Snapshot<D>& snapshot) : root(snapshot.root()) { add(snapshot, root); }
  const Node<D>& at(WantedNode wanted) const {
    const Node<D>& node = nodes_.at(wanted.ref);
    EXPECT_TRUE(wanted.level == node.level() || wanted.level == kAnyLevel);
    return node;
  }
  WantedNode root;

 private:
  void add(const Snapshot<D>& snapshot, WantedNode wanted) {
    const Node<D>& node = snapshot.node(wanted.ref);
    nodes_[wanted.ref] = node;
    if (wanted.level == 0) return;
    for (std::uint32_t i = 0; i < node.count(); ++i) {
      add(snapshot, {node.child(i), wanted.level - 1});
    }
  }
  std::unordered_map<NodeRef, Node<D>> nodes_;
};

/// Runs a cursor with up to `in_flight` nodes taken at a time, fed back in random order.
template <int D, typename Cursor>
int run(Cursor& cursor, const NodeMap<D>& nodes, std::size_t in_flight, Random& random) {
  std::deque<WantedNode> taken;
  int fed = 0;
  while (!cursor.done()) {
    while (taken.size() < in_flight) {
      const auto wanted = cursor.take();
      if (!wanted) break;
      taken.push_back(*wanted);
    }
    if (taken.empty()) {
      ADD_FAILURE() << "not done, but nothing in flight";
      return fed;
    }
    std::swap(taken.front(), taken[random.below(taken.size())]);
    cursor.feed(nodes.at(taken.front()));
    taken.pop_front();
    ++fed;
  }
  return fed;
}

/// A leaf of which nothing is right but some groups.
template <int D>
Node<D> groups_alone(const Node<D>& leaf, GroupMask groups) {
  Node<D> out;
  std::memset(static_cast<void*>(&out), 0x3F, sizeof out);
  for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) {
    if ((groups >> g & 1) != 0) out.leaf.groups[g] = leaf.leaf.groups[g];
  }
  return out;
}

/// The same for a search by groups. Returns how many groups it was fed.
template <int D>
int run_by_groups(NearestCursor<D>& cursor, const NodeMap<D>& nodes, std::size_t in_flight,
                  Random& random) {
  std::deque<WantedNode> taken;
  int fed = 0;
  while (!cursor.done()) {
    while (taken.size() < in_flight) {
      const auto wanted = cursor.take();
      if (!wanted) break;
      taken.push_back(*wanted);
    }
    if (taken.empty()) {
      EXPECT_TRUE(cursor.done()) << "nothing in flight";
      return fed;
    }
    std::swap(taken.front(), taken[random.below(taken.size())]);
    const WantedNode wanted = taken.front();
    taken.pop_front();
    if (wanted.level != 0 || wanted.groups == kAllGroups) {
      cursor.feed(nodes.at(wanted));
      fed += wanted.level == 0 ? static_cast<int>(kLeafGroups<D>) : 0;
    } else {
      cursor.feed_groups(groups_alone(nodes.at(wanted), wanted.groups), wanted.groups);
      fed += std::popcount(wanted.groups);
    }
  }
  return fed;
}

class CursorTest : public testing::Test {
 protected:
  CursorTest() : random_(testing_support::seed(11)), shapes_(Shapes<2>::Kind::kUniform, random_()) {
    tree_ = std::move(*Tree<2>::create({}, slabs_, clock_));
    for (std::uint64_t id = 0; id < 20'000; ++id) twin_.entries.push_back({id, shapes_.box(0.01)});
    EXPECT_TRUE(tree_->bulk_load(twin_.entries, {}).has_value());
  }

  Random random_;
  Shapes<2> shapes_;
  AnonymousSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<Tree<2>> tree_;
  BruteForce<2> twin_;
};

TEST_F(CursorTest, FindsARangeWhateverTheOrderOfItsNodes) {
  const NodeMap<2> nodes(tree_->snapshot());
  RangeCursor<2> cursor;
  RangeResult<2> result;
  for (int i = 0; i < 200; ++i) {
    const RangeQuery<2> query{.window = shapes_.box(i % 2 == 0 ? 0.3 : 0.01)};
    const WantedNode root = i % 3 == 0 ? WantedNode{nodes.root.ref, kAnyLevel} : nodes.root;
    cursor.start(query, root, result);
    run(cursor, nodes, 1 + random_.below(40), random_);
    std::sort(result.ids.begin(), result.ids.end());
    ASSERT_EQ(result.ids, twin_.range(query));
    ASSERT_EQ(result.count, result.ids.size());
  }
}

TEST_F(CursorTest, FindsNeighboursWhateverTheOrderOfItsNodes) {
  const NodeMap<2> nodes(tree_->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  for (int i = 0; i < 100; ++i) {
    const NearestQuery<2> query{shapes_.point(),
                                static_cast<std::uint32_t>(1 + random_.below(i < 90 ? 50 : 3000))};
    const WantedNode root = i % 3 == 0 ? WantedNode{nodes.root.ref, kAnyLevel} : nodes.root;
    cursor.start(query, root, result);
    run(cursor, nodes, 1 + random_.below(10), random_);
    ASSERT_EQ(result, twin_.nearest(query));
  }
}

TEST_F(CursorTest, FindsNeighboursByGroupsOfLeavesAlone) {
  for (int i = 0; i < 3'000; ++i) {  // so that directories are of leaves that have changed
    const std::size_t at = random_.below(twin_.entries.size());
    ASSERT_TRUE(tree_->erase(twin_.entries[at]));
    twin_.entries[at] = {20'000u + static_cast<std::uint64_t>(i), shapes_.box(0.01)};
    ASSERT_TRUE(tree_->insert(twin_.entries[at]));
    if (i % 10 == 0) tree_->publish();
  }
  tree_->publish();
  const NodeMap<2> nodes(tree_->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  for (int i = 0; i < 300; ++i) {
    const NearestQuery<2> query{shapes_.point(), static_cast<std::uint32_t>(1 + random_.below(50))};
    const WantedNode root = i % 3 == 0 ? WantedNode{nodes.root.ref, kAnyLevel} : nodes.root;
    cursor.start(query, root, result, true);
    run_by_groups(cursor, nodes, 1 + random_.below(10), random_);
    ASSERT_EQ(result, twin_.nearest(query));
  }
}

TEST_F(CursorTest, FindsNeighboursByGroupsAlsoWhereTheyAreTheLowestIdsAtADistance) {
  std::vector<Entry<2>> crowd;
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    const double x = i % 1000 == 0 ? 2.999 : i % 3 == 0 ? 3 : -3;
    crowd.push_back({i * 7919 % 5'000, {{x, 4}, {x, 4}}});
  }
  BruteForce<2> twin{crowd};
  AnonymousSlabs slabs;
  auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
  ASSERT_TRUE(tree->bulk_load(crowd, {.threads = 1}));
  const NodeMap<2> nodes(tree->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  for (const std::uint32_t k : {1u, 2u, 10u, 21u, 50u}) {
    const NearestQuery<2> query{{{0, 0}}, k};
    cursor.start(query, nodes.root, result, true);
    run_by_groups(cursor, nodes, 1 + random_.below(10), random_);
    ASSERT_EQ(result, twin.nearest(query)) << k;
  }
}

TEST_F(CursorTest, NeedsFewGroupsForTenNeighbours) {
  const NodeMap<2> nodes(tree_->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  int fed = 0;
  for (int i = 0; i < 200; ++i) {
    cursor.start({shapes_.point(), 10}, nodes.root, result, true);
    fed += run_by_groups(cursor, nodes, 1, random_);
  }
  EXPECT_LT(fed, 200 * 10) << "of eight a leaf";
}

TEST_F(CursorTest, FindsTheLowestIdsOfManyAtTheSameDistance) {
  constexpr std::uint64_t kPlaces = 20'000;
  std::vector<Entry<2>> crowd;
  for (std::uint64_t i = 0; i < kPlaces; ++i) {
    // Ids in no order; some twice, and some places a little nearer, or at the same distance though
    // the boxes are others.
    const std::uint64_t id = i * 7919 % kPlaces / (i % 5 == 0 ? 2 : 1);
    const double x = i % 1000 == 0 ? 2.999 : i % 3 == 0 ? 3 : -3;
    crowd.push_back({id, {{x, 4}, {x, 4}}});
  }
  BruteForce<2> twin{crowd};
  AnonymousSlabs slabs;
  auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
  ASSERT_TRUE(tree->bulk_load(crowd, {.threads = 1}));
  const NodeMap<2> nodes(tree->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  for (const std::uint32_t k : {1u, 2u, 10u, 21u, 50u, 1000u, 19'999u, 30'000u}) {
    const NearestQuery<2> query{{{0, 0}}, k};
    cursor.start(query, nodes.root, result);
    run(cursor, nodes, 1 + random_.below(10), random_);
    ASSERT_EQ(result, twin.nearest(query)) << k;
  }
}

/// Nodes that searches of all windows look at.
std::uint64_t nodes_looked_at(const Tree<2>& tree, const std::vector<Box<2>>& windows,
                              std::uint64_t& found) {
  const auto snapshot = tree.snapshot();
  RangeCursor<2> cursor;
  RangeResult<2> result;
  std::uint64_t looked_at = 0;
  for (const Box<2>& window : windows) {
    cursor.start({.window = window}, snapshot.root(), result);
    while (const auto wanted = cursor.take()) {
      cursor.feed(snapshot.node(wanted->ref));
      ++looked_at;
    }
    found += result.count;
  }
  return looked_at;
}

TEST(Cursors, LookAtAsManyNodesWhereCoordinatesAreFarFromZero) {
  // Multiples of 2^-6, so that shifting by a time of today in milliseconds changes no bit of them.
  constexpr double kTime = 1.7e12;
  Random random(testing_support::seed(12));
  const auto any_box = [&](double most) {
    Box<2> box;
    for (int d = 0; d < 2; ++d) {
      box.min[d] = std::floor(random.uniform() * 0x1p30) * 0x1p-6;
      box.max[d] = box.min[d] + std::floor(random.uniform() * most * 0x1p6) * 0x1p-6;
    }
    return box;
  };
  std::vector<Entry<2>> entries(50'000);
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = {i, any_box(1000)};
  std::vector<Box<2>> windows(2000);
  for (Box<2>& window : windows) window = any_box(random.below(10) == 0 ? 1e6 : 100);
  std::vector<Entry<2>> later(20'000);
  for (std::size_t i = 0; i < later.size(); ++i) later[i] = {100'000 + i, any_box(1000)};
  const SystemClock clock;
  std::array<std::uint64_t, 2> looked_at{};
  std::array<std::uint64_t, 2> found{};
  for (const bool far : {false, true}) {
    const auto shift = [&](Box<2> box) {
      box.min[0] += far ? kTime : 0;
      box.max[0] += far ? kTime : 0;
      return box;
    };
    AnonymousSlabs slabs;
    auto tree = std::move(*Tree<2>::create({}, slabs, clock));
    std::vector<Entry<2>> shifted = entries;
    for (Entry<2>& entry : shifted) entry.box = shift(entry.box);
    ASSERT_TRUE(tree->bulk_load(shifted, {}).has_value());
    for (const Entry<2>& entry : later) {
      ASSERT_TRUE(tree->insert({entry.id, shift(entry.box)}).has_value());
    }
    tree->publish();
    std::vector<Box<2>> shifted_windows;
    for (const Box<2>& window : windows) shifted_windows.push_back(shift(window));
    looked_at[far ? 1 : 0] = nodes_looked_at(*tree, shifted_windows, found[far ? 1 : 0]);
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_GT(found[0], 0u);
  EXPECT_EQ(looked_at[0], looked_at[1]);
}

TEST_F(CursorTest, StopsAtTheLimitWithNodesStillInFlight) {
  const NodeMap<2> nodes(tree_->snapshot());
  RangeCursor<2> cursor;
  RangeResult<2> result;
  for (const std::uint64_t limit : {0, 1, 5, 100}) {
    cursor.start({.window = {{0, 0}, {1, 1}}, .limit = limit}, nodes.root, result);
    const int fed = run(cursor, nodes, 8, random_);
    EXPECT_EQ(result.count, limit);
    EXPECT_EQ(result.ids.size(), limit);
    EXPECT_LT(fed, 40);
  }
}

TEST_F(CursorTest, NeedsFewNodesForOneNeighbour) {
  const NodeMap<2> nodes(tree_->snapshot());
  NearestCursor<2> cursor;
  NearestResult result;
  int fed = 0;
  for (int i = 0; i < 100; ++i) {
    cursor.start({shapes_.point(), 1}, nodes.root, result);
    fed += run(cursor, nodes, 1, random_);
  }
  EXPECT_LT(fed, 100 * 6);
}

}  // namespace
}  // namespace silurus::rtree
