// SPDX-License-Identifier: Apache-2.0

#include "rtree/sphere.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numbers>
#include <vector>

#include "common/random.h"
#include "rtree/cursor.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

// --- one distance, by others

constexpr long double kPi = std::numbers::pi_v<long double>;
constexpr long double kDegree = kPi / 180;

/// The angle between two points, by the lengths of cross and dot product of their vectors, which is
/// exact near 0 and near the antipodes.
long double angle(const Point<2>& a, const Point<2>& b) {
  const auto vector = [](const Point<2>& p) {
    const long double lon = p.at[0] * kDegree;
    const long double lat = p.at[1] * kDegree;
    const long double radius = std::abs(p.at[1]) == 90 ? 0 : std::cos(lat);
    return std::array<long double, 3>{radius * std::cos(lon), radius * std::sin(lon),
                                      std::sin(lat)};
  };
  const auto u = vector(a);
  const auto v = vector(b);
  const long double x = u[1] * v[2] - u[2] * v[1];
  const long double y = u[2] * v[0] - u[0] * v[2];
  const long double z = u[0] * v[1] - u[1] * v[0];
  return std::atan2(std::sqrt(x * x + y * y + z * z), u[0] * v[0] + u[1] * v[1] + u[2] * v[2]);
}

double metres(const Point<2>& from, const Box<2>& box) {
  return metres_of(arc_key(SpherePoint::of(from), unrolled(box)));
}
double metres(const Point<2>& from, const Point<2>& to) { return metres(from, {to.at, to.at}); }

/// The least angle from a point to places of an edge, from one corner to another: of many places,
/// and of many between the neighbours of the best, again and again.
long double angle_to_edge(const Point<2>& from, Point<2> low, Point<2> high) {
  constexpr int kSteps = 200;
  long double least = 10;
  for (int round = 0; round < 7; ++round) {
    const auto place = [&](int i) {
      const double share = std::clamp(i, 0, kSteps) / static_cast<double>(kSteps);
      return Point<2>{{low.at[0] + (high.at[0] - low.at[0]) * share,
                       low.at[1] + (high.at[1] - low.at[1]) * share}};
    };
    int best = 0;
    for (int i = 0; i <= kSteps; ++i) {
      const long double one = angle(from, place(i));
      if (one < least) best = i;
      least = std::min(least, one);
    }
    const Point<2> before = place(best - 1);
    high = place(best + 1);
    low = before;
  }
  return least;
}

/// The least distance from a point to a box, by its edges.
double metres_by_edges(const Point<2>& from, const Box<2>& box) {
  const Box<2> whole = unrolled(box);
  const auto is_within = [&](double longitude) {
    return whole.min[0] <= longitude && longitude <= whole.max[0];
  };
  const bool is_inside = (is_within(from.at[0]) || is_within(from.at[0] + 360)) &&
                         whole.min[1] <= from.at[1] && from.at[1] <= whole.max[1];
  if (is_inside) return 0;
  const auto [west, south] = whole.min;
  const auto [east, north] = whole.max;
  const long double least = std::min({angle_to_edge(from, {{west, south}}, {{west, north}}),
                                      angle_to_edge(from, {{east, south}}, {{east, north}}),
                                      angle_to_edge(from, {{west, south}}, {{east, south}}),
                                      angle_to_edge(from, {{west, north}}, {{east, north}})});
  return static_cast<double>(least * kEarthRadius);
}

class SphereTest : public testing::Test {
 protected:
  SphereTest() : random_(testing_support::seed(17)) {}

  double between(double low, double high) { return low + (high - low) * random_.uniform(); }
  Point<2> point() { return {{between(-180, 180), between(-90, 90)}}; }
  /// Multiples of half a degree, of which many are equal, some at the antimeridian and the poles.
  Point<2> even_point() {
    const auto half = [&](int steps) {
      return static_cast<double>(random_.below(static_cast<std::uint64_t>(2 * steps) + 1)) / 2 -
             steps / 2.0;
    };
    return {{half(180) * 2, half(90) * 2}};
  }
  /// A box of any width up to that in longitude, across the antimeridian too.
  Box<2> box(Point<2> at, double width, double height) {
    Box<2> out{at.at, at.at};
    out.max[0] += std::floor(2 * between(0, width)) / 2;
    out.max[1] = std::min(90.0, out.max[1] + std::floor(2 * between(0, height)) / 2);
    if (out.max[0] > 180) out.max[0] -= 360;
    return out;
  }

  Random random_;
};

TEST_F(SphereTest, ADistanceIsThatOfTheVectors) {
  for (int i = 0; i < 20'000; ++i) {
    const Point<2> a = point();
    Point<2> b = point();
    if (i % 2 == 0) {
      const double reach = std::pow(10, between(-9, 1));
      b.at[0] = std::clamp(a.at[0] + between(-reach, reach), -180.0, 180.0);
      b.at[1] = std::clamp(a.at[1] + between(-reach, reach), -90.0, 90.0);
    }
    const double expected = static_cast<double>(angle(a, b) * kEarthRadius);
    ASSERT_NEAR(metres(a, b), expected, 1e-8 + 1e-13 * expected)
        << a.at[0] << ' ' << a.at[1] << " to " << b.at[0] << ' ' << b.at[1];
  }
}

TEST_F(SphereTest, ADistanceIsExactNearTheAntipodes) {
  for (int i = 0; i < 20'000; ++i) {
    const Point<2> a = point();
    const double reach = std::pow(10, between(-7, 0));
    Point<2> b{{(a.at[0] > 0 ? a.at[0] - 180 : a.at[0] + 180), -a.at[1]}};
    b.at[0] = std::clamp(b.at[0] + between(-reach, reach), -180.0, 180.0);
    b.at[1] = std::clamp(b.at[1] + between(-reach, reach), -90.0, 90.0);
    ASSERT_NEAR(metres(a, b), static_cast<double>(angle(a, b) * kEarthRadius), 2e-8);
  }
}

TEST_F(SphereTest, ADistanceToABoxIsTheLeastToAnyPlaceOfIt) {
  for (int i = 0; i < 40; ++i) {
    const Point<2> from = i % 3 == 0 ? even_point() : point();
    const Box<2> to = box(i % 2 == 0 ? even_point() : point(), i % 5 == 0 ? 359 : 60, 60);
    const double expected = metres_by_edges(from, to);
    ASSERT_NEAR(metres(from, to), expected, 1e-6 + 1e-12 * expected)
        << from.at[0] << ' ' << from.at[1] << " to " << to.min[0] << ' ' << to.min[1] << ' '
        << to.max[0] << ' ' << to.max[1];
  }
}

TEST_F(SphereTest, ABoxIsNoFartherThanWhatItHolds) {
  for (int i = 0; i < 100'000; ++i) {
    const Point<2> from = point();
    const Box<2> outer = unrolled(box(point(), i % 2 == 0 ? 200 : 1, i % 3 == 0 ? 90 : 1));
    Box<2> inner = outer;
    for (std::size_t d = 0; d < 2; ++d) {
      inner.min[d] = std::min(between(outer.min[d], outer.max[d]), d == 0 ? 180.0 : 90.0);
      inner.max[d] = std::min(between(inner.min[d], outer.max[d]), outer.max[d]);
    }
    const SpherePoint at = SpherePoint::of(from);
    ASSERT_LE(least_arc_within(arc_key(at, outer)), arc_key(at, inner));
  }
}

TEST_F(SphereTest, AllLongitudesMeetAtAPole) {
  for (int i = 0; i < 100; ++i) {
    const double pole = i % 2 == 0 ? 90 : -90;
    const Point<2> at = even_point();
    EXPECT_EQ(metres({{at.at[0], pole}}, Point<2>{{even_point().at[0], pole}}), 0);
    EXPECT_NEAR(metres({{at.at[0], pole}}, at),
                static_cast<double>(std::abs(pole - at.at[1]) * kDegree * kEarthRadius), 1e-8);
  }
}

TEST_F(SphereTest, TheAntimeridianIsNoEdge) {
  EXPECT_EQ(metres({{-180, 10}}, Point<2>{{180, 10}}), 0);
  EXPECT_NEAR(metres({{179.5, 0}}, Point<2>{{-179.5, 0}}),
              static_cast<double>(kDegree * kEarthRadius), 1e-8);
  const Box<2> across{{{179, -1}}, {{-179, 1}}};
  EXPECT_EQ(metres({{180, 0}}, across), 0);
  EXPECT_EQ(metres({{-180, 0}}, across), 0);
  EXPECT_EQ(metres({{-179.25, 0}}, across), 0);
  EXPECT_NEAR(metres({{-178, 0}}, across), static_cast<double>(kDegree * kEarthRadius), 1e-8);
  EXPECT_EQ(metres({{33, 0}}, Box<2>{{{-180, 0}}, {{180, 0}}}), 0);
}

TEST_F(SphereTest, AKeyLeadsToADistanceAndBack) {
  for (int i = 0; i < 10'000; ++i) {
    const double key = arc_key(SpherePoint::of(point()), unrolled(box(point(), 1, 1)));
    EXPECT_LE(key, greatest_key_within(metres_of(key)));
  }
  EXPECT_EQ(metres_of(0), 0);
  EXPECT_NEAR(metres({{0, 0}}, Point<2>{{180, 0}}), std::numbers::pi * kEarthRadius, 2e-8);
}

TEST_F(SphereTest, ABoxOfDegreesIsTheSameAfterItWasHeld) {
  for (int i = 0; i < 10'000; ++i) {
    const Box<2> held = unrolled(box(point(), 359, 10));
    EXPECT_LE(held.min[0], held.max[0]);
    EXPECT_EQ(unrolled(rolled(held)), held);
  }
  const Box<2> all{{{-180, -5}}, {{180, 5}}};
  EXPECT_EQ(rolled(unrolled(all)), all);
}

TEST_F(SphereTest, WhatIsNoBoxOfDegreesIsRefused) {
  const Box<2> bad[] = {{{{-181, 0}}, {{0, 0}}}, {{{0, 0}}, {{180.1, 0}}}, {{{0, -91}}, {{0, 0}}},
                        {{{0, 0}}, {{0, 90.5}}}, {{{0, 1}}, {{0, 0}}},     {{{NAN, 1}}, {{0, 2}}}};
  for (const Box<2>& one : bad) {
    EXPECT_FALSE(check_lonlat(one));
    EXPECT_FALSE(check_box(unrolled(one)));
  }
}

// --- searches

/// An arc of longitudes: where it begins, and how far it reaches to the east. Of halves of degrees
/// all of this is exact.
struct Arc {
  double start;
  double length;

  static Arc of(double min, double max) {
    const double length = max - min + (min > max ? 360 : 0);
    return {min == 180 ? -180 : min, length};
  }
  static double eastward(double from, double to) { return to - from + (to < from ? 360 : 0); }
  bool meets(const Arc& other) const {
    return eastward(start, other.start) <= length || eastward(other.start, start) <= other.length;
  }
  bool contains(const Arc& other) const {
    return length == 360 || eastward(start, other.start) + other.length <= length;
  }
};

bool matches_by_arcs(const RangeQuery<2>& query, const Box<2>& box) {
  const Arc window = Arc::of(query.window.min[0], query.window.max[0]);
  const Arc arc = Arc::of(box.min[0], box.max[0]);
  switch (query.predicate) {
    case Predicate::kIntersects:
      return window.meets(arc) && box.min[1] <= query.window.max[1] &&
             query.window.min[1] <= box.max[1];
    case Predicate::kWithin:
      return window.contains(arc) && query.window.min[1] <= box.min[1] &&
             box.max[1] <= query.window.max[1];
    case Predicate::kContains:
      return arc.contains(window) && box.min[1] <= query.window.min[1] &&
             query.window.max[1] <= box.max[1];
  }
  return false;
}

class SphereSearchTest : public SphereTest {
 protected:
  SphereSearchTest() {
    for (std::uint64_t id = 0; id < 12'000; ++id) {
      const double width = id % 50 == 0 ? 359.5 : id % 7 == 0 ? 20 : 1;
      Point<2> at = even_point();
      if (id % 3 == 0)
        at.at[0] = at.at[0] > 0 ? 180 - std::floor(at.at[0] / 60) : -180 - std::ceil(at.at[0] / 60);
      given_.push_back({id, box(at, width, width / 10)});
    }
    for (std::uint64_t id = 12'000; id < 12'050; ++id) {
      given_.push_back({id, {{{-180, -10}}, {{180, static_cast<double>(id - 12'000) - 5}}}});
    }
    std::vector<Entry<2>> held;
    for (const Entry<2>& one : given_) held.push_back({one.id, unrolled(one.box)});
    tree_ = std::move(*Tree<2>::create({}, slabs_, clock_));
    EXPECT_TRUE(tree_->bulk_load(held, {}).has_value());
  }

  RangeQuery<2> query() {
    const std::uint64_t kind = random_.below(10);
    RangeQuery<2> query{.window = box(even_point(),
                                      kind < 5   ? 20
                                      : kind < 8 ? 3
                                                 : 359.5,
                                      kind < 3 ? 2 : 90),
                        .predicate = static_cast<Predicate>(random_.below(3)),
                        .lonlat = true};
    if (kind == 9) query.window.min[0] = -180, query.window.max[0] = 180;
    if (kind == 4) query.window.max[0] = 180;
    if (kind == 3) query.window.min[0] = -180;
    return query;
  }
  std::vector<std::uint64_t> expected(const RangeQuery<2>& query) const {
    std::vector<std::uint64_t> ids;
    for (const Entry<2>& one : given_) {
      if (matches_by_arcs(query, one.box)) ids.push_back(one.id);
    }
    return ids;
  }
  NearestResult expected(const NearestQuery<2>& query) const {
    NearestResult all;
    for (const Entry<2>& one : given_) {
      const double distance = metres(query.point, one.box);
      if (distance <= query.max_distance) all.push_back({one.id, distance});
    }
    std::sort(all.begin(), all.end(), [](const Neighbor& a, const Neighbor& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
    });
    if (all.size() > query.k) all.resize(query.k);
    return all;
  }
  NearestQuery<2> nearest_query() {
    NearestQuery<2> query{.point = random_.below(3) == 0 ? even_point() : point(),
                          .k = static_cast<std::uint32_t>(1 + random_.below(60)),
                          .lonlat = true};
    if (random_.below(20) == 0) query.k = 3000;
    if (random_.below(2) == 0) query.max_distance = std::pow(10, between(3, 7.5));
    return query;
  }
  /// Runs a search whose nodes are fed in any order.
  template <typename Cursor>
  void run(Cursor& cursor, const Snapshot<2>& snapshot) {
    std::vector<WantedNode> taken;
    const std::size_t width = 1 + random_.below(20);
    while (!cursor.done()) {
      while (taken.size() < width) {
        const auto wanted = cursor.take();
        if (!wanted) break;
        taken.push_back(*wanted);
      }
      if (taken.empty()) {
        ASSERT_TRUE(cursor.done()) << "nothing in flight";
        return;
      }
      std::swap(taken.back(), taken[random_.below(taken.size())]);
      const WantedNode wanted = taken.back();
      taken.pop_back();
      const Node<2>& node = snapshot.node(wanted.ref);
      if (wanted.level != 0 || wanted.groups == kAllGroups) {
        cursor.feed(node);
      } else {
        cursor.feed_groups(node, wanted.groups);
      }
    }
  }

  std::vector<Entry<2>> given_;
  AnonymousSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<Tree<2>> tree_;
};

TEST_F(SphereSearchTest, AWindowFindsWhatMeetsItRoundTheGlobe) {
  const Snapshot<2> snapshot = tree_->snapshot();
  RangeResult<2> result;
  for (int i = 0; i < 700; ++i) {
    const RangeQuery<2> query = this->query();
    ASSERT_TRUE(snapshot.range(query, result));
    std::sort(result.ids.begin(), result.ids.end());
    ASSERT_EQ(result.ids, expected(query))
        << query.window.min[0] << ' ' << query.window.min[1] << ' ' << query.window.max[0] << ' '
        << query.window.max[1] << " predicate " << static_cast<int>(query.predicate);
    RangeQuery<2> counting = query;
    counting.shape = ResultShape::kCount;
    ASSERT_TRUE(snapshot.range(counting, result));
    ASSERT_EQ(result.count, expected(query).size());
  }
}

TEST_F(SphereSearchTest, AWindowIsTheSameFromAfar) {
  const Snapshot<2> snapshot = tree_->snapshot();
  RangeCursor<2> cursor;
  RangeResult<2> result;
  for (int i = 0; i < 300; ++i) {
    RangeQuery<2> query = this->query();
    query.shape = i % 3 == 0 ? ResultShape::kCount : ResultShape::kEntries;
    cursor.start(query, {snapshot.root().ref, kAnyLevel}, result);
    run(cursor, snapshot);
    ASSERT_EQ(result.count, expected(query).size());
    if (query.shape == ResultShape::kCount) continue;
    std::sort(result.ids.begin(), result.ids.end());
    ASSERT_EQ(result.ids, expected(query));
  }
}

TEST_F(SphereSearchTest, WindowsOfABatchAreTheSame) {
  const Snapshot<2> snapshot = tree_->snapshot();
  std::vector<RangeQuery<2>> queries(400);
  for (RangeQuery<2>& query : queries) query = this->query();
  std::vector<RangeResult<2>> results(queries.size());
  ASSERT_TRUE(snapshot.range_batch(queries, results));
  for (std::size_t i = 0; i < queries.size(); ++i) {
    std::sort(results[i].ids.begin(), results[i].ids.end());
    ASSERT_EQ(results[i].ids, expected(queries[i]));
  }
}

TEST_F(SphereSearchTest, ALimitHoldsForAllPartsOfAWindow) {
  const Snapshot<2> snapshot = tree_->snapshot();
  RangeResult<2> result;
  for (int i = 0; i < 300; ++i) {
    RangeQuery<2> query = this->query();
    query.limit = random_.below(200);
    ASSERT_TRUE(snapshot.range(query, result));
    ASSERT_EQ(result.ids.size(), std::min<std::uint64_t>(query.limit, expected(query).size()));
  }
}

TEST_F(SphereSearchTest, NeighboursAreTheNearestInMetres) {
  const Snapshot<2> snapshot = tree_->snapshot();
  NearestResult result;
  for (int i = 0; i < 150; ++i) {
    const NearestQuery<2> query = nearest_query();
    ASSERT_TRUE(snapshot.nearest(query, result));
    ASSERT_EQ(result, expected(query)) << query.point.at[0] << ' ' << query.point.at[1];
  }
}

TEST_F(SphereSearchTest, WhatIsBeyondTheGreatestDistanceByItsLastBitIsNotTold) {
  const Snapshot<2> snapshot = tree_->snapshot();
  NearestResult result;
  for (int i = 0; i < 2'000; ++i) {
    NearestQuery<2> query{.point = even_point(), .k = 1, .lonlat = i % 2 == 0};
    ASSERT_TRUE(snapshot.nearest(query, result));
    const double distance = result.at(0).distance;
    if (distance == 0) continue;
    query.max_distance = distance;
    ASSERT_TRUE(snapshot.nearest(query, result));
    ASSERT_EQ(result.size(), 1u) << distance;
    query.max_distance = std::nextafter(distance, 0);
    ASSERT_TRUE(snapshot.nearest(query, result));
    ASSERT_EQ(result.size(), 0u) << distance;
  }
}

TEST_F(SphereSearchTest, NeighboursAreTheSameFromAfar) {
  const Snapshot<2> snapshot = tree_->snapshot();
  NearestCursor<2> cursor;
  NearestResult result;
  for (int i = 0; i < 150; ++i) {
    const NearestQuery<2> query = nearest_query();
    cursor.start(query, {snapshot.root().ref, kAnyLevel}, result, i % 2 == 0);
    run(cursor, snapshot);
    ASSERT_EQ(result, expected(query)) << query.point.at[0] << ' ' << query.point.at[1];
  }
}

TEST_F(SphereSearchTest, ANarrowWindowLooksAtNoNodeTwice) {
  std::vector<Entry<2>> held;
  for (const Entry<2>& one : given_) {
    if (one.box.min[0] <= one.box.max[0] && one.id < 12'000) held.push_back(one);
  }
  AnonymousSlabs slabs;
  const auto tree = std::move(*Tree<2>::create({}, slabs, clock_));
  ASSERT_TRUE(tree->bulk_load(held, {}));
  const Snapshot<2> snapshot = tree->snapshot();
  RangeResult<2> result;
  const auto nodes_of = [&](bool lonlat) {
    RangeCursor<2> cursor;
    cursor.start({.window = {{{10, 10}}, {{12, 12}}}, .lonlat = lonlat}, snapshot.root(), result);
    int nodes = 0;
    for (; !cursor.done(); ++nodes) cursor.feed(snapshot.node(cursor.take()->ref));
    return nodes;
  };
  EXPECT_EQ(nodes_of(true), nodes_of(false));
}

}  // namespace
}  // namespace silurus::rtree
