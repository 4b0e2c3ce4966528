// SPDX-License-Identifier: Apache-2.0

#include "rtree/tree.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/crowd.h"

namespace silurus::rtree {
namespace {

class TreeTest : public testing::Test {
 protected:
  TreeTest() { tree_ = std::move(*Tree<2>::create({}, slabs_, clock_)); }

  static Box<2> at(double x, double y) { return {{x, y}, {x + 0.5, y + 0.5}}; }
  std::vector<std::uint64_t> ids(const Box<2>& window) const {
    RangeResult<2> result;
    EXPECT_TRUE(tree_->snapshot().range({.window = window}, result).has_value());
    std::sort(result.ids.begin(), result.ids.end());
    return result.ids;
  }
  using Ids = std::vector<std::uint64_t>;

  AnonymousSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<Tree<2>> tree_;
};

TEST_F(TreeTest, BeginsEmptyAsVersionOne) {
  const auto snapshot = tree_->snapshot();
  EXPECT_EQ(snapshot.version(), 1u);
  EXPECT_EQ(snapshot.size(), 0u);
  EXPECT_EQ(snapshot.root().level, 0u);
  EXPECT_TRUE(snapshot.validate().has_value());
  NearestResult nearest;
  EXPECT_TRUE(snapshot.nearest({{{0, 0}}, 3}, nearest).has_value());
  EXPECT_TRUE(nearest.empty());
}

TEST_F(TreeTest, ShowsABatchAllAtOnceWhenItIsPublished) {
  ASSERT_TRUE(tree_->insert({1, at(0, 0)}).has_value());
  ASSERT_TRUE(tree_->insert({2, at(5, 5)}).has_value());
  EXPECT_EQ(ids({{0, 0}, {9, 9}}), Ids{});
  EXPECT_EQ(tree_->publish(), 2u);
  EXPECT_EQ(ids({{0, 0}, {9, 9}}), (Ids{1, 2}));
  EXPECT_EQ(tree_->publish(), 2u) << "nothing changed";
}

TEST_F(TreeTest, CopiesANodeOncePerBatch) {
  for (std::uint64_t id = 0; id < 30; ++id) ASSERT_TRUE(tree_->insert({id, at(0, 0)}).has_value());
  tree_->publish();
  EXPECT_EQ(tree_->stats().copied_nodes, 1u);
}

TEST_F(TreeTest, MovesAnEntryInOneVersion) {
  ASSERT_TRUE(tree_->insert({7, at(0, 0)}).has_value());
  tree_->publish();
  const auto before = tree_->snapshot();
  ASSERT_TRUE(tree_->update(7, at(0, 0), at(3, 3)).has_value());
  EXPECT_EQ(ids(at(0, 0)), Ids{7});
  tree_->publish();
  EXPECT_EQ(ids(at(0, 0)), Ids{});
  EXPECT_EQ(ids(at(3, 3)), Ids{7});
  RangeResult<2> old;
  ASSERT_TRUE(before.range({.window = at(0, 0)}, old).has_value());
  EXPECT_EQ(old.ids, Ids{7});
}

TEST_F(TreeTest, IsAMultiset) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(tree_->insert({7, at(0, 0)}).has_value());
  ASSERT_TRUE(tree_->erase({7, at(0, 0)}).has_value());
  tree_->publish();
  EXPECT_EQ(ids(at(0, 0)), (Ids{7, 7}));
}

TEST_F(TreeTest, LooksForAnEntryInSlices) {
  constexpr std::uint64_t kCrowd = 2000;
  std::vector<Entry<2>> crowd;
  for (std::uint64_t i = 0; i < kCrowd; ++i) {
    crowd.push_back(testing_support::crowd_entry(i, kCrowd));
    ASSERT_TRUE(tree_->insert(crowd.back()));
  }
  tree_->publish();
  const auto slices_to_find = [&](const Entry<2>& entry) {
    std::uint32_t slices = 1;
    for (std::uint32_t nodes = 3; !tree_->look_for(entry, nodes); nodes = 3) {
      EXPECT_EQ(nodes, 0u);
      ++slices;
    }
    return slices;
  };
  const Entry<2> absent{1001, {{0, 0}, {0, 0}}};
  const std::uint32_t all = slices_to_find(absent);
  EXPECT_GE(3 * all, tree_->stats().nodes);
  std::uint32_t nodes = 0;
  EXPECT_TRUE(tree_->look_for(absent, nodes)) << "it is known not to be there";
  EXPECT_EQ(tree_->erase(absent).error().code, ErrorCode::kNotFound);
  EXPECT_LE(slices_to_find(crowd[0]), all);
  ASSERT_TRUE(tree_->erase(crowd[0]));
  EXPECT_FALSE(tree_->look_for(crowd[0], nodes)) << "the tree has changed since";
  EXPECT_GT(slices_to_find(crowd[0]), 1u);
  ASSERT_TRUE(tree_->update(crowd[77].id, crowd[77].box, at(-9999, 0))) << "without a look before";
  tree_->publish();
  EXPECT_EQ(tree_->snapshot().size(), kCrowd - 1);
  EXPECT_EQ(ids(at(-9999, 0)), Ids{crowd[77].id});
  EXPECT_TRUE(tree_->snapshot().validate());
}

TEST_F(TreeTest, EndsASearchThatLooksAtTooMuch) {
  for (std::uint64_t id = 0; id < 2000; ++id) ASSERT_TRUE(tree_->insert({id, at(0, 0)}));
  tree_->publish();
  const auto snapshot = tree_->snapshot();
  const auto nodes = static_cast<std::uint32_t>(tree_->stats().nodes);
  const RangeQuery<2> inside{.window = {{-1, -1}, {0.25, 0.25}}, .predicate = Predicate::kWithin};
  RangeResult<2> range;
  RangeCursor<2> range_cursor;
  range_cursor.start(inside, snapshot.root(), range);
  EXPECT_FALSE(snapshot.go_on(range_cursor, nodes / 2));
  EXPECT_TRUE(snapshot.go_on(range_cursor, nodes / 2 + 1));
  EXPECT_EQ(range.count, 0u);
  NearestResult nearest;
  NearestCursor<2> nearest_cursor;
  nearest_cursor.start({{{0, 0}}, 10}, snapshot.root(), nearest);
  EXPECT_FALSE(snapshot.go_on(nearest_cursor, nodes / 2)) << "all are as near";
  NearestCursor<2> moved = std::move(nearest_cursor);
  NearestResult other;
  moved.redirect(other);
  EXPECT_TRUE(snapshot.go_on(moved, nodes / 2 + 1));
  ASSERT_EQ(other.size(), 10u);
  EXPECT_EQ(other.back().id, 9u) << "equal distances in the order of ids";
}

TEST_F(TreeTest, GoesOnWithTheSearchesOfABatchThatWereStopped) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t id = 0; id < 2000; ++id) {
    ASSERT_TRUE(tree_->insert({id, at(static_cast<double>(id), 0)}));
    all.push_back(id);
  }
  tree_->publish();
  const auto snapshot = tree_->snapshot();
  const auto nodes = static_cast<std::uint32_t>(tree_->stats().nodes);
  const Box<2> everything{{0, 0}, {2000, 0}};
  const std::array<RangeQuery<2>, 4> queries{
      RangeQuery<2>{.window = at(7, 0)}, RangeQuery<2>{.window = everything},
      RangeQuery<2>{.window = everything, .shape = ResultShape::kCount},
      RangeQuery<2>{.window = everything, .limit = 90}};
  const auto run = [&](std::uint32_t most_nodes, std::uint64_t enough) {
    std::array<RangeResult<2>, 4> results;
    std::vector<StoppedSearch<2>> stopped;
    EXPECT_TRUE(snapshot.range_batch(queries, results, most_nodes, enough, stopped));
    std::vector<std::size_t> which;
    for (auto& search : stopped) {
      which.push_back(search.query);
      RangeResult<2>& at_stop = results[search.query];
      EXPECT_LT(at_stop.count, 2000u);
      RangeResult<2> elsewhere = std::move(at_stop);
      search.cursor.redirect(elsewhere);
      EXPECT_TRUE(snapshot.go_on(search.cursor));
      at_stop = std::move(elsewhere);
    }
    std::sort(which.begin(), which.end());
    EXPECT_EQ(results[0].ids, Ids{7});
    std::sort(results[1].ids.begin(), results[1].ids.end());
    EXPECT_EQ(results[1].ids, all) << "nothing twice, nothing lost";
    EXPECT_EQ(results[2].count, 2000u);
    EXPECT_EQ(results[3].ids.size(), 90u);
    return which;
  };
  EXPECT_EQ(run(nodes, UINT64_MAX), (std::vector<std::size_t>{}));
  EXPECT_EQ(run(nodes / 2, UINT64_MAX), (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(run(nodes, 1000), std::vector<std::size_t>{1}) << "counting is not stopped by it";
}

TEST_F(TreeTest, RefusedWritesChangeNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  ASSERT_TRUE(tree_->insert({1, at(0, 0)}).has_value());
  const Version version = tree_->publish();
  const auto code = [](const Status& status) { return status.error().code; };
  EXPECT_EQ(code(tree_->insert({2, {{nan, 0}, {1, 1}}})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(tree_->erase({2, at(0, 0)})), ErrorCode::kNotFound);
  EXPECT_EQ(code(tree_->erase({1, at(0, 1)})), ErrorCode::kNotFound);
  EXPECT_EQ(code(tree_->erase({1, {{1, 1}, {0, 0}}})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(tree_->update(2, at(0, 0), at(1, 1))), ErrorCode::kNotFound);
  EXPECT_EQ(code(tree_->update(1, at(0, 0), {{0, 0}, {nan, 0}})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(tree_->publish(), version);
  EXPECT_EQ(ids(at(0, 0)), Ids{1});
}

TEST_F(TreeTest, RefusesQueriesThatMakeNoSense) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto snapshot = tree_->snapshot();
  RangeResult<2> range;
  NearestResult nearest;
  EXPECT_FALSE(snapshot.range({.window = {{0, 0}, {infinity, 1}}}, range).has_value());
  EXPECT_FALSE(snapshot.nearest({{{0, infinity}}, 1}, nearest).has_value());
  const Status none = snapshot.nearest({{{0, 0}}, 0}, nearest);
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().message, "k must be at least 1");
  const std::array<RangeQuery<2>, 2> queries{};
  EXPECT_FALSE(snapshot.range_batch(queries, std::span(&range, 1)).has_value());
}

TEST_F(TreeTest, BulkLoadsOnlyWhenEmpty) {
  ASSERT_TRUE(tree_->insert({1, at(0, 0)}).has_value());
  const auto refused = tree_->bulk_load({{2, at(0, 0)}}, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  ASSERT_TRUE(tree_->erase({1, at(0, 0)}).has_value());
  EXPECT_TRUE(tree_->bulk_load({{2, at(0, 0)}}, {}).has_value());
  EXPECT_EQ(ids(at(0, 0)), Ids{2});
}

TEST_F(TreeTest, NamesTheEntryThatABulkLoadRefuses) {
  const auto refused = tree_->bulk_load({{1, at(0, 0)}, {2, {{1, 0}, {0, 0}}}}, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("entry 1: box.min[0]"), std::string::npos);
  EXPECT_FALSE(tree_->bulk_load({{1, at(0, 0)}}, {.fill = 1.5}).has_value());
  EXPECT_FALSE(tree_->bulk_load({{1, at(0, 0)}}, {.fill = std::numeric_limits<double>::quiet_NaN()})
                   .has_value());
}

TEST_F(TreeTest, BulkLoadsTheSameTreeOnAnyNumberOfThreads) {
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 100'000; ++id) {
    entries.push_back(
        {id, at(static_cast<double>(id * 7919 % 10007), static_cast<double>(id * 104729 % 9973))});
  }
  AnonymousSlabs more;
  auto alone = std::move(*Tree<2>::create({}, more, clock_));
  ASSERT_TRUE(alone->bulk_load(entries, {.threads = 1}).has_value());
  ASSERT_TRUE(tree_->bulk_load(entries, {.threads = 5}).has_value());
  EXPECT_TRUE(tree_->snapshot().validate().has_value());
  EXPECT_EQ(tree_->stats().nodes, alone->stats().nodes);
  const auto left = tree_->snapshot();
  const auto right = alone->snapshot();
  EXPECT_EQ(left.root(), right.root());
  EXPECT_EQ(node_checksum(left.node(left.root().ref)), node_checksum(right.node(right.root().ref)));
}

TEST_F(TreeTest, BulkLoadsNodesThatAreExactlyFull) {
  constexpr std::size_t kLeaf = kLeafFanout<2>;
  constexpr std::size_t kTwoLevels = kLeaf * kInnerFanout<2>;
  for (const std::size_t full : {kLeaf, 2 * kLeaf, kTwoLevels, 2 * kTwoLevels}) {
    for (const std::size_t count : {full - 1, full, full + 1}) {
      std::vector<Entry<2>> entries(count);
      for (std::uint64_t id = 0; id < count; ++id) {
        entries[id] = {id, at(static_cast<double>(id % 61), static_cast<double>(id / 61))};
      }
      AnonymousSlabs slabs;
      auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
      ASSERT_TRUE(tree->bulk_load(entries, {.fill = 1}).has_value()) << count;
      const Status valid = tree->snapshot().validate();
      EXPECT_TRUE(valid.has_value()) << count << ": " << valid.error().message;
      EXPECT_EQ(tree->snapshot().size(), count);
      const std::uint32_t height = count <= kLeaf ? 1 : count <= kTwoLevels ? 2 : 3;
      EXPECT_EQ(tree->stats().height, height) << count;
    }
  }
}

TEST_F(TreeTest, FillsNodesAsToldButNeverBelowTheMinimum) {
  std::vector<Entry<2>> entries(10'000);
  for (std::uint64_t id = 0; id < entries.size(); ++id) {
    entries[id] = {id, at(static_cast<double>(id % 100), static_cast<double>(id / 100))};
  }
  std::uint64_t nodes = std::numeric_limits<std::uint64_t>::max();
  for (const double fill : {0.01, 0.5, 0.75, 1.0}) {
    AnonymousSlabs slabs;
    auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
    ASSERT_TRUE(tree->bulk_load(entries, {.fill = fill}).has_value());
    EXPECT_TRUE(tree->snapshot().validate().has_value());
    EXPECT_LT(tree->stats().nodes, nodes);
    nodes = tree->stats().nodes;
  }
}

}  // namespace
}  // namespace silurus::rtree
