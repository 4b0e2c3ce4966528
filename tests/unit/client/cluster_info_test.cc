// SPDX-License-Identifier: Apache-2.0

#include "client/cluster_info.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

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

/// An etcd that holds one key, and knows what it was asked for.
class OneKey final : public etcd::Gateway {
 public:
  OneKey(etcd::KeyValue held, std::vector<std::string>& asked)
      : held_(std::move(held)), asked_(asked) {}
  Result<etcd::KeyValue> read(const std::string&) override { return refuse(); }
  Result<std::vector<etcd::KeyValue>> read_prefix(const std::string& prefix) override {
    asked_.push_back(prefix);
    if (!held_.key.starts_with(prefix)) return std::vector<etcd::KeyValue>();
    return std::vector{held_};
  }
  Result<std::uint64_t> replace(const std::string&, std::uint64_t, const std::string&) override {
    return refuse();
  }
  Status put(const std::string&, const std::string&, std::uint64_t) override { return refuse(); }
  Result<std::uint64_t> grant(std::int64_t) override { return refuse(); }
  Result<bool> renew(std::uint64_t) override { return refuse(); }

 private:
  static tl::unexpected<Error> refuse() {
    return fail(ErrorCode::kUnsupported, "who only looks for members asks for no more");
  }
  const etcd::KeyValue held_;
  std::vector<std::string>& asked_;
};

class WorldWithEtcd final : public Environment {
 public:
  const Clock& clock() const override { return clock_; }
  void sleep(Nanoseconds) override {}
  std::uint64_t random_id() override { return 1; }
  Result<std::unique_ptr<Fabrics>> open_fabrics(const transport::WaitOptions&) override {
    return fail(ErrorCode::kUnsupported, "there is no network here");
  }
  Result<std::unique_ptr<etcd::Gateway>> open_etcd(const etcd::Address&, Nanoseconds) override {
    return std::make_unique<OneKey>(held, asked);
  }

  etcd::KeyValue held;
  std::vector<std::string> asked;

 private:
  ManualClock clock_;
};

TEST(Directory, LooksForTheMembersOfTheShardThatTheAddressNames) {
  WorldWithEtcd world;
  world.held = {"silurus/geo/7/members/1", R"({"member": {"id": "1", "clients": "tcp://a:1"}})", 1};
  const auto members_at = [&](const char* url) -> Result<Urls> {
    const auto address = etcd::GroupAddress::parse(url);
    if (!address) return fail(address.error());
    auto directory = EtcdDirectory::create(*address, world, kSecond);
    return directory ? (*directory)->members() : fail(directory.error());
  };
  const auto of_seven = members_at("etcd://host:1/geo/7");
  ASSERT_TRUE(of_seven) << of_seven.error().message;
  EXPECT_EQ(*of_seven, Urls{"tcp://a:1"});
  const auto of_none = members_at("etcd://host:1/geo");
  ASSERT_FALSE(of_none) << "that is shard 0";
  EXPECT_EQ(of_none.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(world.asked, (Urls{"silurus/geo/7/", "silurus/geo/0/"}));
}

TEST(Urls, ArePartedByCommas) {
  EXPECT_EQ(split_urls("tcp://a:1,,tcp://b:2,"), (Urls{"tcp://a:1", "tcp://b:2"}));
  EXPECT_TRUE(split_urls("").empty());
}

}  // namespace
}  // namespace silurus::client
