// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/geometry/cells.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "geometry/distance.h"
#include "geometry/prepared.h"
#include "geometry/wkb.h"
#include "geometry/wkt.h"
#include "tests/support/seed.h"

// Random polygons of cells of a grid, with holes and touching corners, against sets of cells.

namespace silurus::geometry {
namespace {

Shape shape_of_cells(const Cells& cells, const GridMap& map, Random& random) {
  Shape several{.type = Type::kMultiPolygon};
  for (const auto& rings : cells.polygons()) {
    Shape& polygon = several.parts.emplace_back(Shape{.type = Type::kPolygon});
    for (const auto& ring : rings) {
      Line& line = polygon.lines.emplace_back();
      for (const Grid& at : ring) line.push_back(map({2 * at.x, 2 * at.y}));
      if (random.below(2) == 0) std::ranges::reverse(line);
    }
  }
  if (several.parts.size() > 1 || random.below(2) == 0) return several;
  return std::move(several.parts.front());
}

Geometry valid(const Shape& shape) {
  auto geometry = Geometry::create(shape);
  EXPECT_TRUE(geometry) << geometry.error().message;
  return std::move(geometry).value();
}

/// A place of the grid of halves, up to a cell outside.
Grid any_place(Random& random) {
  const auto number = [&] { return static_cast<int>(random.below(2 * Cells::kSide + 5)) - 2; };
  return {number(), number()};
}

TEST(CellsTest, AllMakeValidPolygonsThatReadBackAsTheSame) {
  Random random(testing_support::fresh_seed());
  for (int i = 0; i < 500; ++i) {
    const Cells cells(random, 20 + random.below(80));
    const Geometry geometry = valid(shape_of_cells(cells, GridMap::any(random), random));
    const std::string wkb = write_wkb(geometry);
    EXPECT_EQ(read_wkb(std::as_bytes(std::span(wkb))).value(), geometry);
    EXPECT_EQ(read_wkt(write_wkt(geometry)).value(), geometry);
    EXPECT_EQ(valid(geometry.shape()), geometry) << "nothing is left to mend";
  }
}

TEST(CellsTest, WithACommonCellMakeNoMultiPolygon) {
  Random random(testing_support::fresh_seed());
  const GridMap map = GridMap::any(random);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const Cells one(random, 30);
    const Cells other(random, 10);
    Shape both{.type = Type::kMultiPolygon};
    for (const Cells* cells : {&one, &other}) {
      Shape shape = shape_of_cells(*cells, map, random);
      if (shape.type == Type::kPolygon) shape = {.type = shape.type, .parts = {shape}};
      std::ranges::move(shape.parts, std::back_inserter(both.parts));
    }
    const bool is_common =
        std::ranges::any_of(one.all(), [&](const Grid& cell) { return other.has(cell); });
    const bool is_refused = !Geometry::create(both);
    EXPECT_TRUE(is_refused || !is_common);
    refused += is_refused ? 1 : 0;
  }
  EXPECT_GT(refused, 0);
}

TEST(CellsTest, IntersectAndLieWithinEachOtherAsTheirSetsDo) {
  Random random(testing_support::fresh_seed());
  for (int i = 0; i < 1000; ++i) {
    const Cells one(random, 5 + random.below(40));
    const Cells other(random, random.below(95));
    const GridMap map = GridMap::any(random);
    const Geometry geometry = valid(shape_of_cells(one, map, random));
    const Geometry query = valid(shape_of_cells(other, map, random));
    const bool is_within =
        std::ranges::all_of(one.all(), [&](const Grid& cell) { return other.has(cell); });
    bool do_touch = false;
    for (int x = 0; x <= Cells::kSide; ++x) {
      for (int y = 0; y <= Cells::kSide; ++y) {
        const Grid corner{2 * x, 2 * y};
        do_touch |= one.about(corner).second > 0 && other.about(corner).second > 0;
      }
    }
    const auto texts = [&] { return write_wkt(geometry) + "\n" + write_wkt(query); };
    EXPECT_EQ(Prepared(query).intersects(geometry).value(), do_touch) << texts();
    EXPECT_EQ(Prepared(query).within(geometry).value(), is_within) << texts();
    EXPECT_EQ(Prepared(geometry).contains(query).value(), is_within) << texts();
  }
}

TEST(CellsTest, HavePointsInsideAndOnTheirEdges) {
  Random random(testing_support::fresh_seed());
  for (int i = 0; i < 200; ++i) {
    const Cells cells(random, 20 + random.below(80));
    const GridMap map = GridMap::any(random);
    const Prepared prepared(valid(shape_of_cells(cells, map, random)));
    for (int k = 0; k < 30; ++k) {
      const Grid place = any_place(random);
      const auto [all, set] = cells.about(place);
      const Geometry point = valid({.type = Type::kPoint, .lines = {{map(place)}}});
      EXPECT_EQ(prepared.intersects(point).value(), set > 0) << write_wkt(point);
      EXPECT_EQ(prepared.within(point).value(), set == all) << write_wkt(point);
    }
  }
}

TEST(CellsTest, HoldPathsAlongTheirGridWhereTheirCellsDo) {
  Random random(testing_support::fresh_seed());
  int within = 0;
  for (int i = 0; i < 2000; ++i) {
    const Cells cells(random, 50 + random.below(50));
    const GridMap map = GridMap::any(random);
    Grid at = any_place(random);
    if (random.below(2) == 0) at = {2 * (at.x / 2), 2 * (at.y / 2)};
    Line line{map(at)};
    bool is_covered = true;
    bool is_inside = false;
    bool does_meet = cells.about(at).second > 0;
    for (auto steps = 1 + random.below(5); steps > 0; --steps) {
      const int sign = random.below(2) == 0 ? 1 : -1;
      const Grid step = random.below(2) == 0 ? Grid{sign, 0} : Grid{0, sign};
      const auto length = static_cast<int>(1 + random.below(4));
      for (int k = 0; k < length; ++k) {
        // what is between two places of the halves lies in the cells about both of them
        const Grid next = at + step;
        const auto here = cells.about(at);
        const auto there = cells.about(next);
        const auto& between = here.first < there.first ? here : there;
        is_covered = is_covered && between.second > 0;
        is_inside = is_inside || between.second == between.first;
        does_meet = does_meet || there.second > 0;
        at = next;
      }
      line.push_back(map(at));
    }
    const Geometry path = valid({.type = Type::kLineString, .lines = {line}});
    const Geometry polygons = valid(shape_of_cells(cells, map, random));
    const auto texts = [&] { return write_wkt(path) + "\n" + write_wkt(polygons); };
    EXPECT_EQ(Prepared(polygons).intersects(path).value(), does_meet) << texts();
    EXPECT_EQ(Prepared(polygons).within(path).value(), is_covered && is_inside) << texts();
    EXPECT_EQ(Prepared(path).intersects(polygons).value(), does_meet) << texts();
    EXPECT_EQ(Prepared(path).contains(polygons).value(), is_covered && is_inside) << texts();
    within += is_covered && is_inside ? 1 : 0;
  }
  EXPECT_GT(within, 0);
}

TEST(CellsTest, AreAsFarFromAPointAsTheNearestOfThem) {
  Random random(testing_support::fresh_seed());
  const GridMap map{.xx = 1, .xy = 0, .yx = 0, .yy = 1};
  for (int i = 0; i < 300; ++i) {
    const Cells cells(random, 1 + random.below(30));
    const Geometry geometry = valid(shape_of_cells(cells, map, random));
    const rtree::Point<2> point{{random.uniform(-9, 20), random.uniform(-9, 20)}};
    double least = 1e9;
    for (const Grid& cell : cells.all()) {
      const double x = 2 * cell.x;
      const double y = 2 * cell.y;
      least = std::min(least, rtree::distance(point, {{x, y}, {x + 2, y + 2}}));
    }
    EXPECT_NEAR(distance(point, geometry).value(), least, 1e-12) << write_wkt(geometry);
  }
}

}  // namespace
}  // namespace silurus::geometry
