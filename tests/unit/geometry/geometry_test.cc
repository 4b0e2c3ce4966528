// SPDX-License-Identifier: Apache-2.0

#include "geometry/geometry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "geometry/check.h"
#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Shape line_of(Line line) { return {.type = Type::kLineString, .lines = {std::move(line)}}; }

std::string error_of(Shape shape) {
  const auto geometry = Geometry::create(std::move(shape));
  return geometry ? "" : geometry.error().message;
}

TEST(GeometryValue, NamesTheCoordinateThatIsNotFinite) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error_of(line_of({{0, 0}, {1, kNan}})), "coordinate 1 is not a number: its y");
  EXPECT_EQ(error_of(line_of({{-kInfinity, 0}, {1, 1}})),
            "coordinate 0 has x = -inf: coordinates must be finite");
  EXPECT_THAT(error_of(line_of({{0, 0}, {2e150, 1}})), StartsWith("coordinate 1 has x = 2e+150"));
  EXPECT_EQ(error_of(line_of({{0, 0}, {1e150, -1e150}})), "");
  Shape polygon{.type = Type::kPolygon,
                .lines = {{{0, 0}, {9, 0}, {9, 9}, {0, 0}}, {{1, 1}, {2, 1}, {2, kNan}, {1, 1}}}};
  Shape several{.type = Type::kMultiPolygon, .parts = {polygon}};
  EXPECT_EQ(error_of({.type = Type::kCollection, .parts = {several}}),
            "coordinate 2 of ring 1 of polygon 0 of part 0 is not a number: its y");
}

TEST(GeometryValue, ChecksZWhereThereIsOneAlone) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  Shape point{.type = Type::kPoint, .has_z = true, .lines = {{{1, 2, kNan}}}};
  EXPECT_EQ(error_of(point), "coordinate 0 is not a number: its z");
  point.has_z = false;
  const auto flat = Geometry::create(point);
  ASSERT_TRUE(flat);
  EXPECT_EQ(flat->shape().lines[0][0].z, 0) << "what is not kept must not differ";
}

TEST(GeometryValue, RefusesLinesAndRingsThatAreNone) {
  EXPECT_EQ(wrong_with("LINESTRING (1 1)"),
            "the geometry has fewer than 2 different coordinates: a line needs them");
  EXPECT_EQ(wrong_with("MULTILINESTRING ((0 0, 1 1), (1 1, 1 1, 1 1))"),
            "line 1 has fewer than 2 different coordinates: a line needs them");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 1 0, 0 0))"),
            "ring 0 has 3 coordinates: a ring has at least 4, the last of which is the first");
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((0 0, 9 0, 9 9, 0 0)), ((0 0, 1 0, 1 1, 0 1)))"),
            "ring 0 of polygon 1 is not closed: its last coordinate must be its first");
  EXPECT_EQ(wrong_with("POLYGON Z ((0 0 1, 1 0 1, 1 1 1, 0 0 2))"),
            "ring 0 is not closed: its last coordinate must be its first");
  EXPECT_EQ(wrong_with("POLYGON ((1 1, 1 1, 1 1, 1 1))"),
            "ring 0 has no extent: all its coordinates are equal");
}

TEST(GeometryValue, RefusesRingsThatMeetThemselves) {
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))"),
            "ring 0 crosses itself: the segments that begin at their coordinates 0 and 2");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 4 0, 4 4, 2 0, 0 4, 0 0))"),
            "ring 0 touches itself: the segments that begin at their coordinates 0 and 2");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 4 0, 4 4, 4 2, 0 2, 0 0))"),
            "ring 0 runs along itself: the segments that begin at their coordinates 1 and 2");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 1 1, 2 2, 0 0))"),
            "ring 0 runs along itself: the segments that begin at their coordinates 0 and 2");
  EXPECT_EQ(wrong_with("GEOMETRYCOLLECTION (POINT (0 0), MULTIPOLYGON (((9 9, 8 9, 8 8, 9 9)), "
                       "((0 0, 2 2, 2 0, 0 2, 0 0))))"),
            "ring 0 of polygon 1 of part 1 crosses itself: the segments that begin at their "
            "coordinates 0 and 2");
}

TEST(GeometryValue, TakesAVertexTwiceInARow) {
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 0 0, 4 0, 4 0, 4 4, 0 0, 0 0))"), "");
  EXPECT_EQ(wrong_with("LINESTRING (0 0, 0 0, 1 1)"), "");
  EXPECT_EQ(wrong_with("LINESTRING (0 0, 2 2, 2 0, 0 2)"), "") << "lines may cross themselves";
}

TEST(GeometryValue, RefusesHolesThatAreNone) {
  const auto with_holes = [](const std::string& holes) {
    return wrong_with("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), " + holes + ")");
  };
  EXPECT_EQ(with_holes("(1 1, 2 1, 2 2, 1 1), (10 1, 11 1, 11 2, 10 1)"),
            "ring 2 lies outside ring 0: a hole must lie within the shell");
  EXPECT_EQ(with_holes("(1 1, 5 1, 5 5, 1 5, 1 1), (2 2, 3 2, 3 3, 2 2)"),
            "ring 2 lies within ring 1, another hole");
  EXPECT_EQ(with_holes("(2 2, 3 2, 3 3, 2 2), (1 1, 5 1, 5 5, 1 5, 1 1)"),
            "ring 1 lies within ring 2, another hole");
  EXPECT_EQ(with_holes("(8 1, 10 1, 10 2, 8 1)"),
            "ring 1 crosses ring 0: the segments that begin at their coordinates 1 and 0");
  EXPECT_EQ(with_holes("(0 1, 1 2, 0 2, 0 1)"),
            "ring 1 runs along ring 0: the segments that begin at their coordinates 3 and 2");
  EXPECT_EQ(with_holes("(-1 -1, 10 -1, 10 10, -1 10, -1 -1)"),
            "ring 1 lies outside ring 0: a hole must lie within the shell");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 4 0, 2 2, 4 4, 0 4, 0 0), (1 2, 2 2, 4 2, 1 3, 1 2))"),
            "ring 1 crosses ring 0: the segments that begin at their coordinates 2 and 2");
}

TEST(GeometryValue, RefusesAHoleThatLeavesItsShellByAVertex) {
  // ring 1 passes through the vertex (2 2) of ring 0 by a vertex of its own, and comes back by
  // (2 4) and (2 6): no segments cross
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 4 0, 2 2, 4 4, 4 8, 0 8, 0 0), "
                       "(1 2, 2 2, 3.5 2, 4 4, 1 4, 1 2))"),
            "ring 1 lies outside ring 0: a hole must lie within the shell");
}

TEST(GeometryValue, TakesHolesThatTouchInOnePointAndRefusesThemInTwo) {
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (0 4, 4 3, 4 5, 0 4))"), "");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (0 4, 4 3, 9 4, 4 5, 0 4))"),
            "the inside of the geometry is in several pieces: ring 0 and ring 1 touch where that "
            "cuts it");
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (0 4, 2 3, 4 4, 2 5, 0 4), "
                       "(4 4, 5 3, 6 4, 5 5, 4 4))"),
            "");
  EXPECT_THAT(wrong_with("MULTIPOLYGON (((20 0, 21 0, 21 1, 20 0)), "
                         "((0 0, 9 0, 9 9, 0 9, 0 0), (0 4, 2 3, 4 4, 2 5, 0 4), "
                         "(4 4, 5 3, 9 4, 5 5, 4 4)))"),
              StartsWith("the inside of polygon 1 is in several pieces: "))
      << "a chain of holes from side to side";
  EXPECT_EQ(wrong_with("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (4 4, 3 1, 5 1, 4 4), "
                       "(4 4, 3 8, 5 8, 4 4), (4 4, 1 3, 1 5, 4 4))"),
            "")
      << "three that touch in the same point";
}

TEST(GeometryValue, RefusesPolygonsThatOverlap) {
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0)), ((1 1, 2 1, 2 2, 1 1)))"),
            "polygon 1 overlaps polygon 0");
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((1 1, 2 1, 2 2, 1 1)), ((0 0, 9 0, 9 9, 0 9, 0 0)))"),
            "polygon 0 overlaps polygon 1");
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((2 1, 9 1, 9 2, 2 1)))"),
            "ring 0 of polygon 1 crosses ring 0 of polygon 0: the segments that begin at their "
            "coordinates 1 and 0");
  EXPECT_THAT(wrong_with("MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((4 1, 9 1, 4 3, 4 1)))"),
              StartsWith("ring 0 of polygon 1 runs along ring 0 of polygon 0"));
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((4 4, 9 4, 9 9, 4 4)))"), "");
  EXPECT_EQ(wrong_with("MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 8 1, 8 8, 1 8, 1 1)), "
                       "((2 2, 3 2, 3 3, 2 2)))"),
            "")
      << "one in the hole of another";
}

TEST(GeometryValue, TurnsShellsCounterClockwiseAndHolesClockwise) {
  const Geometry clockwise = shape_of("POLYGON ((0 0, 0 9, 9 9, 9 0, 0 0), (1 1, 2 1, 2 2, 1 1))");
  EXPECT_EQ(write_wkt(clockwise), "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 2 2, 2 1, 1 1))");
  EXPECT_EQ(shape_of(write_wkt(clockwise)), clockwise);
  EXPECT_EQ(write_wkt(shape_of("POLYGON ((0 0, 0 0, 2 8, 1 1, 9 0, 0 0, 0 0))")),
            "POLYGON ((0 0, 0 0, 9 0, 1 1, 2 8, 0 0, 0 0))")
      << "by the turn at the least vertex, not at those that turn the other way";
}

TEST(GeometryValue, HasNoZeroWithASign) {
  EXPECT_EQ(write_wkt(shape_of("POINT Z (-0 -0.0 -0e5)")), "POINT Z (0 0 0)");
}

TEST(GeometryValue, RefusesPartsOfAnotherTypeOrWithoutZ) {
  Shape point{.type = Type::kPoint, .lines = {{{1, 2}}}};
  EXPECT_EQ(error_of({.type = Type::kMultiLineString, .parts = {point}}),
            "line 0 is a Point, in a MultiLineString");
  EXPECT_EQ(error_of({.type = Type::kCollection, .has_z = true, .parts = {point}}),
            "part 0 has no z, and the whole has");
  Shape high = point;
  high.has_z = true;
  EXPECT_EQ(error_of({.type = Type::kMultiPoint, .parts = {point, high}}),
            "point 1 has z, and the whole has none");
  EXPECT_EQ(error_of({.type = Type::kPoint, .parts = {point}}),
            "the geometry has what its type has not");
  EXPECT_EQ(error_of({.type = Type::kPoint, .lines = {{{1, 2}, {3, 4}}}}),
            "the geometry is a point of several coordinates");
  EXPECT_EQ(error_of({.type = static_cast<Type>(8)}), "the geometry is of no type");
}

TEST(GeometryValue, HasALimitOfDepthAndOfBytes) {
  Shape nested{.type = Type::kPoint, .lines = {{{1, 2}}}};
  for (int depth = 2; depth <= kMaxDepth; ++depth) {
    nested = {.type = Type::kCollection, .parts = {nested}};
  }
  EXPECT_EQ(error_of(nested), "");
  const auto deeper = Geometry::create({.type = Type::kCollection, .parts = {nested}});
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, ErrorCode::kTooLarge);

  constexpr std::size_t kMost = (kMaxBytes - 9) / 16;
  Line line(kMost, Coordinate{1, 1});
  line[0].x = 0;
  EXPECT_EQ(error_of(line_of(line)), "");
  line.push_back({2, 2});
  const auto longer = Geometry::create(line_of(line));
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::kTooLarge);
}

TEST(GeometryValue, GivesUpOnRingsWhoseSegmentsAllLieAcrossEachOther) {
  // narrow teeth along a diagonal: the boxes of all their sides meet
  Line ring;
  constexpr int kTeeth = 15'000;
  for (int i = 0; i < kTeeth; ++i) {
    ring.push_back({i * 1e-6, -i * 1e-6});
    ring.push_back({1 + i * 1e-6, 1 - i * 1e-6});
  }
  ring.push_back({-9, -9});
  ring.push_back(ring.front());
  const auto geometry = Geometry::create({.type = Type::kPolygon, .lines = {ring}});
  ASSERT_FALSE(geometry);
  EXPECT_EQ(geometry.error().code, ErrorCode::kTooLarge) << geometry.error().message;
}

TEST(GeometryValue, HasTheBoxOfAllVerticesAndNoneIfEmpty) {
  EXPECT_EQ(box_of<2>(shape_of("GEOMETRYCOLLECTION (POINT (5 1), LINESTRING (-1 2, 3 7))")),
            (rtree::Box<2>{{-1, 1}, {5, 7}}));
  EXPECT_EQ(box_of<3>(shape_of("MULTIPOINT Z ((1 2 -3), EMPTY, (4 0 9))")),
            (rtree::Box<3>{{1, 0, -3}, {4, 2, 9}}));
  EXPECT_EQ(box_of<2>(shape_of("POINT Z (1 2 3)")), (rtree::Box<2>{{1, 2}, {1, 2}}));
  EXPECT_EQ(box_of<3>(shape_of("POINT (1 2)")), std::nullopt);
  for (const char* empty : {"POINT EMPTY", "POLYGON EMPTY", "MULTIPOINT (EMPTY, EMPTY)",
                            "GEOMETRYCOLLECTION (LINESTRING EMPTY)"}) {
    EXPECT_EQ(box_of<2>(shape_of(empty)), std::nullopt) << empty;
    EXPECT_TRUE(shape_of(empty).is_empty()) << empty;
  }
  EXPECT_FALSE(shape_of("MULTIPOINT (EMPTY, 1 2)").is_empty());
}

}  // namespace
}  // namespace silurus::geometry
