// SPDX-License-Identifier: Apache-2.0

#include "silurus/local_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace silurus {
namespace {

using Ids = std::vector<std::uint64_t>;

Box<2> at(double x, double y, double size = 1) { return {{x, y}, {x + size, y + size}}; }

Ids ids_in(const LocalTree<2>& tree, const Box<2>& window) {
  RangeResult<2> found;
  EXPECT_TRUE(tree.range({.window = window}, found).has_value());
  std::sort(found.ids.begin(), found.ids.end());
  return found.ids;
}

Ids nearest_ids(const LocalTree<2>& tree, const NearestBoxQuery<2>& query) {
  NearestBoxResult<2> found;
  EXPECT_TRUE(tree.nearest(query, found).has_value());
  Ids ids;
  for (const Neighbor& one : found.neighbors) ids.push_back(one.id);
  return ids;
}

TEST(LocalTree, ShowsWritesWhenTheyArePublished) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.insert(7, at(0, 0)).has_value());
  EXPECT_EQ(ids_in(tree, at(0, 0)), Ids{});
  tree.publish();
  EXPECT_EQ(ids_in(tree, at(0, 0)), Ids{7});
}

TEST(LocalTree, RefusesToEraseWhatIsNotThere) {
  auto tree = LocalTree<2>::create().value();
  const Status erased = tree.erase(7, at(0, 0));
  ASSERT_FALSE(erased.has_value());
  EXPECT_EQ(erased.error().code, ErrorCode::kNotFound);
}

TEST(LocalTree, LoadsAnEmptyTreeOnly) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load({{1, at(0, 0)}}).has_value());
  const auto again = tree.load({{2, at(0, 0)}});
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
}

TEST(LocalTree, HasTheBoundsOfItsEntriesAndNoneWithoutEntries) {
  auto tree = LocalTree<2>::create().value();
  EXPECT_FALSE(tree.bounds().has_value());
  ASSERT_TRUE(tree.load({{1, at(-3, 2)}, {2, at(4, -5)}}).has_value());
  EXPECT_EQ(tree.bounds(), (Box<2>{{-3, -5}, {5, 3}}));
}

TEST(LocalTree, FindsAllThatAreAsNearAsTheLastNeighbour) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load({{3, at(10, 0, 0)}, {1, at(-10, 0, 0)}, {2, at(0, 10, 0)}, {4, at(20, 0)}})
                  .has_value());
  EXPECT_EQ(nearest_ids(tree, {.box = {{0, 0}, {0, 0}}, .k = 1}), (Ids{1, 2, 3}));
  EXPECT_EQ(nearest_ids(tree, {.box = {{0, 0}, {0, 0}}, .k = 3}), (Ids{1, 2, 3}));
}

TEST(LocalTree, FindsTiesWhoseGapsDiffer) {
  auto tree = LocalTree<2>::create().value();
  // 17² + 52² = 28² + 47² = 2993: the roots must be one number, too.
  ASSERT_TRUE(tree.load({{1, at(17, 52, 0)}, {2, at(28, 47, 0)}, {3, at(-52, 17, 0)}}).has_value());
  for (const double low : {0.0, -2.0}) {  // a point, and a box that reaches away from all three
    EXPECT_EQ(nearest_ids(tree, {.box = {{0, low}, {0, 0}}, .k = 1}), (Ids{1, 2, 3})) << low;
  }
}

TEST(LocalTree, FindsTiesInThreeDimensionsInWhateverOrderTheGapsCome) {
  auto tree = LocalTree<3>::create().value();
  const std::vector<Entry<3>> entries = {
      {1, {{1, 1, 3}, {1, 1, 3}}}, {2, {{3, 1, 1}, {3, 1, 1}}}, {3, {{1, 3, 1}, {1, 3, 1}}}};
  ASSERT_TRUE(tree.load(entries).has_value());
  for (const ResultShape shape : {ResultShape::kIds, ResultShape::kEntries}) {
    NearestBoxResult<3> found;
    ASSERT_TRUE(
        tree.nearest({.box = {{0, 0, 0}, {0, 0, 0}}, .k = 1, .shape = shape}, found).has_value());
    EXPECT_EQ(found.neighbors.size(), 3u);
  }
}

TEST(LocalTree, FindsNoMoreNeighboursThanAskedForWhereDistancesDiffer) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load({{1, at(1, 0, 0)}, {2, at(2, 0, 0)}, {3, at(3, 0, 0)}}).has_value());
  EXPECT_EQ(nearest_ids(tree, {.box = {{0, 0}, {0, 0}}, .k = 2}), (Ids{1, 2}));
}

TEST(LocalTree, GivesNeighboursOfABoxWithTheirBoxes) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load({{1, at(5, 0)}, {2, at(-9, 0)}}).has_value());
  NearestBoxResult<2> found;
  ASSERT_TRUE(tree.nearest({.box = at(0, 0, 3), .k = 1, .shape = ResultShape::kEntries}, found)
                  .has_value());
  EXPECT_EQ(found.neighbors, (NearestResult{{1, 2.0}}));
  EXPECT_EQ(found.boxes, std::vector<Box<2>>{at(5, 0)});
}

TEST(LocalTree, RefusesToLookForNoNeighbours) {
  auto tree = LocalTree<2>::create().value();
  NearestBoxResult<2> found;
  const Status searched = tree.nearest({.box = at(0, 0), .k = 0}, found);
  ASSERT_FALSE(searched.has_value());
  EXPECT_EQ(searched.error().code, ErrorCode::kInvalidArgument);
}

double gap(const Box<2>& a, const Box<2>& b, int d) {
  return std::max({0.0, a.min[d] - b.max[d], b.min[d] - a.max[d]});
}

TEST(LocalTree, FindsTheNeighboursOfBoxesThatBruteForceFinds) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> place(0, 40);  // so that distances are often equal
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 500; ++id) {
    entries.push_back({id, at(place(random), place(random), place(random) % 3)});
  }
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load(entries).has_value());
  for (std::uint32_t round = 0; round < 200; ++round) {
    const NearestBoxQuery<2> query{.box = at(place(random), place(random), place(random) % 4),
                                   .k = 1 + round % 20};
    std::vector<std::pair<double, std::uint64_t>> all;
    for (const Entry<2>& entry : entries) {
      const double along_x = gap(query.box, entry.box, 0);
      const double along_y = gap(query.box, entry.box, 1);
      all.emplace_back(std::sqrt(along_x * along_x + along_y * along_y), entry.id);
    }
    std::sort(all.begin(), all.end());
    Ids expected;
    for (const auto& [distance, id] : all) {
      if (expected.size() >= query.k && distance > all[query.k - 1].first) break;
      expected.push_back(id);
    }
    ASSERT_EQ(nearest_ids(tree, query), expected) << "round " << round;
    NearestBoxQuery<2> with_boxes = query;
    with_boxes.shape = ResultShape::kEntries;
    NearestBoxResult<2> found;
    ASSERT_TRUE(tree.nearest(with_boxes, found).has_value());
    ASSERT_EQ(found.boxes.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(found.neighbors[i].id, expected[i]);
      ASSERT_EQ(found.boxes[i], entries[expected[i]].box) << "round " << round;
    }
  }
}

TEST(LocalTree, FindsAllNeighboursWhereThereAreFewerThanAskedFor) {
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load({{1, at(1, 0)}, {2, at(1000, 0)}, {3, at(-1000000, 0)}}).has_value());
  EXPECT_EQ(nearest_ids(tree, {.box = at(0, 0), .k = 9}), (Ids{1, 2, 3}));
}

TEST(LocalTree, HasEachEntryInOneLeaf) {
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 1000; ++id) {
    entries.push_back({id, at(static_cast<double>(id % 37), static_cast<double>(id % 41))});
  }
  auto tree = LocalTree<2>::create().value();
  ASSERT_TRUE(tree.load(entries).has_value());
  Ids ids;
  for (const LeafOfTree<2>& leaf : tree.leaves()) {
    ids.insert(ids.end(), leaf.ids.begin(), leaf.ids.end());
  }
  std::sort(ids.begin(), ids.end());
  Ids expected(entries.size());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = i;
  EXPECT_EQ(ids, expected);
}

TEST(LocalTree, AnswersABatchAsSingleSearches) {
  auto tree = LocalTree<3>::create().value();
  ASSERT_TRUE(tree.load({{1, {{0, 0, 0}, {1, 1, 1}}}, {2, {{5, 5, 5}, {6, 6, 6}}}}).has_value());
  const std::vector<RangeQuery<3>> queries = {{.window = {{0, 0, 0}, {9, 9, 9}}},
                                              {.window = {{5, 5, 5}, {9, 9, 9}}}};
  std::vector<RangeResult<3>> found(2);
  ASSERT_TRUE(tree.range_batch(queries, found).has_value());
  EXPECT_EQ(found[0].ids.size(), 2u);
  EXPECT_EQ(found[1].ids, Ids{2});
}

}  // namespace
}  // namespace silurus
