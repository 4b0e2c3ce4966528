// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "server/member_status.h"
#include "tests/simulation/group/group_rules.h"
#include "tests/unit/server/world.h"

// Searches of a primary whose lease ends while its worker sleeps.

namespace silurus::simulation {
namespace {

using server::test::ask_range;
using server::test::code_of;
using server::test::window_of;

class ReadLease : public GroupRules {};

TEST_F(ReadLease, EndsForSearchesThatComeAfterItBeforeTheNextSweep) {
  begin();
  const Nanoseconds until = primary()->member().read_until();
  ASSERT_GT(until, 0);
  server::MemberStatus member_status("group", 0, 1);
  member_status.update(primary()->member(), until - kMillisecond);
  server::test::World served;
  ASSERT_TRUE(served.shard->load(server::test::row(10)));
  served.team.served.member_status = &member_status;
  auto& client = served.connect();
  served.clock.advance(until - kMillisecond - served.clock.now());
  ask_range(client, 1, {.window = window_of(0, 3)});
  served.run();
  ASSERT_EQ(client.waiting(), 1u);
  EXPECT_EQ(client.receive().answer.count, 3u);
  served.clock.advance(2 * kMillisecond);
  ask_range(client, 2, {.window = window_of(0, 3)});
  served.run();
  ASSERT_EQ(client.waiting(), 1u);
  EXPECT_EQ(code_of(client.receive()), ErrorCode::kNotPrimary);
}

}  // namespace
}  // namespace silurus::simulation
