// SPDX-License-Identifier: Apache-2.0

#include "gate/target.h"

#include <gtest/gtest.h>

#include <cfloat>

namespace silurus::gate {
namespace {

TEST(Target, IsDecoded) {
  const auto target = parse_target("/collections/a%20b/items?bbox=1%2C2&x=a+b&empty");
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(target->path, (std::vector<std::string>{"collections", "a b", "items"}));
  EXPECT_EQ(target->find("bbox"), "1,2");
  EXPECT_EQ(target->find("x"), "a b");
  EXPECT_EQ(target->find("empty"), "");
  EXPECT_FALSE(target->find("other"));
}

TEST(Target, ThatIsNotWellEncodedIsRefused) {
  for (const char* text : {"", "x", "/%", "/%4", "/%zz", "/%00", "/%ff", "/?a=%c3", "/?%e2%82=1"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(Target, DecodesWhatIsEncoded) {
  const std::string text = "a/b?c&d=e f+\xc3\xa9~";
  const auto target = parse_target("/" + percent_encoded(text) + "?x=" + percent_encoded(text));
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path.at(0), text);
  EXPECT_EQ(target->find("x"), text);
}

TEST(BoundingBoxParameter, HasFourOrSixNumbers) {
  EXPECT_EQ(parse_bbox("1,2,3,4", 2)->parts, (std::vector<Area>{{{1, 2, 0}, {3, 4, 0}}}));
  EXPECT_EQ(parse_bbox("1,2,-9,3,4,9", 2)->parts, (std::vector<Area>{{{1, 2, 0}, {3, 4, 0}}}));
  EXPECT_EQ(parse_bbox("1,2,-9,3,4,9", 3)->parts, (std::vector<Area>{{{1, 2, -9}, {3, 4, 9}}}));
  EXPECT_EQ(parse_bbox("1,2,3,4", 3)->parts,
            (std::vector<Area>{{{1, 2, -DBL_MAX}, {3, 4, DBL_MAX}}}));
  for (const char* text : {"", "1", "1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,x", "1,2,3,nan",
                           "1,2,inf,4", "1,2,3,", "1,5,3,4", "200,0,190,1"}) {
    const auto bbox = parse_bbox(text, 2);
    ASSERT_FALSE(bbox) << text;
    EXPECT_EQ(bbox.error().name, "bbox");
  }
  EXPECT_FALSE(parse_bbox("1,2,9,3,4,5", 3));
}

// The example of OGC API Features, Part 1, 7.15.3: New Zealand's exclusive economic zone.
TEST(BoundingBoxParameter, WrapsAroundTheMeridianOf180Degrees) {
  const auto bbox = parse_bbox("160.6,-55.95,-170,-25.89", 2);
  ASSERT_TRUE(bbox);
  EXPECT_EQ(bbox->parts, (std::vector<Area>{{{160.6, -55.95, 0}, {180, -25.89, 0}},
                                            {{-180, -55.95, 0}, {-170, -25.89, 0}}}));
}

TEST(LimitParameter, IsAWholeNumberFromOne) {
  const auto limit = [](const std::string& text) {
    return parse_limit(*parse_target("/?limit=" + text), 10, 500);
  };
  EXPECT_EQ(*limit("7"), 7u);
  EXPECT_EQ(*limit("501"), 500u);
  EXPECT_EQ(*limit("99999999999999999999999"), 500u);
  EXPECT_EQ(*parse_limit(*parse_target("/"), 10, 500), 10u);
  for (const char* text : {"", "0", "-1", "+1", "1.5", "x", "0x10", "1e2"}) {
    EXPECT_FALSE(limit(text)) << text;
  }
}

TEST(DatetimeParameter, IsAnInstantOrTheEndOfAnInterval) {
  const Moment day = moment_at(1'764'633'600 * kSecond);  // 2025-12-02T00:00:00Z
  EXPECT_EQ(*parse_datetime("2025-12-02T00:00:00Z"), day);
  EXPECT_EQ(*parse_datetime("2025-12-02T01:30:00+01:30"), day);
  EXPECT_EQ(*parse_datetime("2025-12-01T19:00:00-05:00"), day);
  EXPECT_EQ(*parse_datetime("2020-01-01T00:00:00Z/2025-12-02T00:00:00Z"), day);
  EXPECT_EQ(*parse_datetime("../2025-12-02T00:00:00Z"), day);
  EXPECT_EQ(*parse_datetime("2025-12-02T00:00:00Z/.."), 0u);
  EXPECT_EQ(*parse_datetime(".."), 0u);
  for (const char* text : {"", "now", "2025-13-01T00:00:00Z", "2025-12-02", "2025-12-02T00:00:00",
                           "2025-12-02T00:00:00+1", "1/2/3", "1960-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_datetime(text)) << text;
  }
}

TEST(MomentParameters, ExcludeEachOther) {
  EXPECT_EQ(*parse_moment_of(*parse_target("/?version=12")), 12u);
  EXPECT_EQ(*parse_moment_of(*parse_target("/")), 0u);
  EXPECT_FALSE(parse_moment_of(*parse_target("/?version=0")));
  EXPECT_FALSE(parse_moment_of(*parse_target("/?version=1&datetime=..")));
}

TEST(PageToken, IsReadBack) {
  const PageToken token{.version = 812,
                        .matched = 1'000'000,
                        .part = 1,
                        .place = {.code = std::uint64_t{5} << 40, .depth = 8, .skip = 17}};
  const auto back = parse_page(to_text(token));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, token);
}

TEST(PageToken, ThatAClientHasMadeUpIsRefused) {
  for (const char* text : {"", "1", "0.1.0.0.0.0", "1.1.2.0.0.0", "1.1.0.1.8.0", "1.1.0.0.49.0",
                           "1.1.0.0.0.0.0", "1.1.0.-1.0.0", "1.1.0.1000000000000.48.0"}) {
    EXPECT_FALSE(parse_page(text)) << text;
  }
}

}  // namespace
}  // namespace silurus::gate
