// SPDX-License-Identifier: Apache-2.0

#include "etcd/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace silurus::etcd {
namespace {

TEST(EtcdAnswers, Base64IsReadAsItIsWritten) {
  EXPECT_EQ(to_base64("silurus"), "c2lsdXJ1cw==");
  for (const std::string text : {"", "a", "ab", "abc", "\xff\x01\x80z"}) {
    EXPECT_EQ(from_base64(to_base64(text)), text);
  }
  EXPECT_FALSE(from_base64("c2*s"));
}

TEST(EtcdAnswers, OnlyAnObjectIsAnAnswer) {
  EXPECT_TRUE(parse_answer("{}"));
  EXPECT_FALSE(parse_answer("[]"));
  EXPECT_FALSE(parse_answer("{\"kvs\": "));
}

TEST(EtcdAnswers, PairsAreThoseOfThePrefix) {
  const std::string pair = R"({"kvs": [{"key": ")" + to_base64("a/b") + R"(", "value": ")" +
                           to_base64("c") + R"(", "mod_revision": "7"}]})";
  const auto found = key_values_of(*parse_answer(pair), "a/");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].key, "a/b");
  EXPECT_EQ((*found)[0].value, "c");
  EXPECT_EQ((*found)[0].revision, 7u);
  const auto other = key_values_of(*parse_answer(pair), "b/");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kProtocol);
  EXPECT_FALSE(key_values_of(*parse_answer(R"({"kvs": [{"key": "YQ=="}]})"), ""));
  EXPECT_TRUE(key_values_of(*parse_answer("{}"), "a/")->empty());
}

TEST(EtcdAnswers, ATransactionSaysItsRevisionOrThatItDidNothing) {
  EXPECT_EQ(*revision_of(*parse_answer(R"({"succeeded": true, "header": {"revision": "9"}})")), 9u);
  EXPECT_EQ(*revision_of(*parse_answer(R"({"header": {"revision": "9"}})")), 0u);
  EXPECT_EQ(*revision_of(*parse_answer(R"({"succeeded": false, "header": {"revision": "9"}})")),
            0u);
  EXPECT_FALSE(revision_of(*parse_answer(R"({"succeeded": true, "header": 9})")));
}

TEST(EtcdAnswers, ALeaseHasANumberAndGoesOnOrNot) {
  EXPECT_EQ(*lease_of(*parse_answer(R"({"ID": "12"})")), 12u);
  EXPECT_FALSE(lease_of(*parse_answer(R"({"ID": "99999999999999999999"})")));
  EXPECT_TRUE(is_renewed(*parse_answer(R"({"result": {"TTL": "5"}})")));
  EXPECT_FALSE(is_renewed(*parse_answer(R"({"result": {"ID": "12"}})")));
  EXPECT_FALSE(is_renewed(*parse_answer(R"({"result": []})")));
}

/// What a field may be that etcd's never are.
const std::vector<std::string> kOdd = {"true", "-1", "[]", "{}", R"("*")", R"("-1")", "null"};

TEST(EtcdAnswers, NoFieldOfAnotherKindIsBelieved) {
  for (const std::string& odd : kOdd) {
    const auto text = [&](const std::string& before, const std::string& after) {
      return *parse_answer(before + odd + after);
    };
    EXPECT_FALSE(revision_of(text(R"({"succeeded": true, "header": {"revision": )", "}}"))) << odd;
    EXPECT_FALSE(lease_of(text(R"({"ID": )", "}"))) << odd;
    if (odd != "[]" && odd != "null") {  // "no pairs"
      EXPECT_FALSE(key_values_of(text(R"({"kvs": )", "}"), "a/")) << odd;
    }
    EXPECT_FALSE(key_values_of(text(R"({"kvs": [)", "]}"), "")) << odd;
    const std::string pair = R"({"kvs": [{"key": ")" + to_base64("a/b") + R"(", "value": )";
    EXPECT_FALSE(key_values_of(text(pair, "}]}"), "a/")) << odd;
  }
}

}  // namespace
}  // namespace silurus::etcd
