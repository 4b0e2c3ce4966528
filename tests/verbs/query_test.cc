// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/core.h"
#include "common/random.h"
#include "rtree/node.h"
#include "server/server.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/verbs/allocations.h"
#include "tests/verbs/kernel.h"
#include "tests/verbs/pair.h"

// What a query costs over RDMA, counted: a whole server with a thread of its own, and a client of
// it.

namespace silurus::transport::verbs::testing {
namespace {

using rtree::Box;

constexpr std::uint64_t kEntries = 20'000;
constexpr int kQueries = 500;
constexpr std::uint64_t kWord = 64;  ///< what a look at the root may cost

class Query : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = make_fabric();
    if (!made) GTEST_SKIP() << made.error().message;
    fabric_ = std::move(*made);
    poller_ = std::move(*fabric_->create_poller());
    server::ServerOptions& options = options_;
    options.listen = {"rdma://" + host_address() + ":0"};
    options.threads = 1;
    options.memory_bytes = 64 << 20;
    options.grace = 2 * kSecond;
    options.allow_other_users = true;
    options.load = "uniform:" + std::to_string(kEntries);
    auto started = server::Server::start(options);
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  void TearDown() override {
    core_.reset();
    if (server_) server_->stop();
  }

  void connect(Mode mode) {
    ClientOptions options;
    options.mode = mode;
    options.deadline = testing_support::patient(30 * kSecond);
    network_.emplace(*fabric_, *poller_);
    auto made =
        client::ClientCore<2>::connect(server_->addresses().front(), *network_, clock_, options);
    ASSERT_TRUE(made) << made.error().message;
    core_ = std::move(*made);
    // Warm: all inner nodes cached, and whatever grows has its size.
    ask({{0, 0}, {1, 1}});
    for (int i = 0; i < 2 * kQueries; ++i) ask(small_window());
  }
  Box<2> small_window() {
    const double x = random_.uniform(), y = random_.uniform();
    return {{x, y}, {x + 1e-5, y + 1e-5}};
  }
  void ask(const Box<2>& window) {
    bool done = false;
    const Status begun = core_->submit(client::request::Range<2>{{.window = window}},
                                       [&](Result<RangeAnswer<2>*> answer) {
                                         done = true;
                                         if (!answer) ADD_FAILURE() << answer.error().message;
                                       });
    ASSERT_TRUE(begun) << begun.error().message;
    while (!done) {
      core_->flush();
      poller_->progress();
      core_->settle();
    }
  }

  SystemClock clock_;
  Random random_{7};
  std::unique_ptr<Fabric> fabric_;
  std::unique_ptr<Poller> poller_;
  server::ServerOptions options_;
  std::unique_ptr<server::Server> server_;
  std::optional<client::OneFabric> network_;
  std::unique_ptr<client::ClientCore<2>> core_;
};

TEST_F(Query, OffloadedIsOneRoundTripOneDoorbellAndLittleMoreThanItsLeaves) {
  connect(Mode::kOffload);
  std::uint64_t least = ~std::uint64_t{0}, most = 0;
  for (int i = 0; i < kQueries; ++i) {
    const auto counters = core_->primary()->connection().counters();
    const auto before = core_->statistics().offload;
    ask(small_window());
    const auto& after = core_->statistics().offload;
    const std::uint64_t leaves = after.nodes_read - before.nodes_read;
    const std::uint64_t bytes =
        core_->primary()->connection().counters().read_bytes - counters.read_bytes;
    EXPECT_EQ(after.round_trips - before.round_trips, 1u);
    EXPECT_EQ(after.cache_misses, before.cache_misses);
    EXPECT_EQ(core_->primary()->connection().counters().doorbells - counters.doorbells, 1u);
    // Two pieces of a leaf at most.
    const std::uint64_t reads = core_->primary()->connection().counters().reads - counters.reads;
    EXPECT_EQ(reads, after.reads - before.reads);
    EXPECT_LE(reads, 2 * leaves + 1);
    EXPECT_LE(bytes * 4, (leaves * rtree::kChunkBytes<2> + kWord) * 5);
    least = std::min(least, bytes);
    most = std::max(most, bytes);
  }
  std::printf("bytes read per query: %lu to %lu, in chunks of %zu\n",
              static_cast<unsigned long>(least), static_cast<unsigned long>(most),
              rtree::kChunkBytes<2>);
}

TEST_F(Query, ByMessageIsOneWriteAndOneDoorbell) {
  connect(Mode::kMessaging);
  const auto before = core_->primary()->connection().counters();
  for (int i = 0; i < kQueries; ++i) ask(small_window());
  const auto& after = core_->primary()->connection().counters();
  EXPECT_EQ(after.messages_sent - before.messages_sent, std::uint64_t{kQueries});
  EXPECT_EQ(after.messages_received - before.messages_received, std::uint64_t{kQueries});
  // Beyond those: receives that are replenished 64 at a time, and the ring's beginning anew.
  const std::uint64_t receives = kQueries + 64;
  const std::uint64_t rings = kQueries / 64 + 1;
  EXPECT_LE(after.doorbells - before.doorbells, kQueries + rings);
  EXPECT_LE(after.work_requests - before.work_requests, kQueries + receives + rings);
}

/// Powers of two of latencies that may occur for the first time while queries are counted.
constexpr std::uint64_t kNewLatencies = 8;

TEST_F(Query, AllocatesAndRegistersNothingOnEitherSide) {
  for (const Mode mode : {Mode::kMessaging, Mode::kOffload}) {
    connect(mode);
    const std::string resources = settled_rdma_resources();
    const std::uint64_t allocated = allocations_of_all_threads();
    for (int i = 0; i < kQueries; ++i) ask(small_window());
    // But for latencies of a size that had not occurred (Histogram), at the client and in workers.
    EXPECT_LE(allocations_of_all_threads(), allocated + kNewLatencies) << (mode == Mode::kOffload);
    EXPECT_EQ(rdma_resources(), resources);
  }
}

TEST_F(Query, IsAskedAgainOfTheServersSuccessor) {
  auto client = Client<2>::connect(server_->addresses().front(),
                                   testing_support::patient({.reconnect_for = 30 * kSecond}));
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_EQ(client->count({{0, 0}, {2, 2}}).value(), kEntries);
  server::ServerOptions options = options_;
  options.listen = server_->addresses();
  options.load.clear();
  server_->stop();
  server_.reset();
  std::jthread successor([&] {
    testing_support::pace(300 * kMillisecond);  // pacing: the client may look for it in vain
    auto started = server::Server::start(options);
    EXPECT_TRUE(started) << started.error().message;
    if (started) server_ = std::move(*started);
  });
  const auto found = client->count({{0, 0}, {2, 2}});
  successor.join();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, 0u);
  EXPECT_GE(client->statistics().reconnects, 1u);
}

}  // namespace
}  // namespace silurus::transport::verbs::testing
