// SPDX-License-Identifier: Apache-2.0

#include "client/parse_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace silurus::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ParseAnswers, AHistoryIsItsVersions) {
  const auto versions = parse_history(
      R"({"versions": [{"version": 3, "time": "then", "unix_ns": -5, "entries": 7},)"
      R"({"version": 4, "time": "later", "unix_ns": 1700000000000000000, "entries": 8}]})");
  ASSERT_TRUE(versions) << versions.error().message;
  ASSERT_EQ(versions->size(), 2u);
  EXPECT_EQ(versions->front().version, 3u);
  EXPECT_EQ(versions->front().unix_ns, -5);
  EXPECT_EQ(versions->front().entries, 7u);
  EXPECT_EQ(versions->back().unix_ns, 1'700'000'000'000'000'000);
}

TEST(ParseAnswers, ADifferenceIsThreeListsOfIds) {
  const auto changes = parse_difference(
      R"({"from": 3, "to": 9, "inserted": [1, 18446744073709551615], "erased": [], "moved": [2]})");
  ASSERT_TRUE(changes) << changes.error().message;
  EXPECT_EQ(changes->from, 3u);
  EXPECT_EQ(changes->to, 9u);
  EXPECT_THAT(changes->inserted, ElementsAre(1u, UINT64_MAX));
  EXPECT_THAT(changes->erased, IsEmpty());
  EXPECT_THAT(changes->moved, ElementsAre(2u));
}

TEST(ParseAnswers, ABackupIsWhereAndWhat) {
  const auto made = parse_backup(R"({"path": "/data/copy", "version": 12, "entries": 5})");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->path, "/data/copy");
  EXPECT_EQ(made->version, 12u);
  EXPECT_EQ(made->entries, 5u);
}

TEST(ParseAnswers, AGroupIsItsMembers) {
  const std::string json =
      R"({"epoch": 4, "self": "b", "primary": "a", "role": "backup", "members": [)"
      R"({"id": "a", "url": "tcp://a:1", "in_view": true}, {"id": 7, "in_view": false}]})";
  const auto group = parse_group(json);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_EQ(group->epoch, 4u);
  EXPECT_EQ(group->self, "b");
  EXPECT_EQ(group->primary, "a");
  EXPECT_EQ(group->role, "backup");
  ASSERT_EQ(group->members.size(), 2u);
  EXPECT_EQ(group->members[0].id, "a");
  EXPECT_EQ(group->members[0].url, "tcp://a:1");
  EXPECT_TRUE(group->members[0].is_in_view);
  EXPECT_EQ(group->members[1].id, "7");
  EXPECT_FALSE(group->members[1].is_in_view);
  EXPECT_EQ(group->json, json);
}

TEST(ParseAnswers, AGroupBetweenTwoViewsHasNoPrimary) {
  const auto group =
      parse_group(R"({"epoch": 4, "self": 2, "primary": null, "role": "backup", "members": []})");
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_EQ(group->self, "2");
  EXPECT_TRUE(group->primary.empty());
}

TEST(ParseAnswers, StatisticsHaveTheirFieldsAndAllThatWasSaid) {
  const std::string json =
      R"({"version": 5, "state": "frozen", "uptime_seconds": 1.5, "dimensions": 3, "entries": 6,)"
      R"( "height": 2, "nodes": 3, "bytes": 4096, "bytes_retired": 512, "memory":)"
      R"( {"budget_bytes": 65536}, "listeners": [{"clients": 2}, {"clients": 1}],)"
      R"( "write_operations": 9, "failed_operations": 1, "cpu_seconds": 0.25, "more": true})";
  const auto says = parse_statistics(json);
  ASSERT_TRUE(says) << says.error().message;
  EXPECT_EQ(says->version, 5u);
  EXPECT_EQ(says->state, "frozen");
  EXPECT_EQ(says->uptime_seconds, 1.5);
  EXPECT_EQ(says->dimensions, 3u);
  EXPECT_EQ(says->entries, 6u);
  EXPECT_EQ(says->height, 2u);
  EXPECT_EQ(says->nodes, 3u);
  EXPECT_EQ(says->bytes, 4096u);
  EXPECT_EQ(says->bytes_retired, 512u);
  EXPECT_EQ(says->memory_budget_bytes, 65536u);
  EXPECT_EQ(says->clients, 3u);
  EXPECT_EQ(says->write_operations, 9u);
  EXPECT_EQ(says->failed_operations, 1u);
  EXPECT_EQ(says->cpu_seconds, 0.25);
  EXPECT_EQ(says->json, json);
}

TEST(ParseAnswers, TextsOfAPeerAreMadePrintable) {
  const auto says = parse_statistics(R"({"version": 5, "state": "\u001b[2Jgone"})");
  ASSERT_TRUE(says) << says.error().message;
  EXPECT_EQ(says->state, "?[2Jgone");
}

TEST(ParseAnswers, WhatMakesNoSenseIsRefused) {
  for (const char* text :
       {"", "[]", "{}", "{\"versions\": 3}", R"({"versions": [{"version": -1, "unix_ns": 3}]})",
        R"({"inserted": [1], "erased": [], "moved": [-1]})", R"({"inserted": [], "erased": []})",
        R"({"path": 3})", R"({"members": {}})", R"({"version": "5"})",
        R"({"members": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]})"}) {
    const Error errors[] = {
        parse_history(text) ? Error{} : parse_history(text).error(),
        parse_difference(text) ? Error{} : parse_difference(text).error(),
        parse_backup(text) ? Error{} : parse_backup(text).error(),
        parse_group(text) ? Error{} : parse_group(text).error(),
        parse_statistics(text) ? Error{} : parse_statistics(text).error(),
    };
    for (const Error& error : errors) EXPECT_EQ(error.code, ErrorCode::kProtocol) << text;
  }
}

}  // namespace
}  // namespace silurus::client
