// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "common/log.h"
#include "tests/simulation/shards/shard_run.h"

// Routers, servers, groups of replicas and those who split and move shards as they ship, over a
// simulated network with a simulated etcd, through seeds of faults. SEED_SECONDS says how long;
// SEED=s runs the one that failed again, and says what happened.

namespace silurus::simulation {
namespace {

TEST(Shards, AreLinearizableLoseNothingAndGoOnThroughEverySeed) {
  log::set_level(log::Level::kError);  // views come and go
  testing_support::Seeds seeds;
  const ShardCounters all = run_seeds<ShardRun>(seeds);
  std::cout << seeds.count() << " seeds: " << all.clients.operations << " operations ("
            << all.clients.in_doubt << " in doubt, " << all.clients.failed << " without effect), "
            << all.clients.nearest << " nearest searches, " << all.clients.counts << " counts, "
            << all.clients.visits << " visits of shards; " << all.splits << " splits, " << all.moves
            << " moves (" << all.taken_over << " of both taken over), " << all.aborts << " undone, "
            << all.refused << " attempts that failed, " << all.kills
            << " coordinators killed between two steps, " << all.pauses << " kept waiting; "
            << all.crashes << " crashes of servers, " << all.maps << " maps, writes refused for "
            << all.longest_gap / kMillisecond << " ms at most\n";
  if (!seeds.are_many()) return;  // a few runs show nothing about the sums
  EXPECT_GT(all.clients.in_doubt, 0u);
  EXPECT_GT(all.refused, 0u);
  EXPECT_GT(all.kills, 0u);
  EXPECT_GT(all.pauses, 0u);
  EXPECT_GT(all.splits, seeds.count() / 4);
  EXPECT_GT(all.moves, seeds.count() / 4);
  EXPECT_GT(all.taken_over, 0u);
  EXPECT_GT(all.aborts, 0u);
  EXPECT_GT(all.crashes, 0u);
}

TEST(Shards, TakeTheSameCourseFromTheSameSeed) {
  const auto course = [](std::uint64_t seed) {
    ShardRun run(seed);
    EXPECT_EQ(run.run(), "");
    return run.trace_hash();
  };
  log::set_level(log::Level::kError);
  EXPECT_EQ(course(3), course(3));
  EXPECT_NE(course(3), course(4));
}

}  // namespace
}  // namespace silurus::simulation
