// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "rtree/cursor.h"
#include "rtree/tree.h"
#include "tests/model/rtree/model.h"
#include "tests/support/seed.h"

// Neighbours whose distances have squares that double cannot hold: compared with distances in long
// double, not with the library's own.

namespace silurus::rtree {
namespace {

constexpr double kGreatest = std::numeric_limits<double>::max();

long double exact_distance(const Point<2>& point, const Box<2>& box) {
  long double gaps[2] = {};
  for (int d = 0; d < 2; ++d) {
    gaps[d] = std::max({0.0L, static_cast<long double>(box.min[d]) - point.at[d],
                        static_cast<long double>(point.at[d]) - box.max[d]});
  }
  return std::hypot(gaps[0], gaps[1]);
}

class ExtremeDistancesTest : public testing::Test {
 protected:
  /// A tree of points, ids as they come.
  void fill(const std::vector<Point<2>>& points) {
    tree_ = std::move(*Tree<2>::create({}, slabs_, clock_));
    for (const Point<2>& at : points) entries_.push_back({entries_.size(), {at.at, at.at}});
    ASSERT_TRUE(tree_->bulk_load(entries_, {}).has_value());
  }
  NearestResult nearest(const Point<2>& point, std::uint32_t k) {
    NearestResult result;
    EXPECT_TRUE(tree_->snapshot().nearest({point, k}, result));
    return result;
  }
  std::vector<std::uint64_t> ids_of_nearest(const Point<2>& point, std::uint32_t k) {
    std::vector<std::uint64_t> ids;
    for (const Neighbor& neighbor : nearest(point, k)) ids.push_back(neighbor.id);
    return ids;
  }

  AnonymousSlabs slabs_;
  SystemClock clock_;
  std::unique_ptr<Tree<2>> tree_;
  std::vector<Entry<2>> entries_;
};

TEST_F(ExtremeDistancesTest, SquaresThatOverflowKeepTheirOrder) {
  fill({{{3e200, 0}}, {{1e200, 0}}, {{2e200, 2e200}}, {{1, 0}}, {{1e160, 0}}});
  EXPECT_EQ(ids_of_nearest({{0, 0}}, 5), (std::vector<std::uint64_t>{3, 4, 1, 2, 0}));
  const NearestResult found = nearest({{0, 0}}, 5);
  EXPECT_EQ(found[0].distance, 1);
  EXPECT_EQ(found[2].distance, 1e200);
  EXPECT_DOUBLE_EQ(found[3].distance, std::hypot(2e200, 2e200));
}

TEST_F(ExtremeDistancesTest, SquaresThatUnderflowKeepTheirOrder) {
  fill({{{3e-200, 0}}, {{1e-200, 0}}, {{2e-200, 2e-200}}, {{1, 0}}, {{5e-324, 0}}, {{0, 0}}});
  EXPECT_EQ(ids_of_nearest({{0, 0}}, 6), (std::vector<std::uint64_t>{5, 4, 1, 2, 0, 3}));
  const NearestResult found = nearest({{0, 0}}, 6);
  EXPECT_EQ(found[0].distance, 0);
  EXPECT_EQ(found[1].distance, 5e-324);
  EXPECT_EQ(found[2].distance, 1e-200);
  EXPECT_DOUBLE_EQ(found[3].distance, std::hypot(2e-200, 2e-200));
}

TEST_F(ExtremeDistancesTest, ADistanceBeyondTheGreatestNumberIsToldAsThat) {
  fill({{{kGreatest, kGreatest}}, {{-kGreatest, 0}}, {{kGreatest, 0}}});
  const NearestResult found = nearest({{-kGreatest, -kGreatest}}, 3);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], (Neighbor{0, kGreatest}));
  EXPECT_EQ(found[1], (Neighbor{1, kGreatest}));
  EXPECT_EQ(found[2], (Neighbor{2, kGreatest}));
}

TEST_F(ExtremeDistancesTest, OfTheSameDistanceTheLowestIdGoesFirstThoughSquaresDiffer) {
  // Two ways to the same distance: (3, 4) and (5, 0) times a number, of which the squares are
  // rounded differently. The one with the greater square has the lower id.
  Random random(testing_support::seed(8));
  int differ = 0;
  for (int i = 0; i < 2'000; ++i) {
    const double scale = 1 + random.uniform();
    const double x = 3 * scale, y = 4 * scale;
    const double distance = std::sqrt(x * x + y * y);
    if (distance * distance >= x * x + y * y) continue;  // nothing to tell them apart by
    entries_.clear();
    fill({{{x, y}}, {{distance, 0}}});
    EXPECT_EQ(ids_of_nearest({{0, 0}}, 1), std::vector<std::uint64_t>{0}) << scale;
    ++differ;
  }
  EXPECT_GT(differ, 100);
}

TEST_F(ExtremeDistancesTest, RandomPointsOfAllMagnitudesAreInOrder) {
  Random random(testing_support::seed(7));
  const auto coordinate = [&] {
    const double sign = random.below(2) == 0 ? -1 : 1;
    return sign * std::ldexp(1 + random.uniform(), static_cast<int>(random.below(2040)) - 1020);
  };
  std::vector<Point<2>> points(3'000);
  for (Point<2>& point : points) point = {{coordinate(), coordinate()}};
  fill(points);
  for (int i = 0; i < 300; ++i) {
    const Point<2> at = i % 3 == 0 ? Point<2>{{0, 0}} : Point<2>{{coordinate(), coordinate()}};
    const auto k = static_cast<std::uint32_t>(1 + random.below(200));
    std::vector<long double> expected;
    for (const Entry<2>& entry : entries_) expected.push_back(exact_distance(at, entry.box));
    std::ranges::sort(expected);
    const NearestResult found = nearest(at, k);
    ASSERT_EQ(found.size(), k);
    for (std::size_t n = 0; n < k; ++n) {
      const long double told = std::min<long double>(expected[n], kGreatest);
      ASSERT_NEAR(static_cast<double>(found[n].distance / told), 1, 1e-12) << n << "th of " << k;
      ASSERT_TRUE(std::isfinite(found[n].distance));
    }
  }
}

}  // namespace
}  // namespace silurus::rtree
