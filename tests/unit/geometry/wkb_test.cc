// SPDX-License-Identifier: Apache-2.0

#include "geometry/wkb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

using testing::HasSubstr;

/// Well-known binary, written front to back.
class WkbText {
 public:
  explicit WkbText(bool is_little = true) : is_little_(is_little) {}

  WkbText& head(std::uint32_t type) {
    bytes_ += is_little_ ? '\x01' : '\0';
    return count(type);
  }
  WkbText& count(std::uint32_t value) { return append(value); }
  WkbText& numbers(std::initializer_list<double> values) {
    for (const double value : values) append(value);
    return *this;
  }
  const std::string& text() const { return bytes_; }
  Result<Geometry> read() const { return read_wkb(std::as_bytes(std::span(bytes_))); }
  std::string wrong() const {
    const auto geometry = read();
    return geometry ? "" : geometry.error().message;
  }

 private:
  template <typename T>
  WkbText& append(T value) {
    std::string bytes(reinterpret_cast<const char*>(&value), sizeof value);
    if (!is_little_) bytes = {bytes.rbegin(), bytes.rend()};
    bytes_ += bytes;
    return *this;
  }

  bool is_little_;
  std::string bytes_;
};

Result<Geometry> read_text(const std::string& bytes) {
  return read_wkb(std::as_bytes(std::span(bytes)));
}

const std::vector<const char*> kWktOfEachType = {
    "POINT (1 2)",
    "POINT Z (1 2 3)",
    "POINT EMPTY",
    "POINT Z EMPTY",
    "LINESTRING (1 2, 3.25 -4, 1e-300 1e+100)",
    "LINESTRING EMPTY",
    "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 2 2, 2 1, 1 1))",
    "POLYGON Z EMPTY",
    "MULTIPOINT ((1 2), EMPTY, (3 4))",
    "MULTILINESTRING Z ((1 2 3, 4 5 6), EMPTY, (7 8 9, 0 0 0, 1 1 1))",
    "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
    "MULTIPOLYGON EMPTY",
    "GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION (LINESTRING (0 0, 1 1)), POINT EMPTY)",
    "GEOMETRYCOLLECTION Z (POINT Z (1 2 3), MULTIPOINT Z ((4 5 6)))",
    "GEOMETRYCOLLECTION EMPTY",
};

TEST(GeometryWkb, OfEachTypeIsReadAsWritten) {
  for (const char* text : kWktOfEachType) {
    const Geometry geometry = shape_of(text);
    const auto again = read_text(write_wkb(geometry));
    ASSERT_TRUE(again) << text << ": " << again.error().message;
    EXPECT_EQ(*again, geometry) << text;
    EXPECT_EQ(write_wkb(*again).size(), wkb_bytes(geometry.shape())) << text;
  }
}

TEST(GeometryWkb, IsWrittenAsIsoSays) {
  EXPECT_EQ(write_wkb(shape_of("POINT (1 2)")), WkbText().head(1).numbers({1, 2}).text());
  EXPECT_EQ(write_wkb(shape_of("LINESTRING Z (1 2 3, 4 5 6)")),
            WkbText().head(1002).count(2).numbers({1, 2, 3, 4, 5, 6}).text());
  EXPECT_EQ(write_wkb(shape_of("POLYGON ((0 0, 0 1, 1 1, 0 0))")),
            WkbText().head(3).count(1).count(4).numbers({0, 0, 1, 1, 0, 1, 0, 0}).text())
      << "the ring turned";
  EXPECT_EQ(write_wkb(shape_of("MULTIPOINT Z ((1 2 3))")),
            WkbText().head(1004).count(1).head(1001).numbers({1, 2, 3}).text());
  EXPECT_EQ(write_wkb(shape_of("LINESTRING EMPTY")), WkbText().head(2).count(0).text());
}

TEST(GeometryWkb, IsReadInBothOrdersOfBytesAndPostGisFlags) {
  const Geometry flat = shape_of("POINT (1 2)");
  const Geometry high = shape_of("POINT Z (1 2 3)");
  for (const bool is_little : {true, false}) {
    EXPECT_EQ(*WkbText(is_little).head(1).numbers({1, 2}).read(), flat);
    EXPECT_EQ(*WkbText(is_little).head(1001).numbers({1, 2, 3}).read(), high);
    EXPECT_EQ(*WkbText(is_little).head(0x80000001).numbers({1, 2, 3}).read(), high);
    EXPECT_EQ(*WkbText(is_little).head(0x20000001).count(4326).numbers({1, 2}).read(), flat);
    EXPECT_EQ(*WkbText(is_little).head(0xa0000001).count(4326).numbers({1, 2, 3}).read(), high);
  }
  const std::string mixed = WkbText(false).head(4).count(1).text() + WkbText().head(1).text() +
                            WkbText().numbers({5, 6}).text();
  EXPECT_EQ(*read_text(mixed), shape_of("MULTIPOINT (5 6)"));
}

TEST(GeometryWkb, OfNotANumberIsAnEmptyPointInAllItsNumbersAlone) {
  const double nan = std::nan("");
  EXPECT_EQ(*WkbText().head(1).numbers({nan, nan}).read(), shape_of("POINT EMPTY"));
  EXPECT_THAT(WkbText().head(1).numbers({nan, 1}).wrong(), HasSubstr("is not a number"));
  EXPECT_THAT(WkbText().head(1001).numbers({nan, nan, 1}).wrong(), HasSubstr("is not a number"));
  EXPECT_EQ(WkbText().head(4).count(2).head(1).numbers({1, 2}).head(1).numbers({1, nan}).wrong(),
            "point 1 is not a number: its y");
}

TEST(GeometryWkb, RefusesWhatIsNotKept) {
  for (const std::uint32_t type : {2001u, 3001u, 0x40000001u, 0xc0000001u}) {
    const auto read = WkbText().head(type).numbers({1, 2, 3, 4}).read();
    ASSERT_FALSE(read) << type;
    EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(read.error().message, "the geometry has M, which is not kept: leave it out");
  }
  const auto curve = WkbText().head(7).count(1).head(8).count(0).read();
  ASSERT_FALSE(curve);
  EXPECT_EQ(curve.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(curve.error().message, HasSubstr("part 0 is of type 8"));
}

TEST(GeometryWkb, OfEachTypeIsRefusedCutOffAnywhere) {
  for (const char* text : kWktOfEachType) {
    const std::string bytes = write_wkb(shape_of(text));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(read_text(bytes.substr(0, size))) << text << ", " << size << " bytes";
    }
    const auto longer = read_text(bytes + "x");
    ASSERT_FALSE(longer) << text;
    EXPECT_EQ(longer.error().message, "1 bytes are left behind the geometry");
  }
}

TEST(GeometryWkb, NamesTheRingThatIsCutOff) {
  EXPECT_EQ(WkbText()
                .head(6)
                .count(1)
                .head(3)
                .count(2)
                .count(4)
                .numbers({0, 0, 9, 0, 9, 9, 0, 0})
                .count(4)
                .numbers({1, 1})
                .wrong(),
            "ring 1 of polygon 0 is cut off");
  EXPECT_EQ(WkbText()
                .head(5)
                .count(2)
                .head(2)
                .count(2)
                .numbers({0, 0, 1, 1})
                .head(3)
                .count(0)
                .count(0)
                .wrong(),
            "4 bytes are left behind the geometry");
  EXPECT_EQ(WkbText().head(5).count(1).head(3).count(0).wrong(),
            "line 0 is a Polygon, in a MultiLineString");
  EXPECT_EQ(read_text("\x02").error().message, "the geometry is no well-known binary");
}

TEST(GeometryWkb, BelievesNoCountThatItsBytesCannotHold) {
  for (const std::uint32_t type : {2u, 3u, 4u, 5u, 6u, 7u}) {
    for (const std::uint32_t count : {0xffffffffu, 0x10000000u, 4u}) {
      EXPECT_EQ(WkbText().head(type).count(count).numbers({0}).wrong(), "the geometry is cut off")
          << type << ", " << count;
    }
  }
}

TEST(GeometryWkb, HasALimitOfDepthAndOfBytes) {
  WkbText deep;
  for (int depth = 1; depth < kMaxDepth; ++depth) deep.head(7).count(1);
  const auto deepest = WkbText(deep).head(1).numbers({1, 2}).read();
  EXPECT_TRUE(deepest) << deepest.error().message;
  const auto deeper = deep.head(7).count(1).head(1).numbers({1, 2}).read();
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, ErrorCode::kTooLarge);
  const auto larger = read_text(std::string(kMaxBytes + 1, '\x01'));
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, ErrorCode::kTooLarge);
}

TEST(GeometryWkb, LooksAtNoCrossingRingsIfTheFormIsAllThatIsAskedFor) {
  const WkbText bow = WkbText().head(3).count(1).count(5).numbers({0, 0, 2, 2, 2, 0, 0, 2, 0, 0});
  const auto bytes = std::as_bytes(std::span(bow.text()));
  EXPECT_FALSE(read_wkb(bytes));
  EXPECT_TRUE(read_wkb(bytes, Checks::kForm));
  const WkbText open = WkbText().head(3).count(1).count(4).numbers({0, 0, 2, 2, 2, 0, 0, 2});
  EXPECT_FALSE(read_wkb(std::as_bytes(std::span(open.text())), Checks::kForm));
}

}  // namespace
}  // namespace silurus::geometry
