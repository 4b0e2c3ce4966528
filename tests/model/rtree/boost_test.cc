// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <boost/geometry.hpp>
#include <boost/geometry/index/rtree.hpp>
#include <boost/geometry/strategies/strategies.hpp>

#include "rtree/boost_geometry.h"
#include "rtree/tree.h"
#include "tests/model/rtree/model.h"
#include "tests/support/seed.h"

// Boost's rtree over our own boxes and points, registered with Boost.Geometry, as oracle.

namespace silurus::rtree {
namespace {

namespace bg = boost::geometry;
namespace bgi = boost::geometry::index;

template <int D>
using Value = std::pair<Box<D>, std::uint64_t>;
template <int D>
using BoostTree = bgi::rtree<Value<D>, bgi::rstar<16>>;

template <int D>
std::vector<std::uint64_t> ask_boost(const BoostTree<D>& tree, const RangeQuery<D>& query) {
  std::vector<Value<D>> found;
  switch (query.predicate) {
    case Predicate::kIntersects:
      tree.query(bgi::intersects(query.window), std::back_inserter(found));
      break;
    case Predicate::kWithin:
      tree.query(bgi::covered_by(query.window), std::back_inserter(found));
      break;
    case Predicate::kContains:
      tree.query(bgi::covers(query.window), std::back_inserter(found));
      break;
  }
  std::vector<std::uint64_t> ids;
  for (const Value<D>& value : found) ids.push_back(value.second);
  std::sort(ids.begin(), ids.end());
  return ids;
}

template <int D>
std::vector<double> ask_boost(const BoostTree<D>& tree, const NearestQuery<D>& query) {
  std::vector<Value<D>> found;
  tree.query(bgi::nearest(query.point, query.k), std::back_inserter(found));
  std::vector<double> distances;
  for (const Value<D>& value : found) {
    distances.push_back(distance(query.point, value.first));
  }
  std::sort(distances.begin(), distances.end());
  return distances;
}

template <int D>
void compare(const Snapshot<D>& snapshot, const BoostTree<D>& boost, Shapes<D>& shapes) {
  ASSERT_TRUE(snapshot.validate().has_value());
  for (int i = 0; i < 60; ++i) {
    RangeQuery<D> query{.window = shapes.box(i % 2 == 0 ? 0.3 : 0.02)};
    query.predicate = static_cast<Predicate>(i % 3);
    RangeResult<D> found;
    ASSERT_TRUE(snapshot.range(query, found).has_value());
    std::sort(found.ids.begin(), found.ids.end());
    ASSERT_EQ(found.ids, ask_boost(boost, query));
    const NearestQuery<D> nearest{shapes.point(), static_cast<std::uint32_t>(1 + i)};
    NearestResult neighbors;
    ASSERT_TRUE(snapshot.nearest(nearest, neighbors).has_value());
    std::vector<double> distances;
    for (const Neighbor& neighbor : neighbors) distances.push_back(neighbor.distance);
    ASSERT_EQ(distances, ask_boost(boost, nearest));
  }
}

template <int D>
void agree_with_boost(std::uint64_t seed) {
  Shapes<D> shapes(Shapes<D>::Kind::kUniform, seed);
  std::vector<Entry<D>> entries;
  std::vector<Value<D>> values;
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    entries.push_back({id, shapes.box(0.02)});
    values.emplace_back(entries.back().box, id);
  }
  AnonymousSlabs slabs;
  SystemClock clock;
  const auto tree = std::move(*Tree<D>::create({}, slabs, clock));
  ASSERT_TRUE(tree->bulk_load(entries, {}).has_value());
  BoostTree<D> boost(values);
  compare(tree->snapshot(), boost, shapes);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 1000; ++i) {
      const std::size_t at = shapes.random().below(entries.size());
      const Entry<D> fresh{entries[at].id, shapes.box(0.02)};
      ASSERT_TRUE(tree->update(fresh.id, entries[at].box, fresh.box).has_value());
      ASSERT_EQ(boost.remove(Value<D>(entries[at].box, fresh.id)), 1u);
      boost.insert(Value<D>(fresh.box, fresh.id));
      entries[at] = fresh;
    }
    tree->publish();
    compare(tree->snapshot(), boost, shapes);
  }
}

TEST(TreeAndBoost, AnswerTheSameIn2D) { agree_with_boost<2>(testing_support::seed(21)); }
TEST(TreeAndBoost, AnswerTheSameIn3D) { agree_with_boost<3>(testing_support::seed(22)); }

TEST(BoostGeometry, FitsInBothDirections) {
  using BoostPoint = bg::model::point<double, 3, bg::cs::cartesian>;
  const bg::model::box<BoostPoint> theirs({1, 2, 3}, {4, 5, 6});
  const Box<3> ours = from_boost(theirs);
  EXPECT_EQ(ours, (Box<3>{{1, 2, 3}, {4, 5, 6}}));
  EXPECT_EQ(from_boost(BoostPoint(7, 8, 9)), (Point<3>{{7, 8, 9}}));
  EXPECT_EQ(bg::distance(Point<2>{{0, 0}}, Point<2>{{3, 4}}), 5.0);
  EXPECT_EQ(bg::area(Box<2>{{0, 0}, {2, 3}}), 6.0);
  EXPECT_TRUE(bg::intersects(ours, theirs));
}

}  // namespace
}  // namespace silurus::rtree
