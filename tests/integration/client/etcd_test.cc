// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "etcd/gateway.h"
#include "replication/group/view.h"
#include "silurus/client.h"
#include "tests/support/etcd_process.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

// Clients that find their servers in a real etcd.

namespace silurus {
namespace {

using replication::group::View;
using testing_support::EtcdProcess;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

class ClientOfEtcdTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed())
      GTEST_SKIP() << "no etcd here: scripts/setup --test installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
    auto gateway = etcd::Gateway::create(etcd::Address::parse(etcd_->address("geo")).value(),
                                         patient(5 * kSecond));
    ASSERT_TRUE(gateway);
    gateway_ = std::move(*gateway);
  }
  void announce(const std::string& first, const std::string& second) {
    const View view{.epoch = 1,
                    .members = {{1, "tcp://127.0.0.1:1", first}, {2, "tcp://127.0.0.1:2", second}},
                    .primary = 2,
                    .incarnation = 1,
                    .since = 1};
    const std::string key = "silurus/geo/0/view";
    const auto before = gateway_->read(key);
    ASSERT_TRUE(before) << before.error().message;
    EXPECT_NE(gateway_->replace(key, before->revision, encode(view)).value(), 0u);
    EXPECT_EQ(gateway_->replace(key, before->revision, encode(view)).value(), 0u)
        << "it has changed since";
  }

  TemporaryFolder folder_;
  std::unique_ptr<EtcdProcess> etcd_;
  std::unique_ptr<etcd::Gateway> gateway_;
};

TEST_F(ClientOfEtcdTest, FindsTheMemberThatIsThere) {
  const ServerProcess server({"--listen", "shm://" + folder_ / "socket"});
  ASSERT_EQ(server.addresses().size(), 1u);
  announce("shm://" + folder_ / "nobody", server.addresses()[0]);
  auto client = Client<2>::connect(etcd_->address("geo"), patient());
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_TRUE(client->insert(1, {{0, 0}, {1, 1}}));
  EXPECT_EQ(probe(etcd_->address("geo"), patient(5 * kSecond)).value().dimensions, 2u);
}

TEST_F(ClientOfEtcdTest, AsksEtcdAgainWhenNoMemberAnswers) {
  auto server = std::make_unique<ServerProcess>(
      std::vector{std::string("--listen"), "shm://" + folder_ / "a"});
  announce(server->addresses()[0], "");
  auto client = Client<2>::connect(etcd_->address("geo"), patient({.reconnect_for = 30 * kSecond}));
  ASSERT_TRUE(client) << client.error().message;
  server = std::make_unique<ServerProcess>(
      std::vector{std::string("--listen"), "shm://" + folder_ / "b"});
  announce("", server->addresses()[0]);
  EXPECT_EQ(client->count({{0, 0}, {1, 1}}).value(), 0u);
}

TEST_F(ClientOfEtcdTest, AClusterThatIsNotThereIsNamed) {
  const auto client =
      Client<2>::connect(etcd_->address("nowhere"), {.connect_timeout = 300 * kMillisecond});
  ASSERT_FALSE(client);
  EXPECT_NE(client.error().message.find("nowhere"), std::string::npos) << client.error().message;
}

}  // namespace
}  // namespace silurus
