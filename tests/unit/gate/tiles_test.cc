// SPDX-License-Identifier: Apache-2.0

#include "gate/tiles.h"

#include <gtest/gtest.h>

#include "gate/limits.h"
#include "tests/support/seed.h"
#include "tests/unit/gate/fake_source.h"

namespace silurus::gate {
namespace {

HttpAnswer tile(Source& source, const std::string& path, const std::string& tag = "") {
  HttpRequest request;
  request.if_none_match = tag;
  return answer_tile(*parse_target("/collections/default/tiles/" + path), request,
                     *source.find("default"), source);
}

TEST(Tile, CoversASquareOfTheMap) {
  const Area world = area_of_tile({0, 0, 0});
  EXPECT_EQ(world, (Area{{-180, -90, 0}, {180, 90, 0}}));
  const Area north_west = area_of_tile({1, 0, 0});
  EXPECT_NEAR(north_west.min[1], 0, 1e-12);
  EXPECT_EQ(north_west.max[0], 0);
  EXPECT_NEAR(area_of_tile({2, 1, 1}).max[1], 66.51326044311186, 1e-9);
}

// The bytes of the tile, field by field, as version 2.1 of the specification has them.
TEST(Tile, HasAFlatBoxAsALine) {
  const std::string bytes = encode_boxes({0, 0, 0}, {{.id = 5, .box = {{-90, 0, 0}, {0, 0, 0}}}});
  std::string expected;
  expected += std::string("\x1a\x1d", 2);              // layers: 29 bytes
  expected += std::string("\x78\x02", 2);              // version 2
  expected += std::string("\x0a\x05", 2) + "boxes";    // name
  expected += std::string("\x28\x80\x20", 3);          // extent 4096
  expected += std::string("\x12\x0f", 2);              // a feature: 15 bytes
  expected += std::string("\x08\x05", 2);              // id 5
  expected += std::string("\x18\x02", 2);              // a line
  expected += std::string("\x22\x09", 2);              // its geometry: 9 bytes
  expected += std::string("\x09\x80\x10\x80\x20", 5);  // move to (1024, 2048)
  expected += std::string("\x0a\x80\x10\x00", 4);      // line by (1024, 0)
  EXPECT_EQ(bytes, expected);
}

TEST(Tile, OfManyBoxesHasAtMostItsBytes) {
  const std::uint64_t seed = testing_support::seed(31);
  Random random(seed);
  std::vector<Entry<3>> entries;
  for (std::uint64_t i = 0; i < kMostInTile; ++i) {
    entries.push_back({UINT64_MAX - i, {{-180, -90, 0}, {180, random.uniform(0, 90), 0}}});
  }
  EXPECT_LE(encode_boxes({0, 0, 0}, entries).size(), kMaxTileBytes);
  std::vector<std::uint64_t> counts;
  for (std::uint64_t i = 0; i < kCellsOfTile * kCellsOfTile; ++i) counts.push_back(UINT64_MAX - i);
  EXPECT_LE(encode_cells(counts, kCellsOfTile).size(), kMaxTileBytes);
}

TEST(Tile, OfTooManyBoxesHasCells) {
  FakeSource source(
      std::vector<Entry<3>>(kMostInTile + 1, {.id = 1, .box = {{1, 1, 0}, {2, 2, 0}}}));
  const HttpAnswer cells = tile(source, "0/0/0");
  EXPECT_NE(cells.body.find("cells"), std::string::npos);
  EXPECT_LT(cells.body.size(), 200u);                                      // one cell has any
  EXPECT_NE(tile(source, "2/0/0").body.find("boxes"), std::string::npos);  // it has none
}

TEST(Tile, ThatIsKnownIsNotSentAgain) {
  FakeSource source(one_entry());
  EXPECT_EQ(tile(source, "0/0/0", "\"1\"").status, 304);
  source.insert({.id = 2, .box = {}});
  EXPECT_EQ(tile(source, "0/0/0", "\"1\"").status, 200);
}

TEST(Tile, ThatThereIsNotIsNotFound) {
  FakeSource source(one_entry());
  for (const char* path : {"1/2/0", "1/0/2", "25/0/0", "x/0/0", "-1/0/0", "1/0/0.5"}) {
    EXPECT_EQ(tile(source, path).status, 404) << path;
  }
  FakeSource solid(one_entry(), 3);
  EXPECT_EQ(tile(solid, "0/0/0").status, 404);
}

}  // namespace
}  // namespace silurus::gate
