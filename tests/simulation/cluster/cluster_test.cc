// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/cluster/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "datasets/generators.h"
#include "tests/support/seed.h"

namespace silurus::simulation {
namespace {

using testing::IsEmpty;

constexpr Nanoseconds kGrace = ClusterOptions().grace;

std::vector<Entry> initial_entries(const ClusterOptions& options) {
  auto source = datasets::generate_clusters<2>(
      {.count = options.entries, .seed = options.seed, .edge = 0.01, .clusters = 20, .sigma = 0.1});
  return *datasets::read_all(**source);
}

/// A server, clients on hosts of their own, and faults.
class Cluster {
 public:
  Cluster(const ClusterOptions& options, const std::vector<Workload>& workloads)
      : options_(options),
        world(options.seed),
        server_host(world.add_host("server", {.nic = options.server_nic})) {
    world.set_default_link({.latency = 2000, .jitter = 3000});
    start_server();
    for (std::size_t i = 0; i < workloads.size(); ++i) {
      sim::HostOptions host_options;
      host_options.clock_rate = 1 + (world.random().uniform() - 0.5) * 2e-4;
      host_options.clock_offset = static_cast<Nanoseconds>(world.random().below(kSecond));
      auto& host = world.add_host("client" + std::to_string(i), host_options);
      clients.push_back(std::make_unique<ClientNode>(world, host, options_, workloads[i], i + 1));
      const auto status = clients.back()->connect(*server);
      EXPECT_TRUE(status.has_value()) << status.error().message;
    }
  }
  ~Cluster() {
    clients.clear();
    if (answers > 0) {
      std::cout << world.events() << " events, " << answers << " answers checked\n";
    }
  }

  void start_server() {
    server = std::make_unique<ServerNode>(world, server_host, options_, ++instance_,
                                          initial_entries(options_));
  }

  /// Runs for that time; clients that lost the server connect again.
  void run_for(Nanoseconds time) {
    const Nanoseconds end = world.now() + time;
    while (world.now() < end) {
      world.run_for(std::min(kMillisecond, end - world.now()));
      for (auto& client : clients) {
        if (!client->connected() && server && server_host.alive() && !client->host().paused()) {
          static_cast<void>(client->connect(*server));  // or later
        }
      }
    }
  }

  /// Ends all faults and all work; then every operation must have ended, every answer been right,
  /// and the tree be sound.
  void finish() {
    if (!server) {
      server_host.restart();
      start_server();
    }
    world.heal_all();
    server_host.resume();
    for (auto& client : clients) {
      client->host().resume();
      client->stop();
    }
    world.run_for(5 * kSecond);
    for (auto& client : clients) {
      EXPECT_EQ(client->in_flight(), 0u) << "an operation hangs";
      EXPECT_THAT(client->complaints(), IsEmpty());
    }
    check_oracle();
  }

  void check_oracle() {
    EXPECT_EQ(server->oracle.check(), "");
    answers += server->oracle.answers();
    const auto valid = server->core().shard().tree().snapshot().validate();
    EXPECT_TRUE(valid.has_value()) << valid.error().message;
  }

  /// What was under way never ends; clients find out by themselves.
  void crash_server() {
    server_host.crash();
    // Clients end what they have under way, and tell the oracle, before it goes.
    world.run_for(options_.fabric.give_up * 2);
    for (auto& client : clients) {
      if (!client->host().paused()) {
        EXPECT_FALSE(client->connected());
      }
      client->drop();
      EXPECT_EQ(client->in_flight(), 0u);
    }
    check_oracle();
    server.reset();
  }

  ClientStatistics statistics() const {
    ClientStatistics all;
    for (const auto& client : clients) all.merge(client->statistics());
    return all;
  }

  const ClusterOptions options_;
  sim::World world;
  sim::Host& server_host;
  std::unique_ptr<ServerNode> server;
  std::vector<std::unique_ptr<ClientNode>> clients;
  std::size_t answers = 0;

 private:
  std::uint64_t instance_ = 0;
};

const std::vector<Workload> kMixed = {
    {.mode = Mode::kMessaging, .write_share = 0.5},
    {.mode = Mode::kOffload, .write_share = 0.1},
    {.mode = Mode::kAdaptive, .policy = PolicyKind::kCatfish},
    {.mode = Mode::kAdaptive, .policy = PolicyKind::kCatfishDoubling},
    {.mode = Mode::kAdaptive, .policy = PolicyKind::kCost},
};

TEST(SimulatedCluster, AnswersRightInAllModesWithoutFaults) {
  Cluster cluster({.seed = testing_support::seed(1)}, kMixed);
  cluster.run_for(10 * kMillisecond);
  cluster.finish();
  const auto statistics = cluster.statistics();
  EXPECT_GT(statistics.messaging.completed, 200u);
  EXPECT_GT(statistics.offload.completed, 200u);
  EXPECT_GT(statistics.writes.completed, 200u);
  EXPECT_EQ(statistics.messaging.failed + statistics.offload.failed + statistics.writes.failed, 0u);
}

/// Old versions by message and one-sidedly, while writers make the server forget them: it holds
/// what is being read, or says that it doesn't keep it.
TEST(SimulatedCluster, AnswersRightAsOfOldVersions) {
  std::vector<Workload> workloads = {
      {.mode = Mode::kMessaging, .write_share = 0.5, .past_share = 0.3},
      {.mode = Mode::kOffload, .write_share = 0.1, .past_share = 0.7},
      {.mode = Mode::kOffload, .in_flight = 12, .write_share = 0, .past_share = 1},
      {.mode = Mode::kAdaptive, .past_share = 0.5},
  };
  Cluster cluster({.seed = testing_support::seed(41)}, workloads);
  cluster.run_for(40 * kMillisecond);
  cluster.finish();
  std::uint64_t answers = 0;
  std::uint64_t forgotten = 0;
  for (const auto& client : cluster.clients) {
    answers += client->past_answers();
    forgotten += client->past_forgotten();
  }
  EXPECT_GT(answers, 500u);
  EXPECT_GT(forgotten, 100u);
  const auto statistics = cluster.clients[2]->statistics();
  EXPECT_GT(statistics.offload.completed, 100u) << "of old versions, one-sidedly";
  EXPECT_GT(statistics.messaging.completed, 0u) << "when more are asked than are held";
}

TEST(SimulatedCluster, TheSameSeedIsTheSameRun) {
  const auto run = [](std::uint64_t seed) {
    Cluster cluster({.seed = seed}, kMixed);
    cluster.run_for(2 * kMillisecond);
    return std::pair(cluster.world.trace_hash(), cluster.statistics().offload.nodes_read);
  };
  const std::uint64_t seed = testing_support::seed(2);
  EXPECT_EQ(run(seed), run(seed));
  EXPECT_NE(run(seed).first, run(seed + 1).first);
}

/// Readers that are paused, whose reads take their time and are carried out in many pieces, while
/// writers use again the memory that is being read: only the time lease keeps answers right.
/// (Without it, this test fails: an infinite lease in client/offload.cc.)
TEST(SimulatedCluster, AClientStoppedInMidTraversalForLongerThanTheGraceIsRight) {
  Cluster cluster(
      {.seed = testing_support::seed(3),
       .grace = kMillisecond,
       .memory_budget_bytes = std::uint64_t{3} << 19,
       .server_nic = {.read_latency = 500 * kMicrosecond, .max_read_pieces = 8}},
      {{.mode = Mode::kOffload, .in_flight = 32, .write_share = 0, .cache_bytes = 1 << 12},
       {.mode = Mode::kMessaging, .in_flight = 32, .write_share = 1}});
  for (int i = 0; i < 40; ++i) {
    cluster.run_for(static_cast<Nanoseconds>(cluster.world.random().below(2 * kMillisecond)));
    cluster.clients[0]->host().pause();
    cluster.run_for(static_cast<Nanoseconds>(3 * kMillisecond));
    cluster.clients[0]->host().resume();
  }
  cluster.finish();
  const auto offload = cluster.clients[0]->statistics().offload;
  const auto tree = cluster.server->core().shard().tree().stats();
  std::cout << offload.completed << " searches, " << offload.restarts << " restarts, "
            << offload.given_back << " given back, " << tree.recycled_nodes << " nodes recycled, "
            << tree.version << " versions\n";
  EXPECT_GT(offload.restarts + offload.given_back, 20u);
  EXPECT_GT(tree.recycled_nodes, 1000u);
  EXPECT_GT(offload.completed, 15u);
}

/// A virtual machine goes on, whose clock does not show all of the pause: no less of it than makes
/// a client verify checksums (client/offload.cc), and often less than the lease.
void resume_with_late_clock(sim::Host& host, Nanoseconds since) {
  const Nanoseconds pause = host.world().now() - since;
  const auto shown = static_cast<Nanoseconds>(
      kGrace / 8 + host.world().random().below(static_cast<std::uint64_t>(kGrace)));
  host.resume(std::max<Nanoseconds>(0, pause - shown));
}

/// One random fault; what ends it comes later.
void inject(Cluster& cluster) {
  sim::World& world = cluster.world;
  Random& random = world.random();
  auto& client = *cluster.clients[random.below(cluster.clients.size())];
  sim::Host& host = client.host();
  sim::Host& server = cluster.server_host;
  const auto between = [&](Nanoseconds low, Nanoseconds high) {
    return low + static_cast<Nanoseconds>(random.below(static_cast<std::uint64_t>(high - low)));
  };
  switch (random.below(9)) {
    case 0:
    case 1:  // longer than the grace period, often
      host.pause();
      world.after(between(0, 30 * kMillisecond), [&host] { host.resume(); });
      break;
    case 7:
      host.pause();
      world.after(between(0, 30 * kMillisecond),
                  [&host, since = world.now()] { resume_with_late_clock(host, since); });
      break;
    case 8:  // as on one machine; in turn, or either alone
      host.suspend();
      if (random.below(2) == 0) server.suspend();
      world.after(between(0, 30 * kMillisecond), [&host, &server] {
        host.resume();
        server.resume();
      });
      break;
    case 2:
      server.pause();
      world.after(between(0, 20 * kMillisecond), [&server] { server.resume(); });
      break;
    case 3:  // sometimes long enough to break connections
      world.cut(host, server);
      world.cut(server, host);
      world.after(between(0, 300 * kMillisecond), [&world, &host, &server] {
        world.heal(host, server);
        world.heal(server, host);
      });
      break;
    case 4:  // one way
      random.below(2) == 0 ? world.cut(host, server) : world.cut(server, host);
      world.after(between(0, 300 * kMillisecond), [&world, &host, &server] {
        world.heal(host, server);
        world.heal(server, host);
      });
      break;
    case 5:
      world.set_default_link({.latency = between(500, 50'000),
                              .jitter = between(0, 100'000),
                              .loss = random.uniform() * 0.1});
      break;
    default:
      world.set_default_link({.latency = 2000, .jitter = 3000});
  }
}

TEST(SimulatedCluster, AnswersRightAndNothingHangsWhateverTheFaults) {
  const std::uint64_t first = testing_support::seed(100);
  std::size_t answers = 0;
  std::size_t failed = 0;
  for (std::uint64_t seed = first; seed < first + 4; ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    Cluster cluster({.seed = seed, .memory_budget_bytes = std::uint64_t{8} << 20}, kMixed);
    for (int i = 0; i < 25; ++i) {
      cluster.run_for(static_cast<Nanoseconds>(cluster.world.random().below(10 * kMillisecond)));
      inject(cluster);
    }
    cluster.finish();
    answers += cluster.answers;
    for (const auto& client : cluster.clients) failed += client->failed();
    if (HasFailure()) return;
  }
  std::cout << answers << " answers checked, " << failed << " operations ended by faults\n";
  EXPECT_GT(answers, 5'000u);
  EXPECT_GT(failed, 0u);
}

/// Readers whose machines are paused between a root and its leaves, so that their clocks miss most
/// of the pause, while writers use again the memory that is being read: it is the checksums that
/// keep answers right. (Without them this test fails.)
TEST(SimulatedCluster, AClientWhoseClockMissesAPauseInMidTraversalIsRight) {
  constexpr Nanoseconds kShortGrace = kMillisecond;
  Cluster cluster(
      {.seed = testing_support::seed(5),
       .grace = kShortGrace,
       .memory_budget_bytes = std::uint64_t{3} << 19,
       .hold_lease = 2 * kMillisecond,
       .server_nic = {.read_latency = 500 * kMicrosecond, .max_read_pieces = 8}},
      {{.mode = Mode::kOffload, .in_flight = 32, .write_share = 0, .cache_bytes = 1 << 12},
       {.mode = Mode::kOffload,
        .in_flight = 32,
        .write_share = 0,
        .past_share = 1,
        .cache_bytes = 1 << 12},
       {.mode = Mode::kMessaging, .in_flight = 32, .write_share = 1}});
  Random& random = cluster.world.random();
  for (int i = 0; i < 40; ++i) {
    cluster.run_for(static_cast<Nanoseconds>(random.below(2 * kMillisecond)));
    for (std::size_t reader = 0; reader < 2; ++reader) cluster.clients[reader]->host().pause();
    cluster.run_for(3 * kMillisecond);
    for (std::size_t reader = 0; reader < 2; ++reader) {
      const auto shown = static_cast<Nanoseconds>(random.below(kShortGrace));
      cluster.clients[reader]->host().resume(3 * kMillisecond - shown);
    }
  }
  cluster.finish();
  EXPECT_GT(cluster.server->core().shard().tree().stats().recycled_nodes, 1000u);
  EXPECT_GT(cluster.statistics().offload.completed, 15u);
}

/// One that is killed leaves its memory to its readers, which are not told.
TEST(SimulatedCluster, AServerThatWasKilledIsReadForNoLongerThanItsProofOfLife) {
  const std::uint64_t first = testing_support::seed(300);
  for (std::uint64_t seed = first; seed < first + 3; ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    ClusterOptions options{.seed = seed};
    options.fabric.memory_outlives_process = true;
    options.fabric.told_late = 100 * kSecond;
    Cluster cluster(options, {{.mode = Mode::kOffload, .write_share = 0},
                              {.mode = Mode::kAdaptive, .write_share = 0.5}});
    cluster.run_for(static_cast<Nanoseconds>(cluster.world.random().below(10 * kMillisecond)));
    const std::uint64_t before = cluster.statistics().offload.completed;
    cluster.server_host.kill();
    cluster.world.run_for(options.fabric.proof_of_life / 2);
    const std::uint64_t soon = cluster.statistics().offload.completed;
    EXPECT_GT(soon, before) << "it is read as before";
    cluster.world.run_for(options.fabric.proof_of_life);
    const std::uint64_t later = cluster.statistics().offload.completed;
    cluster.world.run_for(20 * kMillisecond);
    EXPECT_EQ(cluster.statistics().offload.completed, later);
    for (auto& client : cluster.clients) client->drop();
    cluster.check_oracle();
    if (HasFailure()) return;
  }
}

TEST(SimulatedCluster, ClientsSurviveAServerThatCrashesAndComesBack) {
  const std::uint64_t first = testing_support::seed(200);
  for (std::uint64_t seed = first; seed < first + 3; ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    Cluster cluster({.seed = seed}, kMixed);
    cluster.run_for(static_cast<Nanoseconds>(cluster.world.random().below(10 * kMillisecond)));
    const auto before = cluster.statistics();
    cluster.crash_server();
    cluster.run_for(5 * kMillisecond);
    cluster.server_host.restart();
    cluster.start_server();
    cluster.run_for(20 * kMillisecond);
    cluster.finish();
    const auto after = cluster.statistics();
    EXPECT_GT(after.offload.completed, before.offload.completed + 100);
    EXPECT_GT(after.writes.completed, before.writes.completed + 100);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace silurus::simulation
