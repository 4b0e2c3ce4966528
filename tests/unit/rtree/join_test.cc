// SPDX-License-Identifier: Apache-2.0

#include "rtree/join.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/random.h"
#include "rtree/arena.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

template <int D>
class Joined {
 public:
  explicit Joined(std::vector<Entry<D>> entries) : entries_(std::move(entries)) {
    tree_ = std::move(*Tree<D>::create({}, slabs_, clock_));
    if (!entries_.empty()) {
      SILURUS_CHECK(tree_->bulk_load(entries_, {}));
    }
  }
  const std::vector<Entry<D>>& entries() const { return entries_; }
  Tree<D>& tree() { return *tree_; }
  Snapshot<D> snapshot() const { return tree_->snapshot(); }

 private:
  const std::vector<Entry<D>> entries_;
  AnonymousSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<Tree<D>> tree_;
};

/// Boxes with sides up to `side` in the unit cube; ids from `first_id` on.
template <int D>
std::vector<Entry<D>> boxes(Random& random, std::size_t count, double side,
                            std::uint64_t first_id) {
  std::vector<Entry<D>> entries(count);
  for (std::size_t i = 0; i < count; ++i) {
    entries[i].id = first_id + i;
    for (int d = 0; d < D; ++d) {
      entries[i].box.min[d] = random.uniform(0, 1);
      entries[i].box.max[d] = entries[i].box.min[d] + random.uniform(0, side);
    }
  }
  return entries;
}

template <int D>
double gap(const Box<D>& a, const Box<D>& b) {
  double sum = 0;
  for (int d = 0; d < D; ++d) {
    sum = std::hypot(sum, std::max({0.0, a.min[d] - b.max[d], b.min[d] - a.max[d]}));
  }
  return sum;
}

template <int D>
std::vector<IdPair> by_brute_force(const std::vector<Entry<D>>& first,
                                   const std::vector<Entry<D>>& second, double within) {
  std::vector<IdPair> pairs;
  for (const auto& a : first) {
    for (const auto& b : second) {
      if (gap(a.box, b.box) <= within) pairs.push_back({a.id, b.id});
    }
  }
  std::ranges::sort(pairs);
  return pairs;
}

/// In slices of a few nodes and pairs.
template <int D>
std::vector<IdPair> join(const Joined<D>& first, const Joined<D>& second, double within) {
  const auto a = first.snapshot();
  const auto b = second.snapshot();
  JoinCursor<D> cursor;
  cursor.start({within}, a.root(), b.root());
  std::vector<IdPair> pairs;
  while (!cursor.go_on(a, b, 3, 100, pairs)) {
  }
  std::ranges::sort(pairs);
  return pairs;
}

template <int D>
void expect_right(std::size_t first, std::size_t second, double side, double within) {
  Random random(testing_support::seed(static_cast<std::uint64_t>(first + second)));
  const Joined<D> a(boxes<D>(random, first, side, 0));
  const Joined<D> b(boxes<D>(random, second, side, 1'000'000));
  EXPECT_EQ(join(a, b, within), by_brute_force(a.entries(), b.entries(), within));
}

TEST(Join, FindsAllPairsOfBoxesThatMeet) { expect_right<2>(3000, 3000, 0.02, 0); }
TEST(Join, FindsThemInThreeDimensions) { expect_right<3>(2000, 2000, 0.1, 0); }
TEST(Join, OfAHighTreeAndALowOne) {
  expect_right<2>(20, 5000, 0.05, 0);
  expect_right<2>(5000, 20, 0.05, 0);
  expect_right<2>(1, 5000, 0.5, 0);
}
TEST(Join, FindsPairsWithinADistance) {
  expect_right<2>(2000, 2000, 0.001, 0.02);
  expect_right<3>(1000, 1000, 0.001, 0.1);
  // Trees of different heights: of the lower one a node waits for the other one's children.
  expect_right<2>(3, 5000, 0.001, 0.2);
  expect_right<2>(5000, 3, 0.001, 0.2);
}

TEST(Join, OfAnEmptyTreeFindsNothing) {
  Random random(1);
  const Joined<2> some(boxes<2>(random, 1000, 0.1, 0));
  const Joined<2> none({});
  EXPECT_TRUE(join(some, none, 0).empty());
  EXPECT_TRUE(join(none, some, 1).empty());
  EXPECT_TRUE(join(none, none, 1).empty());
}

TEST(Join, OfATreeWithItselfFindsEachPairBothWays) {
  Random random(2);
  const Joined<2> tree(boxes<2>(random, 500, 0.05, 0));
  EXPECT_EQ(join(tree, tree, 0), by_brute_force(tree.entries(), tree.entries(), 0));
}

TEST(Join, TakesEdgesForParts) {
  const Joined<2> a({{1, {{0, 0}, {1, 1}}}});
  const Joined<2> b({{2, {{1, 1}, {2, 2}}}, {3, {{std::nextafter(1, 2), 0}, {2, 2}}}});
  EXPECT_EQ(join(a, b, 0), (std::vector<IdPair>{{1, 2}}));
}

TEST(Join, TakesADistanceExactly) {
  const Joined<2> a({{1, {{0, 0}, {0, 0}}}});
  const Joined<2> b({{2, {{3, 4}, {3, 4}}}});
  EXPECT_EQ(join(a, b, 5).size(), 1u);
  EXPECT_TRUE(join(a, b, std::nextafter(5, 0)).empty());
}

TEST(Join, OfBoxesAtTheEndsOfTheRangeOfDoubleMeetsNoInfinity) {
  constexpr double kMost = std::numeric_limits<double>::max();
  const Joined<2> a({{1, {{-kMost, 0}, {-kMost, 0}}}});
  const Joined<2> b({{2, {{kMost, 0}, {kMost, 0}}}, {3, {{-kMost, 1}, {-kMost, 1}}}});
  EXPECT_EQ(join(a, b, kMost), (std::vector<IdPair>{{1, 3}}));
}

TEST(Join, OfSnapshotsIsOfTheirVersions) {
  Random random(3);
  Joined<2> a(boxes<2>(random, 200, 0.1, 0));
  Joined<2> b(boxes<2>(random, 200, 0.1, 1000));
  const auto old_a = a.snapshot();
  const auto old_b = b.snapshot();
  ASSERT_TRUE(a.tree().insert({5000, {{0, 0}, {1, 1}}}));
  a.tree().publish();
  JoinCursor<2> cursor;
  cursor.start({}, old_a.root(), old_b.root());
  std::vector<IdPair> pairs;
  ASSERT_TRUE(cursor.go_on(old_a, old_b, UINT32_MAX, SIZE_MAX, pairs));
  std::ranges::sort(pairs);
  EXPECT_EQ(pairs, by_brute_force(a.entries(), b.entries(), 0));
}

}  // namespace
}  // namespace silurus::rtree
