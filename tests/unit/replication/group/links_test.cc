// SPDX-License-Identifier: Apache-2.0

#include "replication/group/links.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/sim/fabric.h"

namespace silurus::replication::group {
namespace {

namespace sim = transport::sim;

TEST(Links, WaitForAnUpstreamNoLongerThanTheyAreTold) {
  sim::World world(1);
  sim::SimFabric fabric(world, world.add_host("member"), {.capabilities = 0});
  const auto poller = std::move(*fabric.create_poller());
  std::map<std::string, Nanoseconds> waits;
  const Dialer dialer = [&waits](const transport::Address& address, Nanoseconds timeout,
                                 std::span<const std::byte>, transport::ConnectionHandler&,
                                 const Connected& done) {
    waits[address.to_string()] = timeout;
    done(fail(ErrorCode::kDeadlineExceeded, "no member answers"));
  };
  const auto links = Links::create({.group = 1,
                                    .self = 1,
                                    .incarnation = 1,
                                    .listen = transport::Address::parse("sim://member:7").value(),
                                    .dial_timeout = 200 * kMillisecond,
                                    .upstream_dial_timeout = 12 * kMillisecond},
                                   fabric, *poller, dialer, {});
  ASSERT_TRUE(links) << links.error().message;
  (*links)->set_primary(MemberInfo{2, "sim://primary:7", ""}, 5, 0);
  (*links)->set_upstream(MemberInfo{3, "sim://before:7", ""});
  (*links)->tick(kSecond);
  const std::map<std::string, Nanoseconds> as_told = {{"sim://primary:7", 200 * kMillisecond},
                                                      {"sim://before:7", 12 * kMillisecond}};
  EXPECT_EQ(waits, as_told);
}

/// A member that listens at a real address, and what others are to it.
class KeyedLinks : public testing::Test {
 protected:
  static constexpr GroupId kGroup = 7;

  KeyedLinks() {
    fabric_ = std::move(*transport::make_fabric("tcp"));
    poller_ = std::move(*fabric_->create_poller());
  }
  std::unique_ptr<Links> links(const std::optional<access::Key>& key,
                               const std::string& listen = "tcp://127.0.0.1:0") {
    auto made = Links::create({.group = kGroup,
                               .self = 1,
                               .incarnation = 1,
                               .listen = transport::Address::parse(listen).value(),
                               .key = key},
                              *fabric_, *poller_, Dialer(), {});
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }
  /// How a member's hello is answered.
  static Status greet(Links& links, const transport::Caller& caller) {
    const MemberHello hello{.group = kGroup, .member = 2, .incarnation = 5};
    const auto answer = static_cast<transport::AcceptHandler&>(links).on_hello(
        std::as_bytes(std::span(&hello, 1)), caller);
    return answer ? Status() : fail(answer.error());
  }

  const access::Key key_ = *access::Key::make("ours");
  std::unique_ptr<transport::Fabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
};

TEST_F(KeyedLinks, WithAKeyAreForMembersThatHaveProvedIt) {
  const auto member = links(key_);
  EXPECT_TRUE(greet(*member, {.key = key_.label()}));
  for (const transport::Caller& caller :
       {transport::Caller{}, transport::Caller{.user = geteuid()},
        transport::Caller{.key = access::Key::make("ours")->label()}}) {
    const Status refused = greet(*member, caller);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
  }
}

TEST_F(KeyedLinks, WithAKeyKnowThatOneAlone) {
  const auto member = links(key_);
  auto& handler = static_cast<transport::AcceptHandler&>(*member);
  EXPECT_TRUE(handler.find_key(key_.label().id));
  EXPECT_FALSE(handler.find_key(key_.label().id + 1));
}

TEST_F(KeyedLinks, WithoutAKeyAreForOurOwnUser) {
  const auto member = links(std::nullopt);
  EXPECT_TRUE(greet(*member, {.user = geteuid()}));
  EXPECT_FALSE(greet(*member, {.user = geteuid() + 1}));
}

TEST_F(KeyedLinks, WithoutAKeyAreNotReachableByOtherHosts) {
  const auto made = Links::create({.group = kGroup,
                                   .self = 1,
                                   .incarnation = 1,
                                   .listen = transport::Address::parse("tcp://0.0.0.0:0").value()},
                                  *fabric_, *poller_, Dialer(), {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kPermission);
  EXPECT_NE(made.error().message.find("--cluster-key"), std::string::npos) << made.error().message;
  EXPECT_TRUE(links(key_, "tcp://0.0.0.0:0"));
}

class CountingHandler final : public LinksHandler {
 public:
  void on_group_message(std::span<const std::byte>) override { ++messages; }
  void on_window_bytes(std::uint64_t, std::span<const std::byte>) override {}
  int messages = 0;
};

class NoGroup final : public transport::MulticastGroup {
 public:
  std::size_t max_datagram_bytes() const override { return 4096; }
  transport::PostStatus send(std::span<const std::byte>) override {
    return transport::PostStatus::kClosed;
  }
  void flush() override {}
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  transport::ConnectionCounters counters_;
};

TEST_F(KeyedLinks, HandOverDatagramsWithTheGroupsSealAlone) {
  const auto member = links(key_);
  CountingHandler handler;
  member->set_handler(&handler);
  NoGroup group;
  std::vector<std::byte> message(100, std::byte{5});
  const auto make = [&message](Kind kind) {
    const Envelope envelope{.checksum = 0,
                            .sender = 2,
                            .incarnation = 5,
                            .epoch = 1,
                            .length = 100,
                            .kind = kind,
                            .flags = 0};
    std::memcpy(message.data(), &envelope, sizeof envelope);
  };
  auto& receiver = static_cast<transport::MulticastHandler&>(*member);
  for (const Kind kind : {Kind::kRow, Kind::kFetch, Kind::kFetched, Kind::kProbe, Kind::kProbed}) {
    make(kind);
    receiver.on_datagram(group, DatagramSeal(key_, kGroup).close(message));
  }
  EXPECT_EQ(handler.messages, 0) << "members say of themselves nothing by datagrams";
  EXPECT_EQ(member->false_datagrams(), 5u);
  make(Kind::kLog);
  receiver.on_datagram(group, DatagramSeal(key_, kGroup).close(message));
  EXPECT_EQ(handler.messages, 1);
  receiver.on_datagram(group, message);
  receiver.on_datagram(group, DatagramSeal(*access::Key::make("ours"), kGroup).close(message));
  receiver.on_datagram(group, DatagramSeal(key_, kGroup + 1).close(message));
  EXPECT_EQ(handler.messages, 1);
  EXPECT_EQ(member->false_datagrams(), 5u + 3u);
}

TEST(DatagramSeals, AreSpoiltByEachByteOfTheMessageAndItsEpochToo) {
  const access::Key key = *access::Key::make("ours");
  DatagramSeal seal(key, 7);
  std::vector<std::byte> message(sizeof(Envelope) + 30, std::byte{5});
  const auto closed = seal.close(message);
  std::vector<std::byte> datagram(closed.begin(), closed.end());
  const auto opened = seal.open(datagram);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(std::ranges::equal(*opened, message));
  for (std::size_t i = 0; i < datagram.size(); ++i) {
    datagram[i] ^= std::byte{1};
    EXPECT_FALSE(seal.open(datagram)) << i;
    datagram[i] ^= std::byte{1};
  }
  EXPECT_FALSE(seal.open(std::span(datagram).first(DatagramSeal::kBytes + 3)));
}

}  // namespace
}  // namespace silurus::replication::group
