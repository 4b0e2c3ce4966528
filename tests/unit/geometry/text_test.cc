// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "geometry/geojson.h"
#include "geometry/json_text.h"
#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// A well-known text, and the same geometry in GeoJSON.
struct Texts {
  const char* wkt;
  const char* geojson;
};
constexpr Texts kTextsOfEachType[] = {
    {"POINT (1 2)", R"({"type":"Point","coordinates":[1,2]})"},
    {"POINT Z (1.5 -2 3)", R"({"type":"Point","coordinates":[1.5,-2,3]})"},
    {"POINT EMPTY", R"({"type":"Point","coordinates":[]})"},
    {"LINESTRING (0 0, 1e-07 1e+30)",
     R"({"type":"LineString","coordinates":[[0,0],[1e-07,1e+30]]})"},
    {"LINESTRING EMPTY", R"({"type":"LineString","coordinates":[]})"},
    {"POLYGON ((0 0, 9 0, 9 9, 0 0), (5 2, 5 3, 6 2, 5 2))",
     R"({"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,0]],[[5,2],[5,3],[6,2],[5,2]]]})"},
    {"MULTIPOINT Z ((1 2 3), (4 5 6))", R"({"type":"MultiPoint","coordinates":[[1,2,3],[4,5,6]]})"},
    {"MULTIPOINT ((1 2), EMPTY)", R"({"type":"MultiPoint","coordinates":[[1,2],[]]})"},
    {"MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
     R"({"type":"MultiLineString","coordinates":[[[0,0],[1,1]],[[2,2],[3,3]]]})"},
    {"MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
     R"({"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]],)"
     R"([[[5,5],[6,5],[6,6],[5,5]]]]})"},
    {"GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION (LINESTRING (0 0, 1 1)))",
     R"({"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},)"
     R"({"type":"GeometryCollection","geometries":[)"
     R"({"type":"LineString","coordinates":[[0,0],[1,1]]}]}]})"},
    {"GEOMETRYCOLLECTION EMPTY", R"({"type":"GeometryCollection","geometries":[]})"},
};

TEST(GeometryText, OfEachTypeIsTheSameInBothFormsAndIsReadAsWritten) {
  for (const auto& [wkt, geojson] : kTextsOfEachType) {
    const auto of_wkt = read_wkt(wkt);
    ASSERT_TRUE(of_wkt) << wkt << ": " << of_wkt.error().message;
    const auto of_json = read_geojson(geojson);
    ASSERT_TRUE(of_json) << geojson << ": " << of_json.error().message;
    EXPECT_EQ(*of_wkt, *of_json) << wkt;
    EXPECT_EQ(write_wkt(*of_json), wkt);
    EXPECT_EQ(write_geojson(*of_wkt), geojson);
  }
}

TEST(WellKnownText, IsReadInAnyCaseAndSpacing) {
  EXPECT_EQ(shape_of(" Point(1\n2 ) "), shape_of("POINT (1 2)"));
  EXPECT_EQ(shape_of("linestring z(1 2 3,4 5 6)"), shape_of("LINESTRING Z (1 2 3, 4 5 6)"));
  EXPECT_EQ(shape_of("POINTZ (1 2 3)"), shape_of("POINT Z (1 2 3)"));
  EXPECT_EQ(shape_of("POINT (1 2 3)"), shape_of("POINT Z (1 2 3)"));
  EXPECT_EQ(shape_of("MULTIPOINT (1 2, 3 4)"), shape_of("MULTIPOINT ((1 2), (3 4))"));
  EXPECT_EQ(shape_of("POINT (+1 .5)"), shape_of("POINT (1 0.5)"));
  EXPECT_EQ(shape_of("GEOMETRYCOLLECTION (POINT (1 2 3))"),
            shape_of("GEOMETRYCOLLECTION Z (POINT Z (1 2 3))"));
}

TEST(WellKnownText, KeepsZOfWhatIsEmpty) {
  EXPECT_TRUE(shape_of("POLYGON Z EMPTY").has_z());
  EXPECT_EQ(write_wkt(shape_of("MULTIPOINT Z (EMPTY, (1 2 3))")), "MULTIPOINT Z (EMPTY, (1 2 3))");
}

TEST(WellKnownText, NamesTheColumnOfWhatItCannotRead) {
  EXPECT_EQ(wrong_with("POINT 1 2"), "column 7: expected (, got 1 2");
  EXPECT_EQ(wrong_with("POINT (1 x)"), "column 10: expected a number, got x)");
  EXPECT_EQ(wrong_with("POINT (1)"), "column 9: expected a number, got )");
  EXPECT_EQ(wrong_with("POINT (1 2) x"), "column 13: expected the end, got x");
  EXPECT_EQ(wrong_with("LINESTRING (1 2, 3 4"), "column 21: expected , or ), got the end");
  EXPECT_EQ(wrong_with("LINESTRING (1 2, 3 4 5)"),
            "column 22: expected two numbers, as before, got 5)");
  EXPECT_EQ(wrong_with("LINESTRING Z (1 2 3, 3 4)"), "column 25: expected three numbers, got )");
  EXPECT_EQ(wrong_with("POINT (1 1e999)"),
            "column 10: expected a number that a double can hold, got 1e999)");
  EXPECT_THAT(wrong_with("CIRCLE (1 2)"), StartsWith("column 1: expected POINT, LINESTRING"));
  EXPECT_THAT(wrong_with("POINT Q (1 2)"), StartsWith("column 8: expected Z, EMPTY or ("));
  EXPECT_THAT(wrong_with(""), HasSubstr("got the end"));
  EXPECT_THAT(wrong_with("POINT (nan 1)"), HasSubstr("is not a number"));
  EXPECT_THAT(wrong_with("POINT (1 2, 3 4)"), HasSubstr("several coordinates"));
}

TEST(WellKnownText, RefusesMAndWhatIsNestedTooDeep) {
  for (const char* text : {"POINT M (1 2 3)", "POINT ZM (1 2 3 4)", "POINTM (1 2 3)"}) {
    const auto read = read_wkt(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kUnsupported) << text;
  }
  std::string deep = "POINT (1 2)";
  for (int depth = 2; depth <= kMaxDepth; ++depth) deep = "GEOMETRYCOLLECTION (" + deep + ")";
  EXPECT_EQ(wrong_with(deep), "");
  const auto deeper = read_wkt("GEOMETRYCOLLECTION (" + deep + ")");
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, ErrorCode::kTooLarge);
}

std::string wrong_with_json(std::string_view text) {
  const auto geometry = read_geojson(text);
  return geometry ? "" : geometry.error().message;
}

TEST(GeoJson, IsWrittenByTheRightHandRule) {
  const auto read = read_geojson(
      R"({"type":"Polygon","coordinates":[[[0,0],[0,9],[9,9],[0,0]],[[2,3],[3,4],[2,4],[2,3]]]})");
  ASSERT_TRUE(read);
  EXPECT_EQ(write_geojson(*read), R"({"type":"Polygon","coordinates":)"
                                  R"([[[0,0],[9,9],[0,9],[0,0]],[[2,3],[2,4],[3,4],[2,3]]]})");
}

TEST(GeoJson, PassesOverOtherMembers) {
  EXPECT_EQ(*read_geojson(R"({"bbox":[1,2,1,2],"coordinates":[1,2],"type":"Point","crs":{}})"),
            shape_of("POINT (1 2)"));
  const auto ordered = nlohmann::ordered_json::parse(R"({"coordinates":[1,2],"type":"Point"})");
  EXPECT_EQ(*geometry_of_json(ordered), shape_of("POINT (1 2)"));
}

TEST(GeoJson, NamesThePlaceThatIsWrong) {
  EXPECT_EQ(wrong_with_json(R"({"type":"MultiPolygon","coordinates":)"
                            R"([[[[0,0],[9,0],[9,9],[0,0]],[[1,1],[2,1],[2,2],[1,"1"]]]]})"),
            "coordinate 3 of ring 1 of polygon 0 has something that is not a number");
  EXPECT_EQ(wrong_with_json(R"({"type":"LineString","coordinates":[[0,0],[1,2,3,4]]})"),
            "coordinate 1 has 4 numbers: a position has 2, or 3 with a height");
  EXPECT_EQ(wrong_with_json(R"({"type":"MultiPoint","coordinates":[[0,0],[1]]})"),
            "point 1 has 1 numbers: a position has 2, or 3 with a height");
  EXPECT_EQ(wrong_with_json(R"({"type":"MultiPoint","coordinates":[[0,0],[1,2,3]]})"),
            "point 1 has 3 numbers, and those before have 2");
  EXPECT_EQ(wrong_with_json(R"({"type":"LineString","coordinates":[[0,0,0],[1,2]]})"),
            "coordinate 1 has 2 numbers, and those before have 3");
  EXPECT_EQ(wrong_with_json(R"({"type":"MultiLineString","coordinates":[[[0,0],[1,1]],7]})"),
            "line 1 is no array");
  EXPECT_EQ(wrong_with_json(R"({"type":"LineString","coordinates":[0,0]})"),
            "coordinate 0 is no array of numbers");
  EXPECT_EQ(wrong_with_json(R"({"type":"GeometryCollection","geometries":[{"type":"Point"}]})"),
            "part 0 has no array \"coordinates\"");
  EXPECT_EQ(wrong_with_json(R"({"type":"Feature"})"),
            "the geometry has the type \"Feature\", which is no geometry's");
  EXPECT_EQ(wrong_with_json("[1,2]"), "the geometry is no object");
  EXPECT_EQ(wrong_with_json(R"({"type":"Point")"), "the text is no JSON");
}

TEST(GeoJson, LeavesNothingOutOfWhatIsNestedDeep) {
  std::string deep = R"({"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]})";
  for (int depth = 3; depth <= kMaxDepth; ++depth) {
    deep = R"({"type":"GeometryCollection","geometries":[)" + deep + "]}";
  }
  const auto read = read_geojson(deep);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(write_geojson(*read), deep);
  std::string deeper = R"({"type":"Point","coordinates":[1,2]})";
  for (int depth = 2; depth <= kMaxDepth + 1; ++depth) {
    deeper = R"({"type":"GeometryCollection","geometries":[)" + deeper + "]}";
  }
  const auto refused = read_geojson(deeper);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);
}

TEST(JsonText, HasALimitOfNestingOutsideOfStrings) {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  EXPECT_TRUE(parse_whole_json<nlohmann::json>(nested(kMaxNesting), "it"));
  const auto deeper = parse_whole_json<nlohmann::json>(nested(kMaxNesting + 1), "it");
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().message, "it is nested deeper than 64 levels");
  EXPECT_EQ(nesting_of(R"(["\"[[[", {"]": [1]}, []])"), 3);
}

TEST(GeometryText, HasALimit) {
  const std::string large(kMaxText + 1, ' ');
  EXPECT_EQ(read_wkt(large).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(read_geojson(large).error().code, ErrorCode::kTooLarge);
}

TEST(GeometryText, OfTheLargestGeometriesIsReadAgain) {
  // empty parts are the shortest in binary to their text; long numbers come next
  const Shape empty{.type = Type::kCollection};
  const Shape parts{.type = Type::kCollection,
                    .parts = std::vector<Shape>((kMaxBytes - 9) / 9, empty)};
  Line line((kMaxBytes - 9) / 16, Coordinate{-1.2345678901234567e-300, -1.2345678901234567e+100});
  line[0].x = 1;
  for (const Shape& shape : {parts, Shape{.type = Type::kLineString, .lines = {line}}}) {
    const auto geometry = Geometry::create(shape);
    ASSERT_TRUE(geometry) << geometry.error().message;
    for (const bool is_wkt : {true, false}) {
      const auto again =
          is_wkt ? read_wkt(write_wkt(*geometry)) : read_geojson(write_geojson(*geometry));
      ASSERT_TRUE(again) << again.error().message;
      EXPECT_TRUE(*again == *geometry);
    }
  }
}

}  // namespace
}  // namespace silurus::geometry
