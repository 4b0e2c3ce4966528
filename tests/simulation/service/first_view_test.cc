// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "common/log.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "tests/simulation/service/server_life.h"

// What the first member of a group tells clients, before and after it has made the first view.

namespace silurus::simulation {
namespace {

/// The client's end of a connection that only hears.
class Listening final : public transport::ConnectionHandler {
 public:
  Listening(sim::World& world, sim::Host& host, const sim::FabricOptions& options)
      : fabric_(world, host, options), poller_(std::move(*fabric_.create_poller())) {}

  bool connect(const std::string& url) {
    const protocol::ClientHello hello{.dimensions = 2};
    auto made = fabric_.connect(transport::Address::parse(url).value(), {.timeout = kSecond},
                                *poller_, std::as_bytes(std::span(&hello, 1)), *this);
    if (!made) return false;
    connection_ = std::move(*made);
    return true;
  }
  protocol::ServerHello hello() const {
    return protocol::decode_server_hello(connection_->peer_hello(), 2).value();
  }
  /// Clients that ask nothing hear no heartbeats.
  void ask(std::uint32_t id) {
    const auto room = connection_->reserve(sizeof(protocol::Header));
    ASSERT_FALSE(room.empty());
    protocol::encode_bare(room, protocol::MessageType::kCluster, id);
    connection_->commit(room.size());
    connection_->flush();
  }
  protocol::Heartbeat heartbeat() {
    poller_->progress();
    std::array<std::byte, transport::kMailboxBytes> content{};
    protocol::Heartbeat heard{};
    if (connection_->read_mailbox(content)) std::memcpy(&heard, content.data(), sizeof heard);
    return heard;
  }

  void on_message(transport::Connection&, std::span<const std::byte>) override {}
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}

 private:
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Connection> connection_;
};

class FirstView : public testing::Test {
 protected:
  FirstView() { log::set_level(log::Level::kOff); }
  ~FirstView() override { EXPECT_EQ(group_.complaints, std::vector<std::string>()); }

  sim::World world_{19};
  SimEtcd etcd_{world_, world_.add_host("etcd"), 2 * kQuick.lease};
  GroupWorld group_{world_, etcd_, kQuick, sim::FabricOptions{.give_up = kQuick.silence}};
  Service service_{.group = group_, .published = {}, .fabric = {.give_up = 10 * kSecond}};
  ServerDisk disk_;
  sim::Host& host_ = world_.add_host("member1");
  Listening client_{world_, world_.add_host("client"), service_.fabric};
};

TEST_F(FirstView, IsWaitedForByClientsOfAMemberThatHasNone) {
  world_.cut(host_, etcd_.host());
  world_.cut(etcd_.host(), host_);
  const ServerLife member(service_, host_, 1, disk_, 3, Power::Failure::kPowerCut);
  world_.run_for(10 * kMillisecond);
  ASSERT_EQ(member.member_status().epoch(), 0u);
  ASSERT_TRUE(client_.connect(SimServer::url(host_)));
  EXPECT_GT(client_.hello().epoch, 0u) << "it would pass for a server alone, which needs no lease";
}

TEST_F(FirstView, OfOneMemberLetsClientsReadForLessThanALease) {
  const ServerLife member(service_, host_, 1, disk_, 3, Power::Failure::kPowerCut);
  ASSERT_TRUE(world_.run_until([&] { return member.driver().member().may_write(); }, kSecond));
  ASSERT_TRUE(client_.connect(SimServer::url(host_)));
  int heard = 0;
  for (std::uint32_t i = 1; i <= 100; ++i) {
    client_.ask(i);
    world_.run_for(kMillisecond);
    const protocol::Heartbeat heartbeat = client_.heartbeat();
    if (heartbeat.sequence == 0) continue;
    ++heard;
    // Another one may be taken in, and wait for no longer than that.
    ASSERT_LE(heartbeat.lease_ns, static_cast<std::uint64_t>(kQuick.lease));
  }
  EXPECT_GT(heard, 10);
}

}  // namespace
}  // namespace silurus::simulation
