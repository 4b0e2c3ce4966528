// SPDX-License-Identifier: Apache-2.0

#include <sys/mman.h>

#include "tests/verbs/pair.h"

namespace silurus::transport::verbs::testing {
namespace {

class VerbsConnection : public Pair {};

TEST_F(VerbsConnection, SaysWhoIsThereOnBothSides) {
  listen();
  Connection& connection = connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  EXPECT_EQ(client_hello, bytes_of("client"));
  EXPECT_EQ(Bytes(accepted[0]->peer_hello().begin(), accepted[0]->peer_hello().end()),
            bytes_of("client"));
  EXPECT_EQ(Bytes(connection.peer_hello().begin(), connection.peer_hello().end()),
            bytes_of("server hello"));
  EXPECT_EQ(connection.limits().max_message_bytes, accepted[0]->limits().max_message_bytes);
}

TEST_F(VerbsConnection, WorksOverIpv6) {
  const char* host = std::getenv("SILURUS_RDMA_HOST6");
  if (host == nullptr) GTEST_SKIP() << "SILURUS_RDMA_HOST6 is not set";
  listen(host);
  ASSERT_TRUE(send(connect(), bytes_of("six")));
  EXPECT_TRUE(until([&] { return server.messages.size() == 1; }));
}

TEST_F(VerbsConnection, RefusesWithTheReason) {
  refusal = Error{ErrorCode::kPermission, "not you"};
  listen();
  const auto made = try_connect();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kPermission);
  EXPECT_NE(made.error().message.find("not you"), std::string::npos) << made.error().message;
}

TEST_F(VerbsConnection, RefusesMoreThanTheLimit) {
  options.max_connections = 1;
  listen();
  connect();
  const auto made = try_connect();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kTooLarge) << made.error().message;
}

TEST_F(VerbsConnection, SaysThatNoServerListens) {
  const auto made =
      fabric->connect({"rdma", host_address(), "9", ""}, {}, *client_poller, {}, client);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kUnavailable) << made.error().message;
}

TEST_F(VerbsConnection, CarriesMessagesBothWaysOneWriteEach) {
  listen();
  Connection& connection = connect();
  server.answer = [](Connection& to, std::span<const std::byte> message) { send(to, message); };
  constexpr std::uint64_t kCount = 1000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    Bytes message(8 + i % 200);
    std::memcpy(message.data(), &i, sizeof(i));
    ASSERT_TRUE(send(connection, message));
    ASSERT_TRUE(until([&] { return client.messages.size() == 1; })) << i;
    ASSERT_EQ(client.messages.front(), message);
    client.messages.clear();
  }
  // One write a message; more only where the ring begins again.
  EXPECT_LE(accepted[0]->counters().doorbells, kCount * 11 / 10);
  EXPECT_LE(connection.counters().doorbells, kCount * 11 / 10);
}

TEST_F(VerbsConnection, KeepsMessagesWholeAndInOrderWhateverTheirLength) {
  listen();
  Connection& connection = connect();
  const std::uint32_t longest = connection.limits().max_message_bytes;
  std::vector<Bytes> sent;
  for (std::uint32_t i = 0; i < 300; ++i) {
    Bytes message(i % 7 == 0 ? longest - i : 1 + i * 37 % 3000);
    for (std::size_t b = 0; b < message.size(); ++b) message[b] = static_cast<std::byte>(b * 7 + i);
    while (!send(connection, message)) {
      ASSERT_TRUE(until([&] { return client.writable > 0 || !server.messages.empty(); }));
      client.writable = 0;
      client_poller->progress();
      server_poller->progress();
    }
    sent.push_back(std::move(message));
  }
  ASSERT_TRUE(until([&] { return server.messages.size() == sent.size(); }));
  for (std::size_t i = 0; i < sent.size(); ++i) ASSERT_EQ(server.messages[i], sent[i]) << i;
}

TEST_F(VerbsConnection, ReadsExposedMemoryBehindOneDoorbell) {
  listen();
  constexpr std::size_t kRegion = 1 << 20;
  auto* memory = static_cast<std::byte*>(
      mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (std::size_t i = 0; i < kRegion; ++i) memory[i] = static_cast<std::byte>(i / 64);
  Connection& connection = connect();
  ASSERT_TRUE(listener->expose({{memory, kRegion}, -1}));
  auto buffer = client_poller->allocate_buffer(64 * 1024);
  ASSERT_TRUE(buffer) << buffer.error().message;
  std::vector<ReadRequest> requests;
  for (std::uint64_t i = 0; i < 32; ++i) {
    requests.push_back({0, i * 1024, 512, buffer->get(), i * 512, i});
  }
  Connection::PostResult result{};
  ASSERT_TRUE(until([&] {
    result = connection.post_reads(requests);
    return result.status != PostStatus::kUnknownRegion;
  }));
  const std::uint64_t doorbells = connection.counters().doorbells;
  EXPECT_EQ(result.posted, 32u);
  EXPECT_EQ(doorbells, 1u);
  ASSERT_TRUE(until([&] { return client.reads.size() == 32; }));
  for (std::uint64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(client.reads[i], std::pair(i, true));
    EXPECT_EQ(std::memcmp((*buffer)->bytes().data() + i * 512, memory + i * 1024, 512), 0);
  }
  ReadRequest beyond{0, kRegion - 100, 101, buffer->get(), 0, 0};
  EXPECT_EQ(connection.post_reads({&beyond, 1}).status, PostStatus::kInvalid);
  TearDown();
  munmap(memory, kRegion);
}

TEST_F(VerbsConnection, ShowsTheNewestMailboxWhole) {
  listen();
  Connection& connection = connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  std::array<std::byte, kMailboxBytes> content{};
  EXPECT_FALSE(connection.read_mailbox(content));
  std::array<std::uint64_t, kMailboxBytes / 8> words{};
  std::uint64_t seen = 0;
  for (std::uint64_t i = 1; i <= 500; ++i) {
    words.fill(i);
    accepted[0]->write_mailbox(std::as_bytes(std::span(words)));
    client_poller->progress();
    server_poller->progress();
    if (!connection.read_mailbox(content)) continue;
    std::memcpy(words.data(), content.data(), sizeof(words));
    for (const std::uint64_t word : words) ASSERT_EQ(word, words[0]);
    ASSERT_GE(words[0], seen);
    seen = words[0];
  }
  EXPECT_TRUE(until([&] {
    return connection.read_mailbox(content) && content[0] == static_cast<std::byte>(500 & 0xff) &&
           content[1] == static_cast<std::byte>(500 >> 8);
  }));
  EXPECT_TRUE(client.messages.empty());
}

TEST_F(VerbsConnection, DeliversWhatWasSentBeforeClosing) {
  listen();
  Connection& connection = connect();
  ASSERT_TRUE(send(connection, bytes_of("last words")));
  connection.close();
  ASSERT_TRUE(until([&] { return client.closed && server.closed; }));
  ASSERT_EQ(server.messages.size(), 1u);
  EXPECT_EQ(server.messages[0], bytes_of("last words"));
}

TEST_F(VerbsConnection, NoticesThatThePeerIsDestroyed) {
  listen();
  connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  clients.clear();
  EXPECT_TRUE(until([&] { return server.closed.has_value(); }));
  EXPECT_EQ(server.closed->code, ErrorCode::kConnectionLost) << server.closed->message;
}

TEST_F(VerbsConnection, HoldsMessagesBackWhilePaused) {
  listen();
  Connection& connection = connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  accepted[0]->set_paused(true);
  ASSERT_TRUE(send(connection, bytes_of("later")));
  until([] { return false; }, 100 * kMillisecond);
  EXPECT_TRUE(server.messages.empty());
  accepted[0]->set_paused(false);
  EXPECT_TRUE(until([&] { return server.messages.size() == 1; }));
}

TEST_F(VerbsConnection, GivesRingsBackToTheBudget) {
  listen();
  connect();
  ASSERT_TRUE(until([&] { return !accepted.empty(); }));
  EXPECT_GT(listener->ring_bytes(), 0u);
  clients.clear();
  ASSERT_TRUE(until([&] { return server.closed.has_value(); }));
  accepted.clear();
  EXPECT_EQ(listener->ring_bytes(), 0u);
}

}  // namespace
}  // namespace silurus::transport::verbs::testing
