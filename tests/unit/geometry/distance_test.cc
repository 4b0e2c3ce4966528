// SPDX-License-Identifier: Apache-2.0

#include "geometry/distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "common/random.h"
#include "rtree/sphere.h"
#include "tests/support/seed.h"
#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

constexpr double kDegree = rtree::kEarthRadius * std::numbers::pi / 180;
constexpr double kNanometres = 2e-8;

double planar(double x, double y, std::string_view wkt) {
  return distance({{x, y}}, shape_of(wkt)).value();
}
double on_sphere(double longitude, double latitude, std::string_view wkt) {
  return metres({{longitude, latitude}}, shape_of(wkt)).value();
}

TEST(Distance, IsToTheNearestPointOfEachType) {
  EXPECT_EQ(planar(0, 0, "POINT (3 4)"), 5);
  EXPECT_EQ(planar(0, 0, "MULTIPOINT (9 9, -3 -4)"), 5);
  EXPECT_EQ(planar(2, 3, "LINESTRING (0 0, 9 0)"), 3) << "the middle of a segment";
  EXPECT_EQ(planar(12, 4, "LINESTRING (0 0, 9 0)"), 5) << "its end";
  EXPECT_EQ(planar(-3, 4, "LINESTRING (0 0, 9 0)"), 5) << "its beginning";
  EXPECT_EQ(planar(5, 0, "LINESTRING (0 0, 0 0, 9 0)"), 0);
  EXPECT_EQ(planar(0, 0, "GEOMETRYCOLLECTION (POINT (9 9), LINESTRING (2 -1, 2 1))"), 2);
  const char* const ring = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (3 3, 6 3, 6 6, 3 6, 3 3))";
  EXPECT_EQ(planar(1, 1, ring), 0);
  EXPECT_EQ(planar(9, 1, ring), 0);
  EXPECT_EQ(planar(4, 4.5, ring), 1) << "in the hole";
  EXPECT_EQ(planar(12, 13, ring), 5);
  EXPECT_EQ(planar(1e150, 0, "LINESTRING (-1e150 -1, -1e150 1)"), 2e150);
  EXPECT_EQ(distance({{1, 2}}, shape_of("MULTIPOINT EMPTY")), std::nullopt);
  EXPECT_EQ(metres({{1, 2}}, shape_of("POLYGON EMPTY")), std::nullopt);
}

TEST(Metres, OfAPointAreThoseOfTheSphere) {
  EXPECT_NEAR(on_sphere(0, 0, "POINT (1 0)"), kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(77, 90, "POINT (12 89)"), kDegree, kNanometres) << "from a pole";
  EXPECT_NEAR(on_sphere(179.5, 0, "POINT (-179.5 0)"), kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(0, 0, "POINT (180 0)"), 180 * kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(0, 60, "POINT (180 60)"), 60 * kDegree, kNanometres) << "over the pole";
  EXPECT_NEAR(on_sphere(10, 20, "POINT (10 20.000001)"), kDegree * 1e-6, kNanometres);
}

TEST(Metres, OfASegmentAreThoseToItsArc) {
  EXPECT_NEAR(on_sphere(5, 3, "LINESTRING (0 0, 10 0)"), 3 * kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(13, 0, "LINESTRING (0 0, 10 0)"), 3 * kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(180, 2, "LINESTRING (170 0, -170 0)"), 2 * kDegree, kNanometres)
      << "the shorter way, over the antimeridian";
  EXPECT_NEAR(on_sphere(33, 90, "LINESTRING (0 80, 180 80)"), 0, kNanometres) << "over the pole";
  EXPECT_NEAR(on_sphere(90, 89, "LINESTRING (0 80, 180 80)"), kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(45, 60, "LINESTRING (0 60, 90 60)"),
              (std::atan(std::sqrt(6)) * 180 / std::numbers::pi - 60) * kDegree, kNanometres)
      << "the arc bends towards the pole";
  EXPECT_NEAR(on_sphere(0, 90, "LINESTRING (0 0, 10 0)"), 90 * kDegree, kNanometres)
      << "as far from all of it";
  EXPECT_NEAR(on_sphere(-170, 0, "LINESTRING (0 0, 20 0)"), 170 * kDegree, kNanometres)
      << "the ends, where the great circle is near on the other side";
  EXPECT_NEAR(on_sphere(20, 5, "LINESTRING (20 -90, 20 90)"), 0, kNanometres)
      << "between antipodes by the middle of their degrees";
  EXPECT_NEAR(on_sphere(21, 0, "LINESTRING (20 -90, 20 90)"), kDegree, kNanometres);
  EXPECT_NEAR(on_sphere(10 + 5e-9, 20 + 1e-6, "LINESTRING (10 20, 10.00000001 20)"), kDegree * 1e-6,
              kNanometres)
      << "a segment of a millimetre";
}

TEST(Metres, AreZeroInPolygonsOfDegrees) {
  const char* const square = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))";
  EXPECT_EQ(on_sphere(5, 5, square), 0);
  EXPECT_EQ(on_sphere(10, 5, square), 0);
  EXPECT_NEAR(on_sphere(12, 0, square), 2 * kDegree, kNanometres);
  const char* const across = "POLYGON ((170 -5, 190 -5, 190 5, 170 5, 170 -5))";
  EXPECT_EQ(on_sphere(-175, 0, across), 0) << "goes on beyond 180 degrees";
  EXPECT_EQ(on_sphere(175, 0, across), 0);
  EXPECT_NEAR(on_sphere(-168, 0, across), 2 * kDegree, 1e-3 * kDegree);
  const char* const split =
      "MULTIPOLYGON (((170 0, 180 0, 180 5, 170 0)), ((-180 0, -170 0, -180 5, -180 0)))";
  EXPECT_EQ(on_sphere(-175, 1, split), 0) << "as RFC 7946 cuts it";
  const char* const cap = "POLYGON ((-180 80, 0 80, 180 80, 180 90, -180 90, -180 80))";
  EXPECT_EQ(on_sphere(77, 85, cap), 0);
  EXPECT_NEAR(on_sphere(0, 90, cap), 0, kNanometres);
  const char* const ring = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (3 3, 6 3, 6 6, 3 6, 3 3))";
  EXPECT_NEAR(on_sphere(5, 4, ring), kDegree * std::cos(4 * std::numbers::pi / 180), kDegree / 100)
      << "in the hole";
}

TEST(Metres, AreThoseToTheNearestOfManyPointsOfAnArc) {
  Random random(testing_support::seed(20260101));
  for (int i = 0; i < 300; ++i) {
    const auto direction = [&] {
      return rtree::Point<2>{{random.uniform(-180, 180), random.uniform(-90, 90)}};
    };
    const auto from = direction();
    const auto to = direction();
    const auto at = direction();
    const auto vector_of = [](const rtree::Point<2>& degrees) {
      const double longitude = degrees.at[0] * std::numbers::pi / 180;
      const double latitude = degrees.at[1] * std::numbers::pi / 180;
      return std::array{std::cos(latitude) * std::cos(longitude),
                        std::cos(latitude) * std::sin(longitude), std::sin(latitude)};
    };
    const auto a = vector_of(from);
    const auto b = vector_of(to);
    const auto p = vector_of(at);
    double least = 4;
    constexpr int kSteps = 4000;
    for (int step = 0; step <= kSteps; ++step) {
      std::array<double, 3> on_chord{};
      double length = 0;
      double product = 0;
      for (std::size_t d = 0; d < 3; ++d) {
        on_chord[d] = a[d] + (b[d] - a[d]) * step / kSteps;
        length += on_chord[d] * on_chord[d];
        product += on_chord[d] * p[d];
      }
      least = std::min(least, std::acos(std::clamp(product / std::sqrt(length), -1.0, 1.0)));
    }
    const Geometry line =
        Geometry::create({.type = Type::kLineString,
                          .lines = {{{from.at[0], from.at[1]}, {to.at[0], to.at[1]}}}})
            .value();
    const double told = metres(at, line).value() / rtree::kEarthRadius;
    EXPECT_LE(told, least + 1e-7);
    // the samples of a chord lie farther apart on the arc the nearer that is to half a circle
    double sum = 0;
    for (std::size_t d = 0; d < 3; ++d) sum += (a[d] + b[d]) * (a[d] + b[d]);
    const double apart = 2.0 / kSteps / (std::sqrt(sum) / 2) / (std::sqrt(sum) / 2);
    EXPECT_GE(told, least - apart);
  }
}

}  // namespace
}  // namespace silurus::geometry
