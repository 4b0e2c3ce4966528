// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/fabric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "tests/support/seed.h"
#include "tests/unit/transport_sim/harness.h"
#include "transport/sim/multicast.h"

namespace silurus::transport::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(SimFabric, ConnectsAndExchangesHellos) {
  Pair pair(1);
  EXPECT_THAT(pair.server.hellos, ElementsAre("hi"));
  EXPECT_EQ(text_of(pair.to_server().peer_hello()), "welcome");
  EXPECT_EQ(text_of(pair.to_client().peer_hello()), "hi");
  EXPECT_EQ(pair.to_server().limits().max_message_bytes,
            pair.to_client().limits().max_message_bytes);
}

TEST(SimFabric, SaysWhyItCannotConnect) {
  Pair pair(1);
  EXPECT_EQ(pair.connect("bad").error().code, ErrorCode::kPermission);
  EXPECT_THAT(pair.connect("bad").error().message, HasSubstr("not you"));
  auto connect_to = [&](const std::string& host, const std::string& port) {
    auto connected = pair.client.fabric.connect({"sim", host, port, ""}, {}, *pair.client.poller,
                                                {}, pair.client.recorder);
    return connected ? ErrorCode{} : connected.error().code;
  };
  EXPECT_EQ(connect_to("server", "2"), ErrorCode::kUnavailable);
  EXPECT_EQ(connect_to("nobody", "1"), ErrorCode::kNotFound);
  pair.world.cut(pair.client_host, pair.server_host);
  EXPECT_EQ(connect_to("server", "1"), ErrorCode::kDeadlineExceeded);
}

TEST(SimFabric, AnAcceptThatCameTooLateIsTakenBack) {
  Pair pair(1);
  pair.server_host.pause();
  EXPECT_EQ(pair.connect().error().code, ErrorCode::kDeadlineExceeded);
  pair.server_host.resume();
  pair.world.run_for(2 * kSecond);
  ASSERT_THAT(pair.server.connections, SizeIs(2));
  EXPECT_THAT(pair.server.recorder.closed, SizeIs(1));
}

TEST(SimFabric, ConnectsWithinAProcessToo) {
  World world(1);
  ServerNode server(world, world.add_host("server"));
  Node client(world, world.add_host("client"));
  std::unique_ptr<Connection> blocking;
  auto other = client.host.spawn("other", [&](Process&) {
    auto connected = client.fabric.connect({"sim", "server", "1", ""}, {}, *client.poller,
                                           bytes_of("a"), client.recorder);
    ASSERT_TRUE(connected.has_value());
    blocking = std::move(*connected);
  });
  std::unique_ptr<Connection> later;
  client.fabric.connect_later({"sim", "server", "1", ""}, {}, *client.poller, bytes_of("b"),
                              client.recorder,
                              [&](auto connected) { later = std::move(*connected); });
  world.run_for(kSecond);
  EXPECT_NE(blocking, nullptr);
  EXPECT_NE(later, nullptr);
  EXPECT_THAT(server.hellos, SizeIs(2));
}

TEST(SimFabric, MessagesArriveInOrderAndOnceWhateverIsLost) {
  Random seeds(testing_support::seed(11));
  for (int round = 0; round < 20; ++round) {
    Pair pair(seeds());
    pair.world.set_default_link({.latency = 1000, .jitter = 20'000, .loss = 0.2});
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(send(pair.to_server(), std::to_string(i)));
    pair.world.run_for(kSecond);
    ASSERT_THAT(pair.server.recorder.messages, SizeIs(200));
    for (int i = 0; i < 200; ++i) ASSERT_EQ(pair.server.recorder.messages[i], std::to_string(i));
    ASSERT_THAT(pair.server.recorder.closed, IsEmpty());
  }
}

TEST(SimFabric, WhatIsCommittedWaitsForAFlushOrProgress) {
  Pair pair(1);
  std::memset(pair.to_server().reserve(4).data(), 'x', 4);
  pair.to_server().commit(4);
  pair.world.run_for(kSecond);
  EXPECT_THAT(pair.server.recorder.messages, IsEmpty());
  pair.client.poller->progress();
  pair.world.run_for(kSecond);
  EXPECT_THAT(pair.server.recorder.messages, ElementsAre("xxxx"));
}

TEST(SimFabric, AFullRingBlocksUntilThePeerHasReadIt) {
  Pair pair(1);
  pair.server_host.pause();
  const std::string text(1000, 'a');
  std::size_t sent = 0;
  while (send(pair.to_server(), text)) ++sent;
  EXPECT_GT(sent, 0u);
  EXPECT_LE(sent * text.size(), pair.server.listener->ring_bytes() / 2);
  pair.world.run_for(kSecond);
  EXPECT_EQ(pair.client.recorder.writable, 0);
  pair.server_host.resume();
  pair.world.run_for(kSecond);
  EXPECT_EQ(pair.client.recorder.writable, 1);
  EXPECT_THAT(pair.server.recorder.messages, SizeIs(sent));
  EXPECT_TRUE(send(pair.to_server(), text));
}

TEST(SimFabric, MailboxesShowTheNewestContentWithoutWaking) {
  Pair pair(1);
  pair.world.run_for(kSecond);
  std::array<std::byte, kMailboxBytes> content;
  EXPECT_FALSE(pair.to_server().read_mailbox(content));
  const int steps = pair.client.steps;
  pair.to_client().write_mailbox(bytes_of("one"));
  pair.to_client().write_mailbox(bytes_of("two"));
  EXPECT_FALSE(pair.to_server().read_mailbox(content));
  pair.world.run_for(kSecond);
  ASSERT_TRUE(pair.to_server().read_mailbox(content));
  EXPECT_EQ(text_of(std::span(content).first(4)), std::string("two\0", 4));
  EXPECT_EQ(pair.client.steps, steps);
}

TEST(SimFabric, ClosingTellsThePeerAfterWhatWasSent) {
  Pair pair(1);
  send(pair.to_server(), "last words");
  pair.to_server().close();
  EXPECT_THAT(pair.client.recorder.closed, IsEmpty());
  pair.world.run_for(kSecond);
  EXPECT_THAT(pair.server.recorder.messages, ElementsAre("last words"));
  ASSERT_THAT(pair.server.recorder.closed, SizeIs(1));
  EXPECT_EQ(pair.server.recorder.closed[0].code, ErrorCode::kConnectionLost);
  EXPECT_THAT(pair.client.recorder.closed, SizeIs(1));
  EXPECT_EQ(pair.server.listener->ring_bytes(), 0u);
}

TEST(SimFabric, DestroyingAConnectionClosesIt) {
  Pair pair(1);
  pair.client.connection.reset();
  pair.world.run_for(kSecond);
  EXPECT_THAT(pair.server.recorder.closed, SizeIs(1));
  EXPECT_THAT(pair.client.recorder.closed, IsEmpty());
}

TEST(SimFabric, ACutLinkDelaysOrBreaksTheConnectionByItsLength) {
  for (const bool is_long : {false, true}) {
    Pair pair(1);
    pair.world.cut(pair.client_host, pair.server_host);
    send(pair.to_server(), "x");
    pair.world.run_for((is_long ? 600 : 300) * kMillisecond);
    pair.world.heal_all();
    pair.world.run_for(2 * kSecond);
    EXPECT_EQ(pair.server.recorder.messages.size(), is_long ? 0u : 1u);
    EXPECT_EQ(pair.client.recorder.closed.size(), is_long ? 1u : 0u);
    EXPECT_EQ(pair.server.recorder.closed.size(), is_long ? 1u : 0u);
    if (is_long) {
      EXPECT_EQ(pair.client.recorder.closed[0].code, ErrorCode::kConnectionLost);
    }
  }
}

TEST(SimFabric, AcknowledgementsThatAreLostBreakTheConnectionToo) {
  Pair pair(1);
  pair.world.cut(pair.server_host, pair.client_host);
  send(pair.to_server(), "x");
  pair.world.run_for(3 * kSecond);
  EXPECT_THAT(pair.server.recorder.messages, ElementsAre("x"));  // once
  EXPECT_THAT(pair.client.recorder.closed, SizeIs(1));
  EXPECT_THAT(pair.server.recorder.closed, SizeIs(1));
}

TEST(SimFabric, PeersOfACrashedHostFindOutWithinATimeout) {
  Pair pair(1);
  pair.server_host.crash();
  pair.world.run_for(200 * kMillisecond);
  EXPECT_THAT(pair.client.recorder.closed, IsEmpty());
  pair.world.run_for(400 * kMillisecond);
  ASSERT_THAT(pair.client.recorder.closed, SizeIs(1));
  EXPECT_EQ(pair.client.recorder.closed[0].code, ErrorCode::kConnectionLost);
  EXPECT_EQ(pair.connect().error().code, ErrorCode::kDeadlineExceeded);
  pair.server_host.restart();
  EXPECT_EQ(pair.connect().error().code, ErrorCode::kUnavailable);
  ServerNode again(pair.world, pair.server_host);
  EXPECT_TRUE(pair.connect().has_value());
}

TEST(SimFabric, AConnectionOutlastsTheSleepOfItsHosts) {
  Pair pair(1);
  send(pair.to_server(), "x");
  pair.client_host.suspend();
  pair.server_host.suspend();
  pair.world.run_for(10 * kSecond);
  EXPECT_THAT(pair.server.recorder.messages, IsEmpty());
  pair.client_host.resume();
  pair.server_host.resume();
  pair.world.run_for(kSecond);
  EXPECT_THAT(pair.server.recorder.messages, ElementsAre("x"));
  EXPECT_THAT(pair.client.recorder.closed, IsEmpty());
  EXPECT_THAT(pair.server.recorder.closed, IsEmpty());
}

TEST(SimFabric, AHostWhoseServerWasKilledRefusesAtOnce) {
  Pair pair(1);
  pair.server_host.kill();
  const Nanoseconds begun = pair.world.now();
  EXPECT_EQ(pair.connect().error().code, ErrorCode::kUnavailable);
  EXPECT_LT(pair.world.now() - begun, kMillisecond);
}

TEST(SimFabric, ABusyServerAnswersLater) {
  Pair pair(1);
  pair.server.recorder.reaction = [](Connection& c, const std::string& text) { send(c, text); };
  pair.server.step_cost = 10 * kMicrosecond;
  const Nanoseconds start = pair.world.now();
  for (int i = 0; i < 3; ++i) {
    send(pair.to_server(), "x");
    pair.world.run_for(8 * kMicrosecond);
  }
  pair.world.run_until([&] { return pair.client.recorder.messages.size() == 3; }, 10 * kSecond);
  EXPECT_GT(pair.world.now() - start, 20 * kMicrosecond);
  EXPECT_GE(pair.server_host.cpu_time(), 30 * kMicrosecond);
}

// --- one-sided reads

/// A pair whose server exposes a region of words 0, 1, 2, ...
class SimReads : public testing::Test {
 protected:
  explicit SimReads(const HostOptions& server_options = {}, const FabricOptions& options = {})
      : memory_(1024), pair_(testing_support::seed(3), options, server_options) {
    std::iota(memory_.begin(), memory_.end(), 0);
    EXPECT_TRUE(pair_.server.listener->expose({std::as_writable_bytes(std::span(memory_)), -1}));
    buffer_ = std::move(*pair_.client.poller->allocate_buffer(8192));
    pair_.world.run_for(kMillisecond);
  }
  std::uint64_t word(std::size_t index) const {
    std::uint64_t value;
    std::memcpy(&value, buffer_->bytes().data() + 8 * index, 8);
    return value;
  }
  PostStatus post(const ReadRequest& request) {
    return pair_.to_server().post_reads({&request, 1}).status;
  }

  std::vector<std::uint64_t> memory_;
  Pair pair_;
  std::unique_ptr<Buffer> buffer_;
};

TEST_F(SimReads, LandTheBytesWithoutTheServersProcess) {
  pair_.server_host.pause();
  const int steps = pair_.server.steps;
  EXPECT_EQ(post(pair_.read(800, 80, *buffer_, 42)), PostStatus::kPosted);
  EXPECT_NE(word(0), 100u);
  pair_.world.run_for(kMillisecond);
  EXPECT_THAT(pair_.client.recorder.reads, ElementsAre(std::pair(42, true)));
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(word(i), 100 + i);
  EXPECT_EQ(pair_.server.steps, steps);
}

TEST_F(SimReads, AreRefusedOutsideOfWhatThereIs) {
  EXPECT_EQ(post(pair_.read(8192, 8, *buffer_)), PostStatus::kInvalid);
  EXPECT_EQ(post(pair_.read(8190, 8, *buffer_)), PostStatus::kInvalid);
  EXPECT_EQ(post(pair_.read(~std::uint64_t{0}, 8, *buffer_)), PostStatus::kInvalid);
  EXPECT_EQ(post(pair_.read(0, 0, *buffer_)), PostStatus::kInvalid);
  EXPECT_EQ(post({0, 0, 16, buffer_.get(), 8180, 1}), PostStatus::kInvalid);
  EXPECT_EQ(post({1, 0, 8, buffer_.get(), 0, 1}), PostStatus::kUnknownRegion);
  EXPECT_EQ(pair_.to_server().counters().reads, 0u);
}

TEST_F(SimReads, OverTheLimitWouldBlock) {
  std::vector<ReadRequest> requests(100, pair_.read(0, 8, *buffer_));
  const auto result = pair_.to_server().post_reads(requests);
  EXPECT_EQ(result.posted, pair_.to_server().limits().max_reads_in_flight);
  EXPECT_EQ(result.status, PostStatus::kWouldBlock);
  EXPECT_EQ(pair_.to_server().counters().doorbells, 1u);
  pair_.world.run_for(kMillisecond);
  EXPECT_THAT(pair_.client.recorder.reads, SizeIs(result.posted));
}

TEST_F(SimReads, AreNotAtomicButWordsAre) {
  // A writer that always keeps all words equal, one change each 50 ns.
  std::uint64_t version = 0;
  std::function<void()> write = [&] {
    std::fill(memory_.begin(), memory_.begin() + 64, ++version);
    if (version < 100'000) pair_.world.after(50, write);
  };
  write();
  int torn = 0;
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(post(pair_.read(0, 512, *buffer_)), PostStatus::kPosted);
    pair_.world.run_for(10 * kMicrosecond);
    bool is_torn = false;
    for (std::size_t w = 0; w < 64; ++w) {
      ASSERT_LE(word(w), version);  // no word is half of one version and half of another
      is_torn |= word(w) != word(0);
    }
    torn += is_torn ? 1 : 0;
  }
  EXPECT_GT(torn, 50);
  ASSERT_THAT(pair_.client.recorder.reads, SizeIs(200));
}

TEST_F(SimReads, WordsAreWholeWhereverTheReadBegins) {
  std::uint64_t version = 0;
  std::function<void()> write = [&] {
    std::fill(memory_.begin(), memory_.begin() + 64, 0x0101010101010101u * (++version % 256));
    if (version < 100'000) pair_.world.after(50, write);
  };
  write();
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(post(pair_.read(8 + i % 8, 256, *buffer_)), PostStatus::kPosted);
    pair_.world.run_for(10 * kMicrosecond);
    const auto bytes = buffer_->bytes().subspan(8 - i % 8);
    for (std::size_t w = 0; w < 30; ++w) {
      for (std::size_t b = 1; b < 8; ++b) ASSERT_EQ(bytes[8 * w + b], bytes[8 * w]);
    }
  }
}

TEST_F(SimReads, SurviveLostPackets) {
  pair_.world.set_default_link({.loss = 0.3});
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(post(pair_.read(8 * i, 8, *buffer_, i)), PostStatus::kPosted);
    pair_.world.run_for(20 * kMillisecond);
    ASSERT_EQ(word(0), i);
  }
}

TEST_F(SimReads, EndInFailureWhenTheServerCrashes) {
  post(pair_.read(0, 64, *buffer_, 1));
  pair_.server_host.crash();
  memory_.assign(memory_.size(), 0xdead);
  post(pair_.read(0, 64, *buffer_, 2));
  pair_.world.run_for(2 * kSecond);
  EXPECT_THAT(pair_.client.recorder.reads, ElementsAre(std::pair(1, false), std::pair(2, false)));
  EXPECT_THAT(pair_.client.recorder.closed, SizeIs(1));
  EXPECT_EQ(post(pair_.read(0, 64, *buffer_, 3)), PostStatus::kClosed);
}

class SimReadsOfTheDead : public SimReads {
 protected:
  SimReadsOfTheDead()
      : SimReads({}, {.memory_outlives_process = true, .told_late = 100 * kSecond}) {}
};

TEST_F(SimReadsOfTheDead, EndWellWithinTheProofOfLifeAndSeeWhatWasThereAtTheEnd) {
  pair_.server_host.kill();
  memory_.assign(memory_.size(), 0xdead);  // by a step that goes on, in the simulation only
  pair_.world.run_for(500 * kMicrosecond);
  post(pair_.read(8, 64, *buffer_, 1));
  pair_.world.run_for(400 * kMicrosecond);
  EXPECT_THAT(pair_.client.recorder.reads, ElementsAre(std::pair(1, true)));
  EXPECT_EQ(word(0), 1u);
  pair_.server_host.restart();
  pair_.world.run_for(100 * kMicrosecond);
  post(pair_.read(8, 64, *buffer_, 2));
  pair_.world.run_for(kMillisecond);
  EXPECT_THAT(pair_.client.recorder.reads, ElementsAre(std::pair(1, true), std::pair(2, false)));
  EXPECT_THAT(pair_.client.recorder.closed, SizeIs(1));
}

TEST_F(SimReadsOfTheDead, AreNotAnsweredWhenThePowerFails) {
  pair_.server_host.kill();
  pair_.server_host.crash();
  post(pair_.read(8, 64, *buffer_, 1));
  pair_.world.run_for(kSecond);
  EXPECT_THAT(pair_.client.recorder.reads, ElementsAre(std::pair(1, false)));
}

TEST_F(SimReads, OfALaterRegionWorkOnceAMessageTellsOfIt) {
  std::vector<std::uint64_t> more(8, 77);
  pair_.world.set_default_link({.jitter = 50'000, .loss = 0.2});
  PostStatus status = PostStatus::kClosed;
  pair_.client.recorder.reaction = [&](Connection&, const std::string&) {
    status = post({1, 0, 8, buffer_.get(), 0, 9});
  };
  ASSERT_TRUE(pair_.server.listener->expose({std::as_writable_bytes(std::span(more)), -1}));
  EXPECT_EQ(post({1, 0, 8, buffer_.get(), 0, 9}), PostStatus::kUnknownRegion);
  send(pair_.to_client(), "region 1 is there");
  pair_.world.run_for(kSecond);
  EXPECT_EQ(status, PostStatus::kPosted);
  EXPECT_EQ(word(0), 77u);
}

TEST_F(SimReads, QueueAtTheCard) {
  const auto time_for = [&](int count) {
    const Nanoseconds start = pair_.world.now();
    pair_.client.recorder.reads.clear();
    std::vector<ReadRequest> requests(static_cast<std::size_t>(count), pair_.read(0, 8, *buffer_));
    pair_.to_server().post_reads(requests);
    pair_.world.run_until(
        [&] { return pair_.client.recorder.reads.size() == static_cast<std::size_t>(count); },
        start + kSecond);
    return pair_.world.now() - start;
  };
  EXPECT_GT(time_for(64), time_for(1) + 50 * 40);  // 20 M reads/s: 50 ns each
}

// --- multicast

class Group : public MulticastHandler {
 public:
  void on_datagram(MulticastGroup&, std::span<const std::byte> datagram) override {
    datagrams.push_back(text_of(datagram));
  }
  void on_group_lost(MulticastGroup&, const Error&) override {}
  std::vector<std::string> datagrams;
  std::unique_ptr<MulticastGroup> membership;
};

/// Two members of a group.
struct TwoMembers {
  explicit TwoMembers(std::uint64_t seed) : world(testing_support::seed(seed)) {
    sends.membership = std::move(*sender.fabric.join(address, {}, *sender.poller, sends));
    receives.membership = std::move(*receiver.fabric.join(address, {}, *receiver.poller, receives));
  }

  World world;
  Node sender{world, world.add_host("sender")};
  Node receiver{world, world.add_host("receiver")};
  const Address address{"sim", "group", "1", ""};
  Group sends;
  Group receives;
};

TEST(SimMulticast, HoldsBackAndRefuses) {
  TwoMembers members(6);
  auto& [world, sender, receiver, address, sends, receives] = members;
  receiver.host.set_multicast({.holds_back = true});
  std::vector<std::string> sent;
  for (int i = 0; i < 100; ++i) {
    sent.push_back(std::to_string(i));
    EXPECT_EQ(sends.membership->send(bytes_of(sent.back())), PostStatus::kPosted);
    world.run_for(kMillisecond);
  }
  EXPECT_THAT(receives.datagrams, IsEmpty());
  receiver.host.set_multicast({});
  world.run_for(kMillisecond);
  EXPECT_THAT(receives.datagrams, testing::UnorderedElementsAreArray(sent));
  EXPECT_NE(receives.datagrams, sent) << "in any order";
  sender.host.set_multicast({.refuses_sends = true, .refuses_to_join = true});
  EXPECT_EQ(sends.membership->send(bytes_of("x")), PostStatus::kWouldBlock);
  EXPECT_EQ(sender.fabric.join(address, {}, *sender.poller, sends).error().code,
            ErrorCode::kUnavailable);
}

TEST(SimMulticast, TakesABurstAndSendsItAtOnceWhenFlushed) {
  TwoMembers members(7);
  auto& [world, sender, receiver, address, sends, receives] = members;
  const std::string datagram(sends.membership->max_datagram_bytes(), 'x');
  for (int round = 0; round < 2; ++round) {
    for (std::size_t sent = 0; sent < kMulticastBurstBytes; sent += datagram.size()) {
      ASSERT_EQ(sends.membership->send(bytes_of(datagram)), PostStatus::kPosted) << sent;
    }
    EXPECT_EQ(sends.membership->send(bytes_of("x")), PostStatus::kWouldBlock);
    const std::uint64_t doorbells = sends.membership->counters().doorbells;
    sends.membership->flush();
    EXPECT_EQ(sends.membership->counters().doorbells, doorbells + 1);
    EXPECT_EQ(sends.membership->send(bytes_of("x")), PostStatus::kWouldBlock) << "it is under way";
    world.run_for(kMillisecond);  // the poller's progress() among others
    sends.membership->flush();
    EXPECT_EQ(sends.membership->counters().doorbells, doorbells + 1) << "there is nothing to send";
  }
  EXPECT_EQ(receives.datagrams.size(), 2 * kMulticastBurstBytes / datagram.size());
}

TEST(SimMulticast, ReachesAllOtherMembersUnlessLost) {
  World world(testing_support::seed(5));
  world.set_default_link({.jitter = 5000, .loss = 0.1, .duplicate = 0.1});
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Group> members(3);
  for (std::size_t i = 0; i < 3; ++i) {
    nodes.push_back(std::make_unique<Node>(world, world.add_host("h" + std::to_string(i))));
    members[i].membership = std::move(
        *nodes[i]->fabric.join({"sim", "group", "1", ""}, {}, *nodes[i]->poller, members[i]));
  }
  nodes[0]->host.set_multicast({.slots = 1000});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(members[0].membership->send(bytes_of(std::to_string(i))), PostStatus::kPosted);
  }
  world.run_for(kSecond);
  EXPECT_THAT(members[0].datagrams, IsEmpty());
  for (const auto* member : {&members[1], &members[2]}) {
    auto sorted = member->datagrams;
    EXPECT_GT(sorted.size(), 900u);
    std::sort(sorted.begin(), sorted.end());
    const auto copies = sorted.end() - std::unique(sorted.begin(), sorted.end());
    EXPECT_GT(copies, 50);                    // duplicated
    EXPECT_LT(sorted.size() - copies, 950u);  // lost
    int overtaken = 0;
    for (std::size_t i = 1; i < member->datagrams.size(); ++i) {
      overtaken += std::stoi(member->datagrams[i]) < std::stoi(member->datagrams[i - 1]) ? 1 : 0;
    }
    EXPECT_GT(overtaken, 100);
  }
  members[1].membership.reset();
  members[1].datagrams.clear();
  members[0].membership->send(bytes_of("after"));
  world.run_for(kSecond);
  EXPECT_THAT(members[1].datagrams, IsEmpty());
}

// --- repeatability

/// A little of everything.
std::uint64_t trace_of(std::uint64_t seed) {
  Pair pair(seed, {}, {.clock_rate = 1.0001});
  std::vector<std::uint64_t> memory(512);
  EXPECT_TRUE(pair.server.listener->expose({std::as_writable_bytes(std::span(memory)), -1}));
  auto buffer = std::move(*pair.client.poller->allocate_buffer(4096));
  pair.world.set_default_link({.jitter = 3000, .loss = 0.05});
  pair.server.recorder.reaction = [](Connection& c, const std::string& text) { send(c, text); };
  pair.server.step_cost = 700;
  for (int i = 0; i < 50; ++i) {
    send(pair.to_server(), std::to_string(i));
    const ReadRequest request = pair.read(0, 1024, *buffer);
    pair.to_server().post_reads({&request, 1});
    pair.world.run_for(static_cast<Nanoseconds>(pair.world.random().below(20'000)));
    if (i == 10) pair.client_host.pause();
    if (i == 20) pair.client_host.resume();
    if (i == 30) pair.world.cut(pair.client_host, pair.server_host);
    if (i == 35) pair.world.heal_all();
    if (i == 45) pair.server_host.crash();
  }
  pair.world.run_for(2 * kSecond);
  EXPECT_THAT(pair.client.recorder.closed, SizeIs(1));
  return pair.world.trace_hash();
}

TEST(SimFabric, TheSameSeedGivesTheSameRunAndAnotherADifferentOne) {
  const std::uint64_t seed = testing_support::seed(99);
  const std::uint64_t first = trace_of(seed);
  EXPECT_EQ(first, trace_of(seed));
  EXPECT_NE(first, trace_of(seed + 1));
}

}  // namespace
}  // namespace silurus::transport::sim
