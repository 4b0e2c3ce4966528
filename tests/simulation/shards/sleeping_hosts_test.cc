// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <memory>

#include "client/internal.h"
#include "common/log.h"
#include "silurus/client.h"
#include "tests/simulation/service/server_life.h"
#include "tests/simulation/shards/shard_servers.h"
#include "tests/simulation/shards/sim_environment.h"

// Machines that sleep: the leases of a group end meanwhile, on all of them.

namespace silurus::simulation {
namespace {

constexpr std::size_t kSearchesAsleep = 50;
/// Far longer than any lease.
constexpr Nanoseconds kSleep = 300 * kMillisecond;

struct Sleepers {
  Mode mode = Mode::kOffload;
  bool is_primary = true;
  bool is_client = true;
  bool do_clocks_sleep = false;  ///< too, as CLOCK_MONOTONIC does
};

/// A group of three, of which a client reads while it or the primary or both fall asleep. Meanwhile
/// another client erases what is read. Counts answers that have it still, of those searches that
/// began after the erase was acknowledged.
std::size_t count_stale_answers(const Sleepers& sleepers) {
  log::set_level(log::Level::kError);
  sim::World world(23);
  sim::Host& etcd_host = world.add_host("etcd");
  SimEtcd nobody(world, etcd_host, kSecond);
  const sim::FabricOptions fabric{.give_up = 30 * kMillisecond};
  GroupWorld everyone{.world = world, .etcd = nobody, .timing = {}, .fabric = fabric};
  EtcdOfShards etcd(etcd_host, "maps");
  ShardServers servers(everyone, etcd, {.fabric = fabric, .groups = {3}});
  const std::string url = servers.start_next();
  EXPECT_TRUE(world.run_until([&] { return servers.primary() != nullptr; }, kSecond));
  world.run_for(100 * kMillisecond);
  ClientOptions options;
  options.mode = sleepers.mode;
  options.silence = 40 * kMillisecond;
  const auto entry = entry_of(0, 0);
  std::size_t read = 0;
  std::size_t stale = 0;
  bool is_erased = false;
  sim::Host& client_host = world.add_host("client");
  sim::Thread reader(client_host, "client", [&](sim::Thread& self) {
    SimEnvironment environment(self, etcd, fabric, 1);
    auto client = client::Internal::connect<2>(url, options, environment);
    ASSERT_TRUE(client) << client.error().message;
    ASSERT_TRUE(client->insert(entry.id, entry.box));
    for (std::size_t after = 0; after < kSearchesAsleep && !self.is_over(); ++read) {
      const bool was_erased = is_erased;
      const auto found = client->range(entry.box);
      ASSERT_TRUE(found) << found.error().message;
      if (!was_erased) continue;
      ++after;
      if (!found->ids.empty()) ++stale;
    }
  });
  EXPECT_TRUE(world.run_until([&] { return read >= kSearchesAsleep; }, world.now() + kSecond));
  sim::Host& primary = *servers.primary();
  if (sleepers.is_primary) primary.suspend();
  if (sleepers.is_client) client_host.suspend();
  const Nanoseconds wakes = world.now() + kSleep;
  sim::Thread writer(world.add_host("writer"), "writer", [&](sim::Thread& self) {
    SimEnvironment environment(self, etcd, fabric, 2);
    auto client = client::Internal::connect<2>(url, options, environment);
    ASSERT_TRUE(client) << client.error().message;
    ASSERT_TRUE(client->erase(entry.id, entry.box));
  });
  EXPECT_TRUE(world.run_until([&] { return writer.is_done(); }, wakes));
  is_erased = true;
  world.run_until(wakes);
  const Nanoseconds lost = sleepers.do_clocks_sleep ? kSleep : 0;
  if (sleepers.is_primary) primary.resume(lost);
  if (sleepers.is_client) client_host.resume(lost);
  EXPECT_TRUE(world.run_until([&] { return reader.is_done(); }, world.now() + 10 * kSecond));
  reader.end();
  writer.end();
  EXPECT_EQ(everyone.complaints, std::vector<std::string>());
  if (!sleepers.do_clocks_sleep) {
    EXPECT_EQ(servers.complaint(), "");
  }
  return stale;
}

TEST(SleepingHosts, BelieveNoLeaseFromBeforeTheySlept) {
  EXPECT_EQ(count_stale_answers({}), 0u);
  EXPECT_EQ(count_stale_answers({.mode = Mode::kMessaging}), 0u);
}

TEST(SleepingHosts, MayBeThePrimaryOrTheClientAlone) {
  EXPECT_EQ(count_stale_answers({.is_client = false}), 0u);
  EXPECT_EQ(count_stale_answers({.is_primary = false}), 0u);
}

/// What these tests look for is there to be found.
TEST(SleepingHosts, WouldAnswerWhatIsOldIfTheirClocksSleptToo) {
  EXPECT_GT(count_stale_answers({.do_clocks_sleep = true}), 0u);
  EXPECT_GT(count_stale_answers({.mode = Mode::kMessaging, .do_clocks_sleep = true}), 0u);
}

}  // namespace
}  // namespace silurus::simulation
