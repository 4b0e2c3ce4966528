// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/agreement.h"

#include <gmock/gmock.h>

#include <cmath>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::bench {
namespace {

using Box2 = rtree::Box<2>;
using Entry2 = rtree::Entry<2>;
using testing::HasSubstr;

constexpr Box2 kWindow{{0.25, 0.25}, {0.5, 0.5}};

/// Touches the window's right edge when it grows by that amount.
Box2 right_of_window(double by) { return {{0.5 + by, 0.3}, {0.6, 0.4}}; }

TEST(Agreement, IsExactWhereDoublesAreHeld) {
  EXPECT_EQ(verdict(Rounding::kNone, right_of_window(0), kWindow), Verdict::kIn);
  EXPECT_EQ(verdict(Rounding::kNone, right_of_window(1e-16 * 3), kWindow), Verdict::kOut);
}

TEST(Agreement, LetsFloatsGrowBoxesButNotShrinkThem) {
  EXPECT_EQ(verdict(Rounding::kFloat32, right_of_window(0), kWindow), Verdict::kIn);
  EXPECT_EQ(verdict(Rounding::kFloat32, right_of_window(1e-9), kWindow), Verdict::kEither);
  EXPECT_EQ(verdict(Rounding::kFloat32, right_of_window(1e-6), kWindow), Verdict::kOut);
}

TEST(Agreement, CoversWhatFloatsReallyDo) {
  const std::uint64_t seed = testing_support::seed(1);
  Random random(seed);
  for (int i = 0; i < 10'000; ++i) {
    Box2 box;
    for (int d = 0; d < 2; ++d) {
      box.min[d] = random.uniform();
      box.max[d] = box.min[d] + 1e-4 * random.uniform();
    }
    Box2 window;
    for (int d = 0; d < 2; ++d) {
      window.min[d] = box.max[d] + 3e-8 * random.uniform();  // often within a float's step
      window.max[d] = window.min[d] + 0.01;
    }
    bool found = true;  // as PostGIS does: both are rounded outward, each to the next float
    for (int d = 0; d < 2; ++d) {
      const float high = std::nextafter(static_cast<float>(box.max[d]), HUGE_VALF);
      const float low = std::nextafter(static_cast<float>(window.min[d]), -HUGE_VALF);
      found = found && high >= low;
    }
    if (found) {
      EXPECT_NE(verdict(Rounding::kFloat32, box, window), Verdict::kOut);
    }
  }
}

TEST(Agreement, HoldsCentresOnRedissGrid) {
  const auto at = [](double x) { return Box2{{x - 0.01, 0.37}, {x + 0.01, 0.38}}; };
  EXPECT_EQ(verdict(Rounding::kGeohash, at(0.4), kWindow), Verdict::kIn);
  // The box reaches into the window, its centre does not.
  EXPECT_EQ(verdict(Rounding::kGeohash, at(0.505), kWindow), Verdict::kOut);
  // Half a cell is 2.7e-7 of the square: on which side the centre lands is decided by the grid.
  int found = 0;
  for (int i = 0; i < 100; ++i) {
    found += verdict(Rounding::kGeohash, at(0.5 + (i - 50) * 1e-8), kWindow) == Verdict::kIn;
  }
  EXPECT_GT(found, 20);
  EXPECT_LT(found, 80);
}

TEST(Agreement, MeasuresRedissWindowsInMetres) {
  const RedisWindow window = redis_window({{0.4, 0.9}, {0.6, 1}});
  EXPECT_NEAR(window.centre.longitude, 0, 1e-12);
  EXPECT_NEAR(window.centre.latitude, 4.5, 1e-12);
  EXPECT_NEAR(window.height_m, 111'226, 1);  // a degree on Redis's sphere
  EXPECT_NEAR(window.width_m, 2 * 111'226 * std::cos(4.5 * 3.14159265 / 180), 10);
}

TEST(Agreement, NamesTheEntryThatDiffers) {
  const std::vector<Entry2> candidates{{1, {{0.3, 0.3}, {0.4, 0.4}}}, {2, right_of_window(0.1)}};
  const auto error = [&](const std::vector<std::uint64_t>& found) {
    Agreement agreement;
    const auto checked = check_window(Rounding::kNone, kWindow, candidates, found, agreement);
    return checked ? "" : checked.error().message;
  };
  EXPECT_EQ(error({1}), "");
  EXPECT_THAT(error({}), HasSubstr("not the entry 1"));
  EXPECT_THAT(error({1, 2}), HasSubstr("too much the entry 2"));
  EXPECT_THAT(error({1, 3}), HasSubstr("too much the entry 3"));
  EXPECT_THAT(error({1, 1}), HasSubstr("twice the entry 1"));
}

TEST(Agreement, CountsWhatRoundingExplains) {
  const std::vector<Entry2> candidates{{1, {{0.3, 0.3}, {0.4, 0.4}}}, {2, right_of_window(1e-9)}};
  const std::vector<std::uint64_t> both{1, 2};
  Agreement agreement;
  ASSERT_TRUE(check_window(Rounding::kFloat32, kWindow, candidates, both, agreement));
  EXPECT_EQ(agreement.queries, 1u);
  EXPECT_EQ(agreement.entries, 1u);
  EXPECT_EQ(agreement.by_rounding, 1u);
}

TEST(Agreement, WantsNeighboursInTheirOrder) {
  const std::vector<Entry2> candidates{
      {1, {{0.1, 0}, {0.1, 0}}}, {2, {{0.2, 0}, {0.2, 0}}}, {3, {{0.3, 0}, {0.3, 0}}}};
  const auto error = [&](const std::vector<std::uint64_t>& found) {
    Agreement agreement;
    const auto checked = check_nearest(Rounding::kNone, {{0, 0}}, 2, candidates, found, agreement);
    return checked ? "" : checked.error().message;
  };
  EXPECT_EQ(error({1, 2}), "");
  EXPECT_THAT(error({1}), HasSubstr("1 came"));
  EXPECT_THAT(error({2, 1}), HasSubstr("entry 2 is number 1"));
  EXPECT_THAT(error({1, 3}), HasSubstr("entry 3 is number 2"));
  EXPECT_THAT(error({1, 4}), HasSubstr("entry 4 is number 2"));
}

TEST(Agreement, RefusesAPeerThatIsTooOld) {
  const auto error = [](const std::string& version) {
    const auto checked = check_version("Redis", version, {6, 2}, "GEOSEARCH");
    return checked ? "" : checked.error().message;
  };
  EXPECT_EQ(error("7.0.15"), "");
  EXPECT_EQ(error("6.2"), "");
  EXPECT_EQ(error("6.1.9"), "Redis is version 6.1.9; GEOSEARCH needs 6.2 or later");
  EXPECT_THAT(error("5"), HasSubstr("needs 6.2"));
  EXPECT_THAT(error("new"), HasSubstr("'new' is no version"));
  EXPECT_THAT(*parse_version("15.18 (Debian)"), testing::ElementsAre(15, 18, 0));
}

}  // namespace
}  // namespace silurus::bench
