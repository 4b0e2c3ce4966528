// SPDX-License-Identifier: Apache-2.0

#include "server/combiner.h"
#include "tests/unit/server/session_fixture.h"

// Signs of life of a server to clients that wait.

namespace silurus::server::test {
namespace {

TEST_F(SessionTest, WhoWaitsForAWriteHearsHeartbeats) {
  Loopback& client = world_.connect();
  ASSERT_TRUE(world_.shard->combiner().try_acquire());  // so that nothing can be written
  const protocol::Operation<2> insert{1, protocol::OperationKind::kInsert, 0, {{0, 0}, {1, 1}}, {}};
  ask_write(client, 1, {insert});
  world_.worker().sweep();
  // The first heartbeat notes when the client was heard of; then that is long ago.
  for (const Nanoseconds pause : {10 * kMillisecond, 2 * kActiveFor}) {
    world_.clock.advance(pause);
    world_.worker().sweep();
  }
  for (int i = 0; i < 3; ++i) {
    const std::size_t before = client.heartbeats();
    world_.clock.advance(10 * kMillisecond);
    world_.worker().sweep();
    EXPECT_GT(client.heartbeats(), before);
  }
  world_.shard->combiner().release();
  world_.run();
  EXPECT_EQ(client.waiting(), 1u);
}

}  // namespace
}  // namespace silurus::server::test
