// SPDX-License-Identifier: Apache-2.0

#include "geometry/prepared.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

/// "I" if they intersect, "W" if the geometry lies within the query, "C" if it contains the query,
/// "!" for an error.
std::string relation(const std::string& geometry, const std::string& query) {
  const Prepared prepared(shape_of(query));
  const Geometry other = shape_of(geometry);
  std::string relation;
  const auto add = [&](char letter, const Result<bool>& is) {
    if (!is) {
      relation += '!';
    } else if (*is) {
      relation += letter;
    }
  };
  add('I', prepared.intersects(other));
  add('W', prepared.within(other));
  add('C', prepared.contains(other));
  return relation;
}

const std::string kSquare = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))";
const std::string kRing = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (3 3, 6 3, 6 6, 3 6, 3 3))";

TEST(Prepared, TellsPointsInPolygonsFromThoseOnTheirEdges) {
  EXPECT_EQ(relation("POINT (1 1)", kRing), "IW");
  EXPECT_EQ(relation("POINT (9 1)", kRing), "I") << "the boundary is not within";
  EXPECT_EQ(relation("POINT (0 0)", kRing), "I");
  EXPECT_EQ(relation("POINT (3 4)", kRing), "I") << "of a hole, too";
  EXPECT_EQ(relation("POINT (4 4)", kRing), "");
  EXPECT_EQ(relation("POINT (10 4)", kRing), "");
  EXPECT_EQ(relation("POINT (2 1)", "POLYGON ((0 0, 1 1, 2 0, 3 1, 4 0, 4 2, 0 2, 0 0))"), "IW");
  EXPECT_EQ(relation("POINT (0 1)", "POLYGON ((1 1, 2 0, 3 1, 2 2, 1 1))"), "")
      << "a ray through vertices";
  EXPECT_EQ(relation("POINT (2 1)", "POLYGON ((1 1, 2 0, 3 1, 2 2, 1 1))"), "IW");
  EXPECT_EQ(relation("MULTIPOINT (9 1, 1 1)", kRing), "IW") << "one is inside";
  EXPECT_EQ(relation("MULTIPOINT (9 1, 0 0)", kRing), "I");
  EXPECT_EQ(relation("MULTIPOINT (4 4, 1 1)", kRing), "I");
  EXPECT_EQ(relation("MULTIPOINT (4 4, 5 5)", kRing), "");
}

TEST(Prepared, IsExactWherePointsLieCloseToAnEdge) {
  const std::string triangle = "POLYGON ((0 0, 1 0, 1 3, 0 0))";
  EXPECT_EQ(relation("POINT (0.1 0.30000000000000004)", triangle), "")
      << "a unit of the last place above the edge y = 3 x, which 0.1 * 3 rounds to";
  EXPECT_EQ(relation("POINT (0.1 0.3)", triangle), "IW");
  EXPECT_EQ(relation("POINT (0.125 0.375)", triangle), "I");
}

TEST(Prepared, TellsLinesInPolygons) {
  EXPECT_EQ(relation("LINESTRING (1 1, 2 8, 8 8)", kRing), "IW");
  EXPECT_EQ(relation("LINESTRING (0 0, 2 2)", kRing), "IW") << "from the boundary inwards";
  EXPECT_EQ(relation("LINESTRING (0 0, 9 0, 9 9)", kRing), "I") << "all in the boundary";
  EXPECT_EQ(relation("LINESTRING (0 1, 0 8)", kRing), "I");
  EXPECT_EQ(relation("LINESTRING (3 3, 6 3)", kRing), "I") << "in that of a hole";
  EXPECT_EQ(relation("LINESTRING (2 3, 7 3)", kRing), "IW") << "along a hole and beyond it";
  EXPECT_EQ(relation("LINESTRING (0 0, 9 9)", kRing), "I") << "through corners of a hole";
  EXPECT_EQ(relation("LINESTRING (1 1, 4 4)", kRing), "I");
  EXPECT_EQ(relation("LINESTRING (4 4, 5 5)", kRing), "");
  EXPECT_EQ(relation("LINESTRING (-1 1, 10 1)", kRing), "I") << "all its vertices are outside";
  EXPECT_EQ(relation("LINESTRING (9 4, 12 4)", kRing), "I") << "touches from outside";
  EXPECT_EQ(relation("LINESTRING (-1 1, 1 -1)", kSquare), "I") << "touches a corner";
  EXPECT_EQ(relation("LINESTRING (-1 0.9, 1 -1)", kSquare), "");
  EXPECT_EQ(relation("MULTILINESTRING ((0 0, 9 0), (1 1, 2 2))", kRing), "IW");
  EXPECT_EQ(relation("MULTILINESTRING ((1 1, 2 2), (10 1, 11 1))", kRing), "I");
  const std::string notched = "POLYGON ((0 0, 9 0, 9 9, 6 9, 6 3, 3 3, 3 9, 0 9, 0 0))";
  EXPECT_EQ(relation("LINESTRING (1 8, 8 8)", notched), "I") << "across the notch";
  EXPECT_EQ(relation("LINESTRING (1 3, 8 3)", notched), "IW") << "along its ground";
  EXPECT_EQ(relation("LINESTRING (3 9, 6 9)", notched), "I") << "over its mouth: ends alone are in";
}

TEST(Prepared, TellsPolygonsInPolygons) {
  EXPECT_EQ(relation("POLYGON ((1 1, 2 1, 2 2, 1 1))", kRing), "IW");
  EXPECT_EQ(relation("POLYGON ((0 0, 2 0, 2 2, 0 0))", kRing), "IW") << "along the edge";
  EXPECT_EQ(relation(kSquare, kRing), "IC") << "the hole is in its inside";
  EXPECT_EQ(relation(kRing, kSquare), "IW");
  EXPECT_EQ(relation(kRing, kRing), "IWC");
  EXPECT_EQ(relation("POLYGON ((3 3, 6 3, 6 6, 3 6, 3 3))", kRing), "I") << "fills the hole";
  EXPECT_EQ(relation("POLYGON ((3 3, 6 3, 6 6, 3 3))", kRing), "I") << "fills a part of it";
  EXPECT_EQ(relation("POLYGON ((4 4, 5 4, 5 5, 4 4))", kRing), "") << "lies in it";
  EXPECT_EQ(relation("POLYGON ((9 0, 10 0, 10 9, 9 9, 9 0))", kRing), "I") << "a common edge";
  EXPECT_EQ(relation("POLYGON ((9 9, 10 9, 10 10, 9 9))", kRing), "I") << "a common corner";
  EXPECT_EQ(relation("POLYGON ((8 8, 10 8, 10 10, 8 8))", kRing), "I");
  EXPECT_EQ(relation("POLYGON ((-1 -1, 10 -1, 10 10, -1 10, -1 -1))", kRing), "IC");
  EXPECT_EQ(relation("POLYGON ((2 2, 7 2, 7 7, 2 7, 2 2))", kRing), "I") << "about the hole";
  EXPECT_EQ(relation("POLYGON ((2 2, 7 2, 7 7, 2 7, 2 2), (3 3, 6 3, 6 6, 3 6, 3 3))", kRing),
            "IW");
  EXPECT_EQ(relation("POLYGON ((2 2, 7 2, 7 7, 2 7, 2 2), (3 3, 5 3, 5 5, 3 5, 3 3))", kRing), "I")
      << "its hole is less than that of the query";
}

TEST(Prepared, TellsSeveralPolygons) {
  const std::string two = "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((4 4, 8 4, 8 8, 4 8, 4 4)))";
  EXPECT_EQ(relation("POLYGON ((1 1, 2 1, 2 2, 1 1))", two), "IW");
  EXPECT_EQ(relation("MULTIPOLYGON (((1 1, 2 1, 2 2, 1 1)), ((5 5, 6 5, 6 6, 5 5)))", two), "IW");
  EXPECT_EQ(relation("MULTIPOLYGON (((1 1, 2 1, 2 2, 1 1)), ((5 1, 6 1, 6 2, 5 1)))", two), "I");
  EXPECT_EQ(relation("LINESTRING (1 1, 7 7)", two), "IW") << "through the common corner";
  EXPECT_EQ(relation("LINESTRING (1 2, 6 7)", two), "I");
  EXPECT_EQ(relation("POINT (4 4)", two), "I");
  const std::string in_hole =
      "MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 8 1, 8 8, 1 8, 1 1)"
      "), ((3 3, 6 3, 6 6, 3 6, 3 3)))";
  EXPECT_EQ(relation("POINT (4 4)", in_hole), "IW");
  EXPECT_EQ(relation("POINT (2 4)", in_hole), "");
  EXPECT_EQ(relation("LINESTRING (3 4, 6 4)", in_hole), "IW");
  EXPECT_EQ(relation("POLYGON ((1 1, 8 1, 8 8, 1 8, 1 1))", in_hole), "I");
}

TEST(Prepared, TellsLinesInLines) {
  const std::string path = "LINESTRING (0 0, 4 0, 4 4, 8 4)";
  EXPECT_EQ(relation("LINESTRING (1 0, 4 0, 4 2)", path), "IW");
  EXPECT_EQ(relation("LINESTRING (4 2, 4 0, 1 0)", path), "IW") << "in the other direction";
  EXPECT_EQ(relation(path, path), "IWC");
  EXPECT_EQ(relation("LINESTRING (1 0, 4 0, 5 0)", path), "I");
  EXPECT_EQ(relation("LINESTRING (2 -1, 2 1)", path), "I");
  EXPECT_EQ(relation("LINESTRING (2 0, 2 1)", path), "I");
  EXPECT_EQ(relation("LINESTRING (2 1, 3 1)", path), "");
  EXPECT_EQ(
      relation("LINESTRING (1 0, 7 0)", "MULTILINESTRING ((0 0, 3 0), (6 0, 8 0), (6 0, 3 0))"),
      "IW")
      << "covered by several";
  EXPECT_EQ(
      relation("LINESTRING (1 0, 7 0)", "MULTILINESTRING ((0 0, 3 0), (6 0, 8 0), (5 0, 3 0))"),
      "I");
  EXPECT_EQ(
      relation("LINESTRING (0 0, 4 0)", "MULTILINESTRING ((0 0, 3 0), (1 0, 2 0), (2.5 0, 4 0))"),
      "IWC")
      << "covered by some that overlap";
  EXPECT_EQ(relation(kSquare, path), "IC");
  EXPECT_EQ(relation(kSquare, "LINESTRING (0 0, 9 0)"), "I") << "a line of its boundary";
}

TEST(Prepared, TellsPointsOnLinesFromTheirEnds) {
  const std::string path = "LINESTRING (0 0, 4 0, 4 4)";
  EXPECT_EQ(relation("POINT (2 0)", path), "IW");
  EXPECT_EQ(relation("POINT (4 0)", path), "IW");
  EXPECT_EQ(relation("POINT (0 0)", path), "I") << "an end is the boundary";
  EXPECT_EQ(relation("POINT (0 0)", "LINESTRING (0 0, 4 0, 4 4, 0 0)"), "IW")
      << "what is closed has none";
  EXPECT_EQ(relation("POINT (0 0)", "MULTILINESTRING ((0 0, 1 0), (0 0, 0 1))"), "IW")
      << "nor where two end";
  EXPECT_EQ(relation("POINT (0 0)", "MULTILINESTRING ((0 0, 1 0), (0 0, 0 1), (0 0, 1 1))"), "I");
  EXPECT_EQ(relation("MULTIPOINT (0 0, 2 0)", path), "IW");
  EXPECT_EQ(relation("MULTIPOINT (0 0, 2 1)", path), "I");
  EXPECT_EQ(relation(path, "POINT (2 0)"), "IC");
}

TEST(Prepared, TellsPointsInPoints) {
  EXPECT_EQ(relation("POINT (1 2)", "POINT (1 2)"), "IWC");
  EXPECT_EQ(relation("POINT (1 2)", "POINT (1 3)"), "");
  EXPECT_EQ(relation("POINT (1 2)", "MULTIPOINT (0 0, 1 2, 9 9)"), "IW");
  EXPECT_EQ(relation("MULTIPOINT (0 0, 1 1)", "MULTIPOINT (0 0, 1 2, 9 9)"), "I");
  EXPECT_EQ(relation("MULTIPOINT (1 2, 1 2)", "POINT (1 2)"), "IWC") << "one twice";
  EXPECT_EQ(relation("LINESTRING (0 0, 1 2)", "MULTIPOINT (0 0, 1 2)"), "I");
}

TEST(Prepared, IsPlanarWithZ) {
  EXPECT_EQ(relation("POINT Z (1 1 5)", kSquare), "IW");
  EXPECT_EQ(relation("LINESTRING Z (1 1 5, 2 2 6)", "LINESTRING Z (1 1 7, 2 2 8)"), "IWC");
}

TEST(Prepared, FindsNothingOfWhatIsEmpty) {
  for (const char* empty : {"POINT EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION EMPTY"}) {
    EXPECT_EQ(relation(empty, kSquare), "") << empty;
    EXPECT_EQ(relation(kSquare, empty), "") << empty;
    EXPECT_EQ(relation(empty, empty), "") << empty;
  }
  EXPECT_EQ(relation("MULTIPOINT (EMPTY, 1 1)", kSquare), "IW");
}

TEST(Prepared, TellsOfCollectionsByTheirPartsAndNothingWrongOfThemAsAWhole) {
  EXPECT_EQ(relation("GEOMETRYCOLLECTION (POINT (20 20), LINESTRING (8 8, 11 8))", kSquare), "I");
  EXPECT_EQ(relation("GEOMETRYCOLLECTION (POINT (1 1), LINESTRING (0 0, 9 0))", kSquare), "IW")
      << "all covered, one inside";
  EXPECT_EQ(relation("GEOMETRYCOLLECTION (POINT (0 1), LINESTRING (0 0, 9 0))", kSquare), "I");
  EXPECT_EQ(relation("GEOMETRYCOLLECTION (GEOMETRYCOLLECTION (POINT (1 1)))", kSquare), "IW");
  const std::string halves =
      "GEOMETRYCOLLECTION (POLYGON ((0 0, 5 0, 5 9, 0 9, 0 0)), "
      "POLYGON ((5 0, 9 0, 9 9, 5 9, 5 0)))";
  EXPECT_EQ(relation(kSquare, halves), "I!C") << "they cover it together";
  EXPECT_EQ(relation("POINT (20 1)", halves), "") << "boxes tell";
  const auto within = Prepared(shape_of(halves)).within(shape_of(kSquare));
  ASSERT_FALSE(within);
  EXPECT_EQ(within.error().code, ErrorCode::kUnsupported);
}

TEST(Prepared, GivesUpOnGeometriesThatLieAcrossEachOtherTooOften) {
  // parallel diagonals, those of one between those of the other
  const auto diagonals = [](double shift) {
    Shape lines{.type = Type::kMultiLineString};
    for (int i = 0; i < 6'000; ++i) {
      const double at = i * 1e-6 + shift;
      lines.parts.push_back({.type = Type::kLineString, .lines = {{{at, -at}, {at + 1, 1 - at}}}});
    }
    return Geometry::create(std::move(lines)).value();
  };
  const auto meet = Prepared(diagonals(0)).intersects(diagonals(5e-7));
  ASSERT_FALSE(meet);
  EXPECT_EQ(meet.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace silurus::geometry
