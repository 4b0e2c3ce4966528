// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "client/internal.h"
#include "silurus/client.h"
#include "tests/simulation/service/sim_server.h"
#include "tests/simulation/shards/sim_environment.h"

// Blocking clients over a simulated network.

namespace silurus::simulation {
namespace {

/// A server alone over a fabric that says nothing by itself when a client has connected, as tcp.
TEST(BlockingClient, ConnectsAndIsAnsweredWithoutSleepingInBetween) {
  sim::World world(1);
  EtcdOfShards etcd(world.add_host("etcd"), "maps");
  sim::Host& host = world.add_host("server");
  const sim::FabricOptions fabric{.capabilities = 0};
  const SimServer server(host, {.fabric = fabric});
  Nanoseconds took = 0;
  std::string error;
  sim::Thread thread(world.add_host("client"), "client", [&](sim::Thread& self) {
    SimEnvironment environment(self, etcd, fabric, 1);
    const Nanoseconds begun = self.clock().now();
    auto client = client::Internal::connect<2>(SimServer::url(host), {}, environment);
    const auto version = client ? client->insert(1, {{0, 0}, {1, 1}}) : fail(client.error());
    if (!version) error = version.error().message;
    took = self.clock().now() - begun;
  });
  world.run_for(kSecond);
  EXPECT_TRUE(thread.is_done());
  EXPECT_EQ(error, "");
  EXPECT_LT(took, kMillisecond);
  EXPECT_EQ(server.snapshot().size(), 1u);
}

/// What it was about ends, and nothing more reaches the server.
TEST(BlockingClient, EndsWithItsHost) {
  sim::World world(2);
  EtcdOfShards etcd(world.add_host("etcd"), "maps");
  sim::Host& host = world.add_host("server");
  sim::Host& client_host = world.add_host("client");
  const SimServer server(host, {});
  std::uint64_t done = 0;
  ErrorCode last = ErrorCode::kInvalidArgument;
  sim::Thread thread(client_host, "client", [&](sim::Thread& self) {
    SimEnvironment environment(self, etcd, {}, 1);
    auto client = client::Internal::connect<2>(SimServer::url(host), {}, environment);
    ASSERT_TRUE(client);
    for (;;) {
      const auto version = client->insert(done, {{0, 0}, {1, 1}});
      if (!version) {
        last = version.error().code;
        return;
      }
      ++done;
    }
  });
  world.run_for(20 * kMillisecond);
  client_host.crash();
  thread.end();
  EXPECT_GT(done, 100u);
  EXPECT_EQ(last, ErrorCode::kInDoubt) << to_string(last);
  world.run_for(kSecond);
  EXPECT_GE(server.snapshot().size(), done);
  EXPECT_LE(server.snapshot().size(), done + 1);
}

}  // namespace
}  // namespace silurus::simulation
