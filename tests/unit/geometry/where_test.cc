// SPDX-License-Identifier: Apache-2.0

#include "geometry/where.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace silurus::geometry {
namespace {

const nlohmann::json kPort = nlohmann::json::parse(R"({
  "kind": "port", "population": 250000, "depth": 12.5, "open": true, "closed": false,
  "owner": null, "addr:street": "Kaj 1", "tags": ["a"], "quote": "it's", "below": -3,
  "large": 9007199254740993, "largest": 18446744073709551615, "odd`name": 1, "größe": 2, "in": 5
})");

bool is_port(const std::string& text) {
  const auto where = Where::parse(text);
  EXPECT_TRUE(where) << text << ": " << where.error().message;
  return where && where->matches(kPort);
}

TEST(Where, FindsWhatItSays) {
  for (const char* text : {
           R"(population > 100000 and kind = "port")",
           "kind = 'port'",
           "kind != 'city'",
           "kind < 'pot' and kind > 'por'",
           "depth = 12.5 and depth >= 12.5 and depth <= 12.5",
           "population = 250000.0",
           "population = 2.5e5",
           "below < -2.5 and below >= -3",
           "12 < depth",
           "population > depth",
           "open = true and closed = false and open != closed",
           "open != false",
           "`addr:street` = 'Kaj 1'",
           "`odd``name` = 1",
           "größe = 2",
           "`in` = 5",
           "quote = 'it''s' and quote = \"it's\"",
           "kind in ('city', 'port')",
           "population in (1, 250000.0, 'x')",
           "kind not in ('city', 7)",
           "owner is null and missing is null and kind is not null",
           "not kind = 'city'",
           "NOT (kind = 'city' OR depth < 1)",
           "kind = 'city' or kind = 'port'",
           "kind = 'city' and depth > 99 or open = true",
           "open = true or kind = 'city' and depth > 99",
           "((((kind = 'port'))))",
           "kind='port'and(depth>12)",
           "tags is not null",
           "large = 9007199254740993 and large != 9007199254740992",
           "large > 9007199254740992.0",
           "largest = 18446744073709551615 and largest > -1",
       }) {
    EXPECT_TRUE(is_port(text)) << text;
  }
}

TEST(Where, FindsNothingElse) {
  for (const char* text : {
           "population > 250000",
           "population < 250000",
           "kind = 'Port'",
           "Kind = 'port'",
           "kind > 'port' or kind < 'port'",
           "open = false",
           "(open = true or kind = 'city') and depth > 99",
           "kind in ('city', 'village')",
           "kind not in ('city', 'port')",
           "kind is null",
           "owner is not null",
           "not open = true",
           "large = 9007199254740992",
           "largest = 18446744073709551616.0",
           "`open ` = true",
       }) {
    EXPECT_FALSE(is_port(text)) << text;
  }
}

TEST(Where, HoldsNoComparisonOfDifferentKinds) {
  for (const char* text : {"population = '250000'", "population != '250000'", "population > 'a'",
                           "kind < 5", "kind != 5", "open = 1", "open > closed", "open >= true",
                           "tags = 'a'", "tags != 'a'", "tags = tags", "kind in (5, true)"}) {
    EXPECT_FALSE(is_port(text)) << text;
    EXPECT_TRUE(is_port(std::string("not (") + text + ")")) << text << " is false, not unknown";
  }
}

TEST(Where, IsUnknownOfWhatIsNullOrMissing) {
  for (const std::string text :
       {"owner = 'x'", "owner != 'x'", "missing < 1", "missing = missing", "owner in ('x')",
        "owner not in ('x')", "owner = 'x' or missing = 1", "not (owner = 'x' and open = true)"}) {
    EXPECT_FALSE(is_port(text)) << text;
    EXPECT_FALSE(is_port("not (" + text + ")")) << text;
  }
  EXPECT_TRUE(is_port("owner = 'x' or open = true")) << "true whatever the other is";
  EXPECT_TRUE(is_port("open = true or owner = 'x'"));
  EXPECT_TRUE(is_port("not (owner = 'x' and open = false)")) << "false whatever the other is";
  EXPECT_TRUE(is_port("not (open = false and owner = 'x')"));
  const auto where = Where::parse("kind is null").value();
  EXPECT_TRUE(where.matches(nlohmann::json::array())) << "what is no object has no members";
}

struct WrongWhere {
  std::string text;
  std::string message;
};

TEST(Where, NamesTheColumnAndWhatWasExpected) {
  for (const auto& [text, message] : std::initializer_list<WrongWhere>{
           {"", "column 1: expected a name or a value, got the end"},
           {"kind", "column 5: expected =, !=, <, <=, >, >=, in or is, got the end"},
           {"kind ==", "column 7: expected a name or a value, got \"=\""},
           {"kind = ", "column 8: expected a name or a value, got the end"},
           {"kind = 'port", "column 13: expected the end of a string, got the end"},
           {"`kind = 1", "column 10: expected the end of a name, got the end"},
           {"kind = port city", "column 13: expected and, or, or the end, got \"city\""},
           {"kind = 1 and and open = true", "column 14: expected a name or a value, got \"and\""},
           {"(kind = 1", "column 10: expected and, or, or ), got the end"},
           {"kind = 1)", "column 9: expected and, or, or the end, got \")\""},
           {"kind in 'x'", "column 9: expected (, got \"'\""},
           {"kind in ()", "column 10: expected a value, got \")\""},
           {"kind in (x)", "column 10: expected a value, got \"x\""},
           {"kind in (1 2)", "column 12: expected , or ), got \"2\""},
           {"kind is 5", "column 9: expected null or not null, got \"5\""},
           {"kind is not 5", "column 13: expected null, got \"5\""},
           {"kind not like 'x'", "column 10: expected in, got \"like\""},
           {"kind = null",
            "column 8: expected a name or a value (null is asked for by \"is null\"), got "
            "\"null\""},
           {"kind = 1e999", "column 8: expected a number that a double can hold, got \"1e999\""},
           {"kind = -", "column 8: expected a number that a double can hold, got \"-\""},
           {"kind = 12x", "column 10: expected the end of a number, got \"x\""},
           {"kind; = 1", "column 5: expected =, !=, <, <=, >, >=, in or is, got \";\""},
       }) {
    const auto where = Where::parse(text);
    ASSERT_FALSE(where) << text;
    EXPECT_EQ(where.error().message, message) << text;
    EXPECT_EQ(where.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(Where, HasALimitOfBytesAndOfDepth) {
  std::string chain = "a = 1";
  while (chain.size() + 11 <= kMaxWhere) chain += " and a = 11";
  EXPECT_TRUE(Where::parse(chain)) << "a long chain has no depth";
  EXPECT_EQ(Where::parse(std::string(kMaxWhere + 1, ' ')).error().code, ErrorCode::kTooLarge);
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '(') + "a = 1" + std::string(depth, ')');
  };
  EXPECT_TRUE(Where::parse(nested(kMaxWhereDepth)));
  EXPECT_EQ(Where::parse(nested(kMaxWhereDepth + 1)).error().code, ErrorCode::kTooLarge);
  std::string negated = "a = 1";
  for (int i = 0; i <= kMaxWhereDepth; ++i) negated = "not " + negated;
  EXPECT_EQ(Where::parse(negated).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace silurus::geometry
