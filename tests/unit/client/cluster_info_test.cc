#include "client/cluster_info.h"

#include <gtest/gtest.h>

#include "client/directory.h"

namespace silurus::client {
namespace {

using Urls = std::vector<std::string>;

TEST(ClusterInfo, NamesThePrimaryAndTheOthersOfTheView) {
  const auto info = parse_cluster_info(R"({"name": "geo", "self": "2", "primary": "1",
      "role": "backup", "members": [{"id": "1", "url": "tcp://a:1", "in_view": true},
      {"id": "2", "url": "tcp://b:1", "in_view": true},
      {"id": "3", "url": "tcp://c:1", "in_view": false}]})");
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_FALSE(info->is_primary);
  EXPECT_EQ(info->primary, "tcp://a:1");
  EXPECT_EQ(info->others, Urls{"tcp://a:1"});
}

TEST(ClusterInfo, AServerWithoutAGroupIsThePrimary) {
  const auto info = parse_cluster_info(
      R"({"self": 0, "primary": 0, "role": "primary", "members": [{"id": 0, "url": "shm:///s"}]})");
  ASSERT_TRUE(info);
  EXPECT_TRUE(info->is_primary);
  EXPECT_TRUE(info->others.empty());
}

TEST(ClusterInfo, BetweenTwoViewsThereIsNoPrimary) {
  const auto info =
      parse_cluster_info(R"({"self": "7", "primary": null, "role": "backup", "members": []})");
  ASSERT_TRUE(info);
  EXPECT_FALSE(info->is_primary);
  EXPECT_TRUE(info->primary.empty());
}

TEST(ClusterInfo, IsRefusedIfNoServerSaidIt) {
  for (const char* text :
       {"", "[]", "{}", "{\"self\": 1}", R"({"self": -1, "primary": 1, "role": "", "members": []})",
        R"({"self": 1, "primary": 1, "role": 7, "members": []})",
        R"({"self": 1, "primary": 1, "role": "primary", "members": {}})",
        R"({"self": 1, "primary": 1, "role": "primary", "members": [3]})",
        R"({"self": 1, "primary": 1, "role": "primary", "members": [{"id": 1}]})",
        R"({"self": 1, "primary": 1, "role": "primary", "members": [{"id": 1, "url": 5}]})"}) {
    const auto info = parse_cluster_info(text);
    ASSERT_FALSE(info) << text;
    EXPECT_EQ(info.error().code, ErrorCode::kProtocol) << text;
  }
}

TEST(Directory, PutsThePrimaryFirstAndPassesOverNonsense) {
  EXPECT_EQ(client_urls({{"members/1", R"({"member": {"id": "1", "clients": "tcp://a:1"}})", 1},
                         {"members/9", "not JSON", 2},
                         {"members/8", R"({"member": 5})", 2},
                         {"view",
                          R"({"primary": "2", "members": [{"id": "1", "clients": "tcp://a:1"},
                              {"id": "2", "clients": "shm:///b,tcp://b:1"}, 7]})",
                          3}}),
            (Urls{"shm:///b", "tcp://b:1", "tcp://a:1", "tcp://a:1"}));
}

TEST(Urls, ArePartedByCommas) {
  EXPECT_EQ(split_urls("tcp://a:1,,tcp://b:2,"), (Urls{"tcp://a:1", "tcp://b:2"}));
  EXPECT_TRUE(split_urls("").empty());
}

}  // namespace
}  // namespace silurus::client
