// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/internal.h"
#include "client/shards/internal.h"
#include "common/log.h"
#include "silurus/client.h"
#include "silurus/replacement.h"
#include "silurus/router.h"
#include "tests/simulation/service/server_life.h"
#include "tests/simulation/service/sim_server.h"
#include "tests/simulation/shards/sim_environment.h"
#include "tests/support/server_process.h"

// Servers that end while their memory stays readable, and readers that were idle meanwhile.

namespace silurus::simulation {
namespace {

/// No peer is told of an end before half of it has passed: readers must find out.
constexpr Nanoseconds kVeryLate = 2 * kSecond;
constexpr std::size_t kSearches = 50;
const rtree::Box<2> kEverywhere{{-1, -1}, {kColumns, kColumnValues}};

/// How a server ends: it is killed or stopped.
enum class End : std::uint8_t { kKilled, kStopped };

/// Servers alone with data directories, and clients that are driven step by step.
class EndedServers : public testing::TestWithParam<End> {
 protected:
  void SetUp() override {
    log::set_level(log::Level::kError);
    if (std::filesystem::is_directory("/dev/shm")) folder_.emplace("/dev/shm");
    if (!folder_) GTEST_SKIP() << "needs a file system in memory";
  }
  void TearDown() override {
    for (auto& thread : threads_) thread->end();
    threads_.clear();
    servers_.clear();
  }

  void start(sim::Host& host) {
    servers_.push_back(
        std::make_unique<SimServer>(host, SimServer::Options{.fabric = fabric_,
                                                             .instance = servers_.size() * 2 + 1,
                                                             .data = *folder_ / host.name()}));
  }
  /// The newest one ends, and its host is there again a while later.
  void end(sim::Host& host) {
    if (GetParam() == End::kStopped) {
      servers_.back().reset();
    } else {
      host.kill();
      // What is left of it holds on to the old files.
      const std::string data = *folder_ / host.name();
      std::filesystem::copy(data, data + "-new", std::filesystem::copy_options::recursive);
      std::filesystem::rename(data, data + "-" + std::to_string(servers_.size()));
      std::filesystem::rename(data + "-new", data);
      host.restart();
    }
    world_.run_for(2 * kMillisecond);
  }

  using Body = std::function<void(sim::Thread&, SimEnvironment&)>;
  /// Runs it on a host of its own.
  sim::Thread& begin(const std::string& name, Body body) {
    sim::Host& host = world_.add_host(name);
    threads_.push_back(std::make_unique<sim::Thread>(
        host, name, [this, body = std::move(body)](sim::Thread& self) {
          SimEnvironment environment(self, etcd_, fabric_, 1);
          body(self, environment);
        }));
    return *threads_.back();
  }
  void run_to_end(const std::string& name, Body body) {
    const sim::Thread& thread = begin(name, std::move(body));
    ASSERT_TRUE(world_.run_until([&] { return thread.is_done(); }, world_.now() + 10 * kSecond));
  }
  void wait_for(const bool& condition) {
    ASSERT_TRUE(world_.run_until([&] { return condition; }, world_.now() + 10 * kSecond));
  }

  /// Counts searches that still find an erased entry, everywhere, by a client that had seen that
  /// entry and was idle while it was erased.
  template <typename Searcher>
  std::size_t count_old(Searcher& searcher) {
    std::size_t old = 0;
    for (std::size_t i = 0; i < kSearches; ++i) {
      const auto found = searcher.range(kEverywhere);
      EXPECT_TRUE(found) << found.error().message;
      if (found && !found->ids.empty()) ++old;
    }
    return old;
  }
  /// The same of a server alone, that ends and is started again, by clients with that mode.
  std::size_t old_answers(Mode mode);

  sim::World world_{17};
  EtcdOfShards etcd_{world_.add_host("etcd"), "maps"};
  sim::FabricOptions fabric_{.memory_outlives_process = true, .told_late = kVeryLate};
  std::optional<testing_support::TemporaryFolder> folder_;
  std::vector<std::unique_ptr<SimServer>> servers_;
  std::vector<std::unique_ptr<sim::Thread>> threads_;
};

std::size_t EndedServers::old_answers(Mode mode) {
  sim::Host& host = world_.add_host("server");
  start(host);
  bool is_idle = false;
  bool is_erased = false;
  std::size_t old = 0;
  const auto entry = entry_of(0, 0);
  sim::Thread& reader = begin("reader", [&](sim::Thread& self, SimEnvironment& environment) {
    ClientOptions options;
    options.mode = mode;
    auto client = client::Internal::connect<2>(SimServer::url(host), options, environment);
    ASSERT_TRUE(client) << client.error().message;
    ASSERT_TRUE(client->insert(entry.id, entry.box));
    for (int i = 0; i < 20; ++i) ASSERT_EQ(client->range(kEverywhere)->ids.size(), 1u);
    is_idle = true;
    while (!is_erased && !self.is_over()) self.sleep(kMillisecond);
    old = count_old(*client);
  });
  wait_for(is_idle);
  end(host);
  start(host);
  run_to_end("writer", [&](sim::Thread&, SimEnvironment& environment) {
    auto client = client::Internal::connect<2>(SimServer::url(host), {}, environment);
    ASSERT_TRUE(client) << client.error().message;
    ASSERT_TRUE(client->erase(entry.id, entry.box));
  });
  is_erased = true;
  EXPECT_TRUE(world_.run_until([&] { return reader.is_done(); }, world_.now() + 100 * kSecond));
  return old;
}

TEST_P(EndedServers, AreNotBelievedByAnIdleReader) {
  EXPECT_EQ(old_answers(ClientOptions().mode), 0u);
}

TEST_P(EndedServers, AreNotBelievedByAnIdleReaderThatOffloads) {
  EXPECT_EQ(old_answers(Mode::kOffload), 0u);
}

/// What this looks for is there to be found: on a fabric that asks for no proof of life.
TEST_P(EndedServers, WouldBeBelievedWithoutAProofOfLife) {
  fabric_.proof_of_life = INT64_MAX;
  EXPECT_EQ(old_answers(Mode::kOffload), kSearches);
}

/// A shard whose server had ended and been started again is moved, and what it was retired in is
/// another memory than the one that the reader knows.
TEST_P(EndedServers, AreNotBelievedWhenTheirShardWasMoved) {
  sim::Host& host = world_.add_host("server");
  sim::Host& other = world_.add_host("other");
  start(host);
  shards::ShardMap map;
  map.frame_min = {-0.5, -1};
  map.frame_max = {kColumns, kColumnValues};
  map.limit = {0.1, 0.1};
  map.epoch = map.written_by = 1;
  shards::Shard& shard = map.shards.emplace_back();
  shard.id = map.next_id++;
  shard.servers = shards::servers_of(SimServer::url(host));
  etcd_.replace("silurus/maps/map", 0, encode(map));
  ClientOptions options;
  options.mode = Mode::kOffload;
  bool is_idle = false;
  bool is_erased = false;
  std::size_t old = 0;
  const auto entry = entry_of(0, 0);
  sim::Thread& reader = begin("reader", [&](sim::Thread& self, SimEnvironment& environment) {
    auto router = client::Internal::connect_router<2>(etcd_.url(), options, environment);
    ASSERT_TRUE(router) << router.error().message;
    ASSERT_TRUE(router->insert(entry.id, entry.box));
    for (int i = 0; i < 20; ++i) ASSERT_EQ(router->range(kEverywhere)->ids.size(), 1u);
    is_idle = true;
    while (!is_erased && !self.is_over()) self.sleep(kMillisecond);
    old = count_old(*router);
  });
  wait_for(is_idle);
  end(host);
  start(host);
  start(other);
  run_to_end("writer", [&](sim::Thread&, SimEnvironment& environment) {
    auto store = shards::open_map_store(etcd_.url(), environment);
    ASSERT_TRUE(store);
    const auto moved = shards::replace_shard<2>(
        **store,
        {.shard = shard.id, .parts = 1, .targets = {SimServer::url(other)}, .client = options},
        environment);
    ASSERT_TRUE(moved) << moved.error().message;
    auto router = client::Internal::connect_router<2>(etcd_.url(), options, environment);
    ASSERT_TRUE(router) << router.error().message;
    ASSERT_TRUE(router->erase(entry.id, entry.box));
  });
  is_erased = true;
  EXPECT_TRUE(world_.run_until([&] { return reader.is_done(); }, world_.now() + 100 * kSecond));
  EXPECT_EQ(old, 0u);
}

INSTANTIATE_TEST_SUITE_P(However, EndedServers, testing::Values(End::kKilled, End::kStopped),
                         [](const auto& end) {
                           return end.param == End::kKilled ? "Killed" : "Stopped";
                         });

}  // namespace
}  // namespace silurus::simulation
