// SPDX-License-Identifier: Apache-2.0

#include <poll.h>

#include <atomic>
#include <thread>

#include "tests/conformance/transport/fixture.h"

namespace silurus::transport::conformance {
namespace {

constexpr std::size_t kRegionBytes = 1 << 20;

class Reads : public FabricTest {
 protected:
  void SetUp() override {
    FabricTest::SetUp();
    if (!has(world->client_fabric().capabilities(), Capability::kOneSidedRead)) {
      GTEST_SKIP() << GetParam().name << " has no one-sided reads";
    }
    listen();
    auto made = client_poller->allocate_buffer(kRegionBytes);
    ASSERT_TRUE(made) << made.error().message;
    buffer = std::move(*made);
  }

  /// A new region, filled with words that say where they are.
  Region expose(std::uint64_t salt, std::size_t bytes = kRegionBytes) {
    auto region = world->allocate_region(bytes);
    EXPECT_TRUE(region) << region.error().message;
    for (std::size_t i = 0; i < bytes / 8; ++i) {
      const std::uint64_t word = salt + i;
      std::memcpy(region->bytes.data() + i * 8, &word, sizeof(word));
    }
    const Status status = listener->expose(*region);
    EXPECT_TRUE(status) << status.error().message;
    return *region;
  }

  ReadRequest request(std::uint32_t region, std::uint64_t offset, std::uint32_t length,
                      std::uint64_t buffer_offset = 0, std::uint64_t cookie = 1) {
    return {region, offset, length, buffer.get(), buffer_offset, cookie};
  }
  static Connection::PostResult post(End& end, const ReadRequest& one) {
    return end.connection->post_reads(std::span(&one, 1));
  }
  PostStatus post_when_known(End& end, const ReadRequest& one) {
    PostStatus status{};
    EXPECT_TRUE(
        run_until([&] { return (status = post(end, one).status) != PostStatus::kUnknownRegion; }));
    return status;
  }
  std::uint64_t word_at(std::size_t offset) const {
    std::uint64_t word = 0;
    std::memcpy(&word, buffer->bytes().data() + offset, sizeof(word));
    return word;
  }

  std::unique_ptr<Buffer> buffer;
};

TEST_P(Reads, LandInTheBuffer) {
  expose(1000);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 4096, 2048, 64, 77)), PostStatus::kPosted);
  EXPECT_TRUE(client->recorder->reads.empty()) << "never completed from inside post_reads";
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  EXPECT_EQ(client->recorder->reads[0].cookie, 77u);
  EXPECT_TRUE(client->recorder->reads[0].ok);
  for (std::size_t i = 0; i < 2048 / 8; ++i) {
    ASSERT_EQ(word_at(64 + i * 8), 1000 + 4096 / 8 + i);
  }
}

TEST_P(Reads, OfOneCallAllComplete) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  std::vector<ReadRequest> requests;
  for (std::uint64_t i = 0; i < 16; ++i) {
    requests.push_back(request(0, (15 - i) * 512, 512, i * 512, 100 + i));
  }
  const auto posted = client->connection->post_reads(requests);
  ASSERT_EQ(posted.posted, 16u);
  EXPECT_EQ(posted.status, PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 17; }));
  for (std::uint64_t i = 0; i < 16; ++i) {
    EXPECT_EQ(client->recorder->reads[1 + i].cookie, 100 + i) << "in the order posted";
    EXPECT_EQ(word_at(i * 512), (15 - i) * 64);
  }
}

TEST_P(Reads, PostedFromACompletionWork) {
  expose(5);
  connect();
  client->recorder->on_message_hook = [&](Connection&, auto) {
    EXPECT_EQ(post(*client, request(0, 80, 8, 0, 9)).status, PostStatus::kPosted);
  };
  ASSERT_TRUE(send(*server->connection, "go"));
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  EXPECT_EQ(word_at(0), 5u + 10u);
}

TEST_P(Reads, OutsideOfTheRegionAreInvalid) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, kRegionBytes - 8, 8)), PostStatus::kPosted);
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  for (const ReadRequest& bad : {
           request(0, kRegionBytes - 8, 16),
           request(0, kRegionBytes, 8),
           request(0, kHuge - 7, 8),
           request(0, kHuge, 64),
           request(0, 0, 0),
       }) {
    EXPECT_EQ(post(*client, bad).status, PostStatus::kInvalid) << bad.offset << " " << bad.length;
  }
}

TEST_P(Reads, OutsideOfTheBufferAreInvalid) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  for (const ReadRequest& bad : {
           request(0, 0, 16, kRegionBytes - 8),
           request(0, 0, 8, kRegionBytes),
           request(0, 0, 8, kHuge - 3),
       }) {
    EXPECT_EQ(post(*client, bad).status, PostStatus::kInvalid) << bad.buffer_offset;
  }
}

TEST_P(Reads, LongerThanTheLimitAreInvalid) {
  connect();
  const std::uint32_t limit = client->connection->limits().max_read_bytes;
  if (limit >= std::uint32_t{64} << 20) GTEST_SKIP() << "the limit is beyond a test's memory";
  auto made = client_poller->allocate_buffer(limit + 8);
  ASSERT_TRUE(made);
  buffer = std::move(*made);
  expose(0, limit + 4096);
  ASSERT_EQ(post_when_known(*clients[0], request(0, 0, limit)), PostStatus::kPosted);
  EXPECT_EQ(post(*clients[0], request(0, 0, limit + 8)).status, PostStatus::kInvalid);
  ASSERT_TRUE(run_until([&] { return clients[0]->recorder->reads.size() == 1; }));
}

TEST_P(Reads, OfARegionThatWasNeverExposedAreRefused) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  EXPECT_EQ(post(*client, request(1, 0, 8)).status, PostStatus::kUnknownRegion);
  EXPECT_EQ(post(*client, request(~0u, 0, 8)).status, PostStatus::kUnknownRegion);
}

TEST_P(Reads, StopAtTheFirstThatIsRefused) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  const std::vector<ReadRequest> requests = {request(0, 0, 8, 0, 2), request(0, 8, 8, 8, 3),
                                             request(7, 0, 8, 16, 4), request(0, 16, 8, 24, 5)};
  const auto posted = client->connection->post_reads(requests);
  EXPECT_EQ(posted.posted, 2u);
  EXPECT_EQ(posted.status, PostStatus::kUnknownRegion);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 3; }));
  settle();
  EXPECT_EQ(client->recorder->reads.size(), 3u);
}

TEST_P(Reads, OfARegionExposedLaterWorkOnceAMessageSpeaksOfIt) {
  connect();
  EXPECT_EQ(post(*client, request(0, 0, 8)).status, PostStatus::kUnknownRegion);
  for (std::uint32_t region = 0; region < 5; ++region) {
    expose(region * 10000);
    ASSERT_TRUE(send(*server->connection, "there is one more"));
    ASSERT_TRUE(run_until([&] { return client->recorder->count == region + 1; }));
    ASSERT_EQ(post(*client, request(region, 800, 8)).status, PostStatus::kPosted)
        << "announced before the message";
    ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == region + 1; }));
    EXPECT_EQ(word_at(0), region * 10000 + 100);
  }
}

TEST_P(Reads, AreLimitedInFlight) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  const std::size_t limit = client->connection->limits().max_reads_in_flight;
  ASSERT_GT(limit, 0u);
  const std::vector<ReadRequest> requests(limit + 1, request(0, 0, 8));
  const auto posted = client->connection->post_reads(requests);
  EXPECT_EQ(posted.posted, limit);
  EXPECT_EQ(posted.status, PostStatus::kWouldBlock);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1 + limit; }));
  EXPECT_EQ(post(*client, requests[0]).status, PostStatus::kPosted);
}

TEST_P(Reads, AreCounted) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 800)), PostStatus::kPosted);
  ASSERT_EQ(post(*client, request(0, 0, 200)).status, PostStatus::kPosted);
  EXPECT_EQ(client->connection->counters().reads, 2u);
  EXPECT_EQ(client->connection->counters().read_bytes, 1000u);
}

TEST_P(Reads, PostedBeforeACloseEachCompleteBeforeIt) {
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  const std::size_t before = client->recorder->reads.size();
  const std::vector<ReadRequest> requests(10, request(0, 0, 8));
  ASSERT_EQ(client->connection->post_reads(requests).posted, 10u);
  client->connection->close();
  EXPECT_EQ(post(*client, requests[0]).status, PostStatus::kClosed);
  ASSERT_TRUE(run_until([&] { return client->recorder->closed.has_value(); }));
  EXPECT_GE(client->recorder->reads.size(), 10u);
  EXPECT_LE(client->recorder->reads.size(), before + 11u);
}

TEST_P(Reads, AreReportedThoughThePollerIsToSleep) {
  if (client_poller->fd() < 0) GTEST_SKIP() << "virtual time has nothing to sleep on";
  expose(0);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  settle();
  ASSERT_EQ(post(*client, request(0, 8, 8, 0, 2)).status, PostStatus::kPosted);
  const auto is_woken = [&] {
    pollfd fd{client_poller->fd(), POLLIN, 0};
    const Nanoseconds time = testing_support::patient(10 * kSecond);
    return ::poll(&fd, 1, static_cast<int>(time / kMillisecond)) == 1;
  };
  EXPECT_TRUE(!client_poller->arm() || is_woken()) << "it refuses, or is woken at once";
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 2; }));
}

/// What a peer that has ended leaves in memory is not the newest, though it was not looked at
/// whether it is still there.
TEST_P(Reads, EndWellNoMoreOnceThePeerHasEnded) {
  expose(1000);
  connect();
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  ASSERT_TRUE(run_until([&] { return client->recorder->reads.size() == 1; }));
  ASSERT_TRUE(client->recorder->reads[0].ok);
  acceptor.ends.clear();
  listener.reset();
  world->pass(2 * kMillisecond);
  const PostStatus status = post(*client, request(0, 0, 8, 0, 2)).status;
  EXPECT_TRUE(status == PostStatus::kPosted || status == PostStatus::kClosed);
  ASSERT_TRUE(run_until([&] { return client->recorder->closed.has_value(); }));
  for (const auto& read : std::span(client->recorder->reads).subspan(1)) EXPECT_FALSE(read.ok);
  EXPECT_EQ(client->recorder->reads.size(), status == PostStatus::kPosted ? 2u : 1u);
}

// Each word is written as a whole; half of it is its other half's complement.
TEST_P(Reads, NeverTearAnAlignedWordUnderAConcurrentWriter) {
  if (!world->has_threads()) GTEST_SKIP() << "virtual time has one thread";
  const Region region = expose(0);
  connect();
  constexpr std::size_t kBytes = 1024;
  const auto word_of = [](std::uint32_t n) { return std::uint64_t{n} << 32 | std::uint32_t{~n}; };
  auto* const words = reinterpret_cast<std::uint64_t*>(region.bytes.data());
  const auto write_all = [&](std::uint32_t n) {
    for (std::size_t i = 0; i < kBytes / 8; ++i) {
      std::atomic_ref<std::uint64_t>(words[i]).store(word_of(n), std::memory_order_relaxed);
    }
  };
  write_all(0);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (std::uint32_t n = 0; !stop.load(std::memory_order_relaxed); ++n) write_all(n);
  });
  ASSERT_EQ(post_when_known(*client, request(0, 0, 8)), PostStatus::kPosted);
  for (int round = 0; round < 3000 && !HasFailure(); ++round) {
    const std::size_t before = client->recorder->reads.size();
    // Also from odd places: the words that lie whole in the read are whole.
    const std::uint32_t shift = round % 2 == 0 ? 0 : 3;
    EXPECT_EQ(post(*client, request(0, shift, kBytes - 8, shift)).status, PostStatus::kPosted);
    EXPECT_TRUE(run_until([&] { return client->recorder->reads.size() > before; }));
    for (std::size_t offset = shift == 0 ? 0 : 8; offset + 8 <= kBytes - 8; offset += 8) {
      const std::uint64_t word = word_at(offset);
      ASSERT_EQ(static_cast<std::uint32_t>(word), ~static_cast<std::uint32_t>(word >> 32))
          << "torn at " << offset;
    }
  }
  stop = true;
  writer.join();
}

INSTANTIATE_TEST_SUITE_P(Fabric, Reads, ::testing::ValuesIn(registered_worlds()), name_of);

class NoReads : public FabricTest {
 protected:
  void SetUp() override {
    FabricTest::SetUp();
    if (has(world->client_fabric().capabilities(), Capability::kOneSidedRead)) {
      GTEST_SKIP() << GetParam().name << " has one-sided reads";
    }
  }
};

TEST_P(NoReads, AreAnErrorAtSetUp) {
  connect();
  EXPECT_EQ(client->connection->limits().max_reads_in_flight, 0u);
  const auto buffer = client_poller->allocate_buffer(4096);
  ASSERT_FALSE(buffer);
  EXPECT_EQ(buffer.error().code, ErrorCode::kUnsupported);
  std::vector<std::byte> memory(4096);
  const Status status = listener->expose({memory, -1});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Fabric, NoReads, ::testing::ValuesIn(registered_worlds()), name_of);

}  // namespace
}  // namespace silurus::transport::conformance
