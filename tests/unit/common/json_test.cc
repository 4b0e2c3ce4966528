// SPDX-License-Identifier: Apache-2.0

#include "common/json.h"

#include <gtest/gtest.h>

namespace silurus {
namespace {

TEST(Json, WhatIsOfAnotherKindIsMissing) {
  const auto json = parse_json(R"({"n": 7, "minus": -7, "text": "x", "list": [1, 2]})");
  EXPECT_EQ(json_number(json, "n"), 7u);
  EXPECT_EQ(json_string(json, "text"), "x");
  EXPECT_EQ(json_array(json, "list").size(), 2u);
  for (const char* name : {"minus", "text", "list", "nothing"}) {
    EXPECT_EQ(json_number(json, name, 3), 3u) << name;
  }
  for (const char* name : {"n", "minus", "list", "nothing"}) {
    EXPECT_EQ(json_string(json, name, "else"), "else") << name;
    EXPECT_TRUE(name == std::string("list") || json_array(json, name).empty()) << name;
  }
  for (const char* text : {"", "7", "[]", "\"n\"", "null", "nonsense", "{\"n\": \"\xff\"}"}) {
    EXPECT_EQ(json_number(parse_json(text), "n", 3), 3u) << text;
  }
}

TEST(Json, WritesTextsThatAreNotUtf8) {
  EXPECT_EQ(json_text(nlohmann::json{{"path", "/tmp/\xff"}}), "{\"path\":\"/tmp/\xef\xbf\xbd\"}");
}

TEST(Json, WhatIsNestedWithoutEndIsLeftOut) {
  const auto json = parse_json("{\"n\": 7, \"deep\": " + std::string(1'000'000, '[') +
                               std::string(1'000'000, ']') + "}");
  EXPECT_EQ(json_number(json, "n"), 7u);
  EXPECT_LT(json_text(json).size(), 100u);
}

}  // namespace
}  // namespace silurus
