// SPDX-License-Identifier: Apache-2.0

#include "rtree/tree.h"

#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "tests/model/rtree/model.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

using testing_support::seed;

/// A tree and its twin, changed together.
template <int D>
class Pair {
 public:
  using Kind = typename Shapes<D>::Kind;

  Pair(Kind kind, double edge, std::uint64_t seed) : shapes(kind, seed), edge_(edge) {
    auto created = Tree<D>::create({.grace = 0}, slabs_, clock_);
    EXPECT_TRUE(created.has_value());
    tree = std::move(*created);
  }

  void insert() {
    const Entry<D> entry{next_id_++ * 7919 % 1000003, shapes.box(edge_)};  // in no order
    ASSERT_TRUE(tree->insert(entry).has_value());
    twin.entries.push_back(entry);
  }
  void erase() {
    if (twin.entries.empty()) return;
    const std::size_t at = shapes.random().below(twin.entries.size());
    ASSERT_TRUE(tree->erase(twin.entries[at]).has_value());
    twin.entries[at] = twin.entries.back();
    twin.entries.pop_back();
  }
  void update() {
    if (twin.entries.empty()) return;
    Entry<D>& entry = twin.entries[shapes.random().below(twin.entries.size())];
    const Box<D> to = shapes.box(edge_);
    ASSERT_TRUE(tree->update(entry.id, entry.box, to).has_value());
    entry.box = to;
  }
  void load(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) twin.entries.push_back({next_id_++, shapes.box(edge_)});
    ASSERT_TRUE(tree->bulk_load(twin.entries, {}).has_value());
  }

  void check(const Snapshot<D>& snapshot, const BruteForce<D>& expected, int queries) {
    const Status valid = snapshot.validate();
    ASSERT_TRUE(valid.has_value()) << valid.error().message;
    ASSERT_EQ(snapshot.size(), expected.entries.size());
    std::vector<RangeQuery<D>> batch;
    for (int i = 0; i < queries; ++i) {
      RangeQuery<D> query{.window = shapes.box(i % 2 == 0 ? edge_ : 0.3)};
      query.predicate = static_cast<Predicate>(i % 3);
      if (!expected.entries.empty() && i % 5 == 0) {
        query.window = expected.entries[shapes.random().below(expected.entries.size())].box;
      }
      query.shape = static_cast<ResultShape>(i / 3 % 3);
      check_range(snapshot, expected, query);
      batch.push_back(query);
      const NearestQuery<D> nearest{shapes.point(), static_cast<std::uint32_t>(1 + i * i % 40)};
      NearestResult neighbors;
      ASSERT_TRUE(snapshot.nearest(nearest, neighbors).has_value());
      ASSERT_EQ(neighbors, expected.nearest(nearest));
    }
    check_batch(snapshot, batch);
  }

  AnonymousSlabs slabs_;
  SystemClock clock_;
  Shapes<D> shapes;
  std::unique_ptr<Tree<D>> tree;
  BruteForce<D> twin;

 private:
  void check_range(const Snapshot<D>& snapshot, const BruteForce<D>& expected,
                   RangeQuery<D> query) {
    const std::vector<std::uint64_t> ids = expected.range(query);
    RangeResult<D> found;
    ASSERT_TRUE(snapshot.range(query, found).has_value());
    ASSERT_EQ(found.count, ids.size());
    const bool counts = query.shape == ResultShape::kCount;
    if (query.shape == ResultShape::kEntries) {
      ASSERT_EQ(found.boxes.size(), ids.size());
      for (const Box<D>& box : found.boxes) ASSERT_TRUE(matches(query, box));
    }
    std::sort(found.ids.begin(), found.ids.end());
    ASSERT_EQ(found.ids, counts ? std::vector<std::uint64_t>() : ids);
    query.limit = shapes.random().below(ids.size() + 2);
    ASSERT_TRUE(snapshot.range(query, found).has_value());
    ASSERT_EQ(found.count, std::min<std::uint64_t>(query.limit, ids.size()));
    ASSERT_EQ(found.ids.size(), counts ? 0 : found.count);
    for (const std::uint64_t id : found.ids) {
      ASSERT_TRUE(std::binary_search(ids.begin(), ids.end(), id));
    }
  }

  void check_batch(const Snapshot<D>& snapshot, const std::vector<RangeQuery<D>>& queries) {
    std::vector<RangeResult<D>> results(queries.size());
    ASSERT_TRUE(snapshot.range_batch(queries, results).has_value());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      RangeResult<D> alone;
      ASSERT_TRUE(snapshot.range(queries[i], alone).has_value());
      std::sort(alone.ids.begin(), alone.ids.end());
      std::sort(results[i].ids.begin(), results[i].ids.end());
      ASSERT_EQ(results[i].count, alone.count);
      ASSERT_EQ(results[i].ids, alone.ids);
    }
  }

  double edge_;
  std::uint64_t next_id_ = 0;
};

/// Random operations in batches of random size: `grow` of 100 are inserts, the rest erasures and
/// updates. An old snapshot is kept for a while and must go on answering as of its version.
template <int D>
void run_operations(Pair<D>& pair, int operations, std::uint64_t grow) {
  std::optional<Snapshot<D>> old;
  BruteForce<D> old_twin;
  int batches = 0;
  for (int done = 0; done < operations && !testing::Test::HasFatalFailure();) {
    const auto batch = static_cast<int>(1 + pair.shapes.random().below(done % 7 == 0 ? 300 : 20));
    for (int i = 0; i < batch; ++i, ++done) {
      const std::uint64_t dice = pair.shapes.random().below(100);
      if (dice < grow) {
        pair.insert();
      } else if (dice % 3 == 0) {
        pair.update();
      } else {
        pair.erase();
      }
    }
    pair.tree->publish();
    const Status valid = pair.tree->snapshot().validate();
    ASSERT_TRUE(valid) << valid.error().message;
    if (++batches % 16 != 0) continue;
    pair.check(pair.tree->snapshot(), pair.twin, 12);
    if (old) pair.check(*old, old_twin, 6);
    if (batches % 64 == 0) {
      old.emplace(pair.tree->snapshot());
      old_twin = pair.twin;
    }
  }
}

template <int D>
void grow_and_shrink(typename Shapes<D>::Kind kind, double edge, std::uint64_t seed) {
  Pair<D> pair(kind, edge, seed);
  run_operations(pair, 6000, 80);
  run_operations(pair, 6000, 25);
  while (!pair.twin.entries.empty()) pair.erase();
  pair.tree->publish();
  pair.check(pair.tree->snapshot(), pair.twin, 6);
  run_operations(pair, 1000, 70);
}

using Kind2 = Shapes<2>::Kind;
using Kind3 = Shapes<3>::Kind;

TEST(TreeModel, AgreesWithBruteForceIn2D) { grow_and_shrink<2>(Kind2::kUniform, 0.01, seed(1)); }
TEST(TreeModel, AgreesWithBruteForceIn3D) { grow_and_shrink<3>(Kind3::kUniform, 0.1, seed(2)); }
TEST(TreeModel, AgreesWithBruteForceOnPoints) { grow_and_shrink<2>(Kind2::kUniform, 0, seed(3)); }
TEST(TreeModel, AgreesWithBruteForceOnEqualCoordinatesIn2D) {
  grow_and_shrink<2>(Kind2::kGrid, 0, seed(4));
}
TEST(TreeModel, AgreesWithBruteForceOnEqualCoordinatesIn3D) {
  grow_and_shrink<3>(Kind3::kGrid, 0, seed(5));
}
TEST(TreeModel, AgreesWithBruteForceOnIdenticalBoxesIn2D) {
  grow_and_shrink<2>(Kind2::kSpots, 0.01, seed(9));
}
TEST(TreeModel, AgreesWithBruteForceOnIdenticalBoxesIn3D) {
  grow_and_shrink<3>(Kind3::kSpots, 0.1, seed(10));
}
TEST(TreeModel, AgreesWithBruteForceOnTheEndsOfDouble) {
  grow_and_shrink<2>(Kind2::kExtreme, 0, seed(6));
}

template <int D>
void load_and_change(std::size_t count, std::uint64_t seed) {
  Pair<D> pair(Shapes<D>::Kind::kUniform, 0.02, seed);
  pair.load(count);
  pair.check(pair.tree->snapshot(), pair.twin, 30);
  run_operations(pair, 2000, 50);
}

/// Among the sizes those of leaves and of inner nodes that are just full.
template <int D>
void load_sizes_and_change(std::uint64_t seed) {
  constexpr std::size_t kLeaf = kLeafFanout<D>;
  constexpr std::size_t kTwoLevels = kLeaf * kInnerFanout<D>;
  for (const std::size_t count : {std::size_t{1}, std::size_t{9}, kLeaf, kLeaf + 1, 2 * kLeaf + 1,
                                  std::size_t{1000}, kTwoLevels, kTwoLevels + 1}) {
    load_and_change<D>(count, seed + count);
  }
}

TEST(TreeModel, AgreesWithBruteForceAfterBulkLoadsOfAnySize) {
  const std::uint64_t first = seed(7);
  load_sizes_and_change<2>(first);
  load_sizes_and_change<3>(first);
}

/// Windows over far more leaves than a cursor's queue has room for, but not over all of them.
template <int D>
void search_most_of_the_tree(std::uint64_t seed) {
  Pair<D> pair(Shapes<D>::Kind::kUniform, 0.01, seed);
  pair.load(100'000);
  const auto snapshot = pair.tree->snapshot();
  std::vector<RangeQuery<D>> queries(24);
  std::vector<std::vector<std::uint64_t>> expected;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    RangeQuery<D>& query = queries[i];
    for (int d = 0; d < D; ++d) {
      const double side = 0.75 + 0.15 * pair.shapes.random().uniform();
      query.window.min[d] = (1 - side) * pair.shapes.random().uniform();
      query.window.max[d] = query.window.min[d] + side;
    }
    query.predicate = i % 2 == 0 ? Predicate::kIntersects : Predicate::kWithin;
    expected.push_back(pair.twin.range(query));
    ASSERT_GT(expected.back().size(), 30'000u);
    RangeResult<D> found;
    ASSERT_TRUE(snapshot.range(query, found).has_value());
    std::sort(found.ids.begin(), found.ids.end());
    ASSERT_EQ(found.ids.size(), expected.back().size());
    ASSERT_TRUE(found.ids == expected.back());
  }
  std::vector<RangeResult<D>> results(queries.size());
  ASSERT_TRUE(snapshot.range_batch(queries, results).has_value());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    std::sort(results[i].ids.begin(), results[i].ids.end());
    ASSERT_TRUE(results[i].ids == expected[i]) << "search " << i << " of the batch";
  }
}

TEST(TreeModel, AgreesWithBruteForceOnWindowsOverMostOfTheTree) {
  const std::uint64_t first = seed(8);
  search_most_of_the_tree<2>(first);
  search_most_of_the_tree<3>(first + 1);
}

}  // namespace
}  // namespace silurus::rtree
