// SPDX-License-Identifier: Apache-2.0

#include "geometry/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "geometry/wkb.h"
#include "tests/unit/geometry/shapes.h"

namespace silurus::geometry {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string wrong_with_bytes(const std::string& bytes) {
  const auto record = decode(bytes_of(bytes));
  return record ? "" : record.error().message;
}

const char* const kProperties = R"({ "name": "Århus",  "depth": 1.50 })";

Record harbour() { return {shape_of("POINT Z (10 56 2)"), kProperties}; }

TEST(GeometryRecord, IsDecodedAsEncodedWithEitherPartOrBoth) {
  for (const Record& record :
       {harbour(), Record{shape_of("POINT EMPTY"), std::nullopt}, Record{std::nullopt, "{}"}}) {
    const auto bytes = encode(record);
    ASSERT_TRUE(bytes) << bytes.error().message;
    const auto again = decode(bytes_of(*bytes));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, record) << "the text of properties is kept as it is";
  }
}

TEST(GeometryRecord, HasTheBytesThatItsHeaderSays) {
  const std::string wkb = write_wkb(shape_of("POINT (1 2)"));
  const std::string bytes = encode({shape_of("POINT (1 2)"), R"({"a":1})"}).value();
  EXPECT_EQ(bytes, std::string("\x01\x03\0\0\x15\0\0\0\x07\0\0\0", 12) + wkb + R"({"a":1})");
  const auto parts = split_record(bytes_of(bytes));
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->properties, R"({"a":1})");
  ASSERT_TRUE(parts->wkb);
  EXPECT_EQ(read_wkb(*parts->wkb).value(), shape_of("POINT (1 2)"));
  const std::string only = encode({std::nullopt, "{}"}).value();
  EXPECT_EQ(only, std::string("\x01\x02\0\0\0\0\0\0\x02\0\0\0{}", 14));
  EXPECT_EQ(split_record(bytes_of(only))->wkb, std::nullopt);
}

TEST(GeometryRecord, IsRefusedWithoutPartsOrWithPropertiesThatAreNoObject) {
  EXPECT_EQ(encode({}).error().message, "the record has neither geometry nor properties");
  for (const char* text : {"", "[1]", "7", "{\"a\":}", "{} {}", "null", "{\"a\":\"\xff\"}"}) {
    const auto bytes = encode({std::nullopt, text});
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument) << text;
  }
  const std::string deep = R"({"a":)" + std::string(64, '[') + std::string(64, ']') + "}";
  EXPECT_EQ(encode({std::nullopt, deep}).error().code, ErrorCode::kTooLarge);
}

TEST(GeometryRecord, HasALimitOfGeometryAndPropertiesTogether) {
  const std::size_t point = 21;
  std::string text = "{}" + std::string(kMaxRecord - point - 2, ' ');
  EXPECT_TRUE(encode({shape_of("POINT (1 2)"), text}));
  text += ' ';
  const auto larger = encode({shape_of("POINT (1 2)"), text});
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, ErrorCode::kTooLarge);
}

TEST(GeometryRecord, OfOtherBytesIsRefused) {
  const std::string good = encode(harbour()).value();
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(wrong_with_bytes(good.substr(0, size)), "") << size;
  }
  EXPECT_THAT(wrong_with_bytes(good + "x"), HasSubstr("and its head says"));
  const auto with = [&](std::size_t offset, char byte) {
    std::string bytes = good;
    bytes[offset] = byte;
    return wrong_with_bytes(bytes);
  };
  EXPECT_EQ(with(0, '\x02'), "the record has format 2: this program knows format 1");
  EXPECT_EQ(with(1, '\0'), "the record has flags 0: they are 1, 2 or 3");
  EXPECT_EQ(with(1, '\x07'), "the record has flags 7: they are 1, 2 or 3");
  EXPECT_EQ(with(2, '\x01'), "the record has flags 259: they are 1, 2 or 3");
  EXPECT_EQ(with(1, '\x01'), "the record has lengths that its flags forbid");
  EXPECT_EQ(with(1, '\x02'), "the record has lengths that its flags forbid");
  EXPECT_THAT(with(4, '\x1c'), HasSubstr("and its head says"));
  EXPECT_THAT(with(7, '\xff'), HasSubstr("bytes together"));
  EXPECT_THAT(with(11, '\xff'), HasSubstr("bytes together"));
  EXPECT_THAT(with(kRecordHead, '\x07'), HasSubstr("no well-known binary"));
  EXPECT_THAT(with(good.size() - 1, ']'), HasSubstr("no JSON"));
}

TEST(GeometryRecord, OfBytesThatWereCheckedIsReadWithoutPartOfTheChecks) {
  std::string bytes = encode(harbour()).value();
  bytes.back() = ']';
  EXPECT_TRUE(decode(bytes_of(bytes), Checks::kForm));
  bytes[0] = 2;
  EXPECT_FALSE(decode(bytes_of(bytes), Checks::kForm));
}

TEST(GeometryRecord, IsAFeatureWithItsPropertiesAsTheyAre) {
  EXPECT_EQ(to_feature(18446744073709551615u, harbour()),
            R"({"type":"Feature","id":18446744073709551615,)"
            R"("geometry":{"type":"Point","coordinates":[10,56,2]},"properties":)" +
                std::string(kProperties) + "}");
  EXPECT_EQ(to_feature(0, {std::nullopt, "{}"}),
            R"({"type":"Feature","id":0,"geometry":null,"properties":{}})");
  EXPECT_THAT(to_feature(1, {shape_of("POINT (1 2)"), std::nullopt}),
              HasSubstr(R"("properties":null})"));
}

TEST(GeometryRecord, IsReadFromAFeature) {
  const auto feature = read_feature(to_feature(7, harbour()));
  ASSERT_TRUE(feature) << feature.error().message;
  EXPECT_EQ(feature->id, 7u);
  EXPECT_EQ(feature->record.geometry, shape_of("POINT Z (10 56 2)"));
  EXPECT_EQ(feature->record.properties, R"({"name":"Århus","depth":1.5})")
      << "in the order of the text";
  const auto bare = read_feature(R"({"type":"Feature","id":"x","properties":{"b":1,"a":2}})");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->id, std::nullopt);
  EXPECT_EQ(bare->record, (Record{std::nullopt, R"({"b":1,"a":2})"}));
}

TEST(GeometryRecord, OfAnotherTextIsRefused) {
  const auto wrong = [](std::string_view text) { return read_feature(text).error().message; };
  EXPECT_EQ(wrong("{"), "the feature is no JSON");
  EXPECT_EQ(wrong(R"({"type":"Point","coordinates":[1,2]})"),
            "the text is no GeoJSON object of type \"Feature\"");
  EXPECT_EQ(wrong(R"({"type":"Feature","geometry":null,"properties":null})"),
            "the record has neither geometry nor properties");
  EXPECT_EQ(wrong(R"({"type":"Feature","properties":[1]})"),
            "the properties of the feature are no object");
  EXPECT_EQ(wrong(R"({"type":"Feature","geometry":{"type":"Point","coordinates":[1]}})"),
            "the geometry has 1 numbers: a position has 2, or 3 with a height");
}

}  // namespace
}  // namespace silurus::geometry
