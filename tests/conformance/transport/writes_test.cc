// SPDX-License-Identifier: Apache-2.0

#include "tests/conformance/transport/fixture.h"

namespace silurus::transport::conformance {
namespace {

constexpr std::size_t kBytes = 2 * kWindowGrain;

/// A client that has offered a window, and the server that writes there.
class Writes : public FabricTest {
 protected:
  void SetUp() override {
    FabricTest::SetUp();
    if (!has(world->client_fabric().capabilities(), Capability::kOneSidedWrite)) {
      GTEST_SKIP() << GetParam().name << " has no one-sided writes";
    }
    connect();
  }
  void offer() {
    const auto offered = client->connection->offer_window(kBytes);
    ASSERT_TRUE(offered) << offered.error().message;
    window = *offered;
    ASSERT_EQ(window.size(), kBytes);
    ASSERT_TRUE(run_until([&] { return server->connection->peer_window_bytes() != 0; }));
    EXPECT_EQ(server->connection->peer_window_bytes(), kBytes);
  }
  PostStatus write(std::uint64_t offset, std::size_t words, std::uint64_t salt) {
    std::vector<std::uint64_t> content(words);
    for (std::size_t i = 0; i < words; ++i) content[i] = salt + i;
    return server->connection->post_write(offset, std::as_bytes(std::span(content)));
  }
  std::uint64_t word_at(std::size_t offset) const {
    std::uint64_t word = 0;
    std::memcpy(&word, window.data() + offset, sizeof word);
    return word;
  }

  std::span<const std::byte> window;
};

TEST_P(Writes, LandInTheWindowBeforeAMessageThatWasSentAfterThem) {
  offer();
  for (std::uint64_t round = 1; round <= 300; ++round) {
    const std::uint64_t offset = round * 72 % (kBytes - 512);
    PostStatus status = PostStatus::kWouldBlock;
    ASSERT_TRUE(run_until([&] {
      status = write(offset, 64, round << 32);
      return status != PostStatus::kWouldBlock;
    }));
    ASSERT_EQ(status, PostStatus::kPosted);
    ASSERT_TRUE(run_until([&] { return send(*server->connection, "there"); }));
    ASSERT_TRUE(run_until([&] { return client->recorder->count == round; }));
    for (std::size_t i = 0; i < 64; ++i) ASSERT_EQ(word_at(offset + 8 * i), (round << 32) + i);
  }
}

TEST_P(Writes, NeedNoPartOfTheReceiversPoller) {
  offer();
  pollers = {server_poller.get()};
  ASSERT_EQ(write(0, 8, 77), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return word_at(56) == 84; }));
  EXPECT_EQ(client->recorder->count, 0u);
}

TEST_P(Writes, OutsideOfTheWindowAreInvalid) {
  offer();
  EXPECT_EQ(write(kBytes - 64, 8, 1), PostStatus::kPosted);
  EXPECT_EQ(write(kBytes - 56, 8, 1), PostStatus::kInvalid);
  EXPECT_EQ(write(kBytes, 1, 1), PostStatus::kInvalid);
  EXPECT_EQ(write(UINT64_MAX - 7, 2, 1), PostStatus::kInvalid);
  EXPECT_EQ(write(4, 1, 1), PostStatus::kInvalid) << "no whole word";
  EXPECT_EQ(write(0, 0, 1), PostStatus::kInvalid);
  EXPECT_EQ(write(0, kBytes / 8 + 1, 1), PostStatus::kInvalid);
}

TEST_P(Writes, WaitUntilAWindowIsOffered) {
  EXPECT_EQ(server->connection->peer_window_bytes(), 0u);
  EXPECT_EQ(write(0, 1, 1), PostStatus::kUnknownRegion);
  EXPECT_FALSE(client->connection->offer_window(0));
  EXPECT_FALSE(client->connection->offer_window(kWindowGrain + 8));
  EXPECT_FALSE(server->connection->offer_window(kBytes)) << "it did not connect";
  offer();
  EXPECT_FALSE(client->connection->offer_window(kBytes)) << "one is all";
}

TEST_P(Writes, OfOneClientsServerAreNotSeenByAnother) {
  offer();
  End* const first = client;
  const auto first_window = window;
  connect();
  offer();
  ASSERT_EQ(write(0, 8, 5), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return word_at(56) == 12; }));
  std::uint64_t untouched = 1;
  std::memcpy(&untouched, first_window.data(), sizeof untouched);
  EXPECT_EQ(untouched, 0u);
  EXPECT_FALSE(first->recorder->closed);
}

TEST_P(Writes, EndWithTheConnection) {
  offer();
  client->connection->close();
  ASSERT_TRUE(run_until([&] {
    return client->recorder->closed.has_value() && server->recorder->closed.has_value();
  }));
  EXPECT_EQ(write(0, 1, 1), PostStatus::kClosed);
}

TEST_P(Writes, AreCounted) {
  offer();
  ASSERT_EQ(write(0, 100, 1), PostStatus::kPosted);
  ASSERT_EQ(write(0, 25, 1), PostStatus::kPosted);
  EXPECT_EQ(server->connection->counters().writes, 2u);
  EXPECT_EQ(server->connection->counters().write_bytes, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Fabric, Writes, ::testing::ValuesIn(registered_worlds()), name_of);

class NoWrites : public FabricTest {
 protected:
  void SetUp() override {
    FabricTest::SetUp();
    if (has(world->client_fabric().capabilities(), Capability::kOneSidedWrite)) {
      GTEST_SKIP() << GetParam().name << " has one-sided writes";
    }
  }
};

TEST_P(NoWrites, AreAnErrorAtSetUp) {
  connect();
  const auto offered = client->connection->offer_window(kBytes);
  ASSERT_FALSE(offered);
  EXPECT_EQ(offered.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(server->connection->peer_window_bytes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Fabric, NoWrites, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
