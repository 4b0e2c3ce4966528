// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "common/log.h"
#include "tests/simulation/service/service_run.h"

// Servers and clients as they ship, over a simulated network with a simulated etcd, through seeds
// of faults. SEED_SECONDS says how long; SEED=s runs the one that failed again, and says what
// happened.

namespace silurus::simulation {
namespace {

TEST(Service, IsLinearizableLosesNothingAndGoesOnThroughEverySeed) {
  log::set_level(log::Level::kError);  // views come and go
  testing_support::Seeds seeds;
  const ServiceCounters all = run_seeds<ServiceRun>(seeds);
  std::cout << seeds.count() << " seeds: " << all.operations << " operations (" << all.in_doubt
            << " in doubt, " << all.failed << " without effect), " << all.any_reads
            << " of any member, " << all.asked_of_backups << " of them asked of backups ("
            << all.read_from_backups << " one-sidedly), " << all.too_old << " too old; "
            << all.offloaded << " searches one-sidedly, " << all.reconnects << " reconnects, "
            << all.crashes << " crashes, " << all.torn << " of them to be in the midst of writing, "
            << all.checkpoints << " checkpoints, " << all.elections << " elections; "
            << all.copies.begun << " copies begun, " << all.copies.arrived << " arrived ("
            << all.arrived_by_message << " by message), " << all.copies.in_vain << " in vain, "
            << all.sources_died << " as the source died, " << all.copies.ended << " times let go, "
            << all.copies.dropped << " dropped, " << all.copiers_died << " copiers died, "
            << all.copies.waits << " waited for etcd; " << all.loads << " bulk loads ("
            << all.loads_failed << " tries in vain, " << all.loads_refused
            << " of them refused in the end, " << all.rival_loads
            << " runs with two that compete), " << all.loads_taken << " copies of them, "
            << all.load_sources_died << " sources and " << all.load_copiers_died
            << " copiers of them died\n";
  if (!seeds.are_many()) return;
  // The faults are those that all of this is there for.
  EXPECT_GT(all.operations, 50 * seeds.count());
  EXPECT_GT(all.elections, seeds.count());
  EXPECT_GT(all.crashes, seeds.count());
  EXPECT_GT(all.torn, seeds.count() / 10);
  EXPECT_GT(all.reconnects, seeds.count());
  EXPECT_GT(all.asked_of_backups, seeds.count());
  EXPECT_GT(all.read_from_backups, seeds.count());
  EXPECT_GT(all.offloaded, 10 * seeds.count());
  EXPECT_GT(all.in_doubt, seeds.count() / 100);
  EXPECT_GT(all.too_old, 0u);
  EXPECT_GT(all.copies.begun, seeds.count() / 2);
  EXPECT_GT(all.copies.arrived, seeds.count() / 4);
  EXPECT_GT(all.arrived_by_message, 0u);
  EXPECT_GT(all.copies.in_vain, 0u);
  EXPECT_GT(all.copies.waits, 0u);
  EXPECT_GT(all.copies.ended, 0u);
  EXPECT_GT(all.sources_died, 0u);
  EXPECT_GT(all.copiers_died, 0u);
  EXPECT_GT(all.loads, seeds.count() / 8);
  EXPECT_GT(all.rival_loads, seeds.count() / 8);
  EXPECT_GT(all.loads_taken, seeds.count() / 4);
  EXPECT_GT(all.load_sources_died, 0u);
  EXPECT_GT(all.load_copiers_died, 0u);
}

TEST(Service, DoesTheSameAgainFromTheSameSeed) {
  log::set_level(log::Level::kError);
  ServiceRun one(7);
  ServiceRun same(7);
  EXPECT_EQ(one.run(), same.run());
  EXPECT_EQ(one.trace_hash(), same.trace_hash());
}

}  // namespace
}  // namespace silurus::simulation
