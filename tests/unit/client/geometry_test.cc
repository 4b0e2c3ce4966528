// SPDX-License-Identifier: Apache-2.0

#include "silurus/geometry.h"

#include <gtest/gtest.h>

// Geometries of texts, and their boxes, as programs get them.

namespace silurus {
namespace {

TEST(GeometryOfText, ReadsBothKindsOfTextAsTheSameGeometry) {
  const auto by_wkt = geometry_of_text(" POINT (4 52)");
  const auto by_json = geometry_of_text(R"({"type": "Point", "coordinates": [4, 52]})");
  ASSERT_TRUE(by_wkt) << by_wkt.error().message;
  ASSERT_TRUE(by_json) << by_json.error().message;
  EXPECT_EQ(*by_wkt, *by_json);
  EXPECT_FALSE(geometry_of_text("POINT (4"));
  EXPECT_FALSE(geometry_of_text(R"({"type": "Point"})"));
  EXPECT_FALSE(geometry_of_text(""));
}

TEST(BoxOfGeometry, HoldsAllVertices) {
  const auto line = geometry_of_text("LINESTRING Z (4 52 -1, 2 53 7)");
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(box_of_geometry<2>(*line).value(), (Box<2>{{2, 52}, {4, 53}}));
  EXPECT_EQ(box_of_geometry<3>(*line).value(), (Box<3>{{2, 52, -1}, {4, 53, 7}}));
}

TEST(BoxOfGeometry, IsRefusedWhereThereIsNone) {
  const auto error_of = [](std::string_view text) {
    return box_of_geometry<3>(geometry_of_text(text).value()).error().message;
  };
  EXPECT_NE(error_of("LINESTRING (4 52, 2 53)").find("no z"), std::string::npos);
  EXPECT_NE(error_of("POINT EMPTY").find("empty"), std::string::npos);
  EXPECT_FALSE(box_of_geometry<2>("no geometry"));
  EXPECT_FALSE(box_of_geometry<2>(""));
}

}  // namespace
}  // namespace silurus
