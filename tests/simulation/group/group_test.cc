// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "common/log.h"
#include "tests/simulation/group/group_run.h"

// A whole group of members through seeds of faults, each seed with one of the ways of replication.
// SEED_SECONDS says how long; SEED=s runs the one that failed again, and says what happened.

namespace silurus::simulation {
namespace {

/// Through all seeds; what happened in all of them, which are the faults that the protocol is there
/// for.
void run_all(bool is_static) {
  log::set_level(log::Level::kError);  // views come and go
  testing_support::Seeds seeds;
  const GroupCounters all = run_seeds<GroupRun>(seeds, is_static);
  std::cout << seeds.count() << " seeds: " << all.operations << " operations, " << all.crashes
            << " crashes, " << all.elections << " elections, " << all.voted_out << " voted out, "
            << all.reads << " one-sided reads, " << all.fetches << " fetches, " << all.truncations
            << " truncations, " << all.pushed << " pushed one-sidedly, " << all.forwarded
            << " forwarded\n";
  if (!seeds.are_many()) return;
  EXPECT_GT(all.elections, seeds.count());
  EXPECT_GT(all.voted_out, seeds.count() / 10);
  EXPECT_GT(all.reads, 0u);
  EXPECT_GT(all.fetches, 0u);
  EXPECT_GT(all.truncations, 0u);
  EXPECT_GT(all.pushed, seeds.count());
  EXPECT_GT(all.forwarded, seeds.count());
}

TEST(Group, IsLinearizableLosesNothingAndGoesOnThroughEverySeed) { run_all(false); }

TEST(StaticGroup, IsLinearizableLosesNothingAndGoesOnWithItsFirstMemberThroughEverySeed) {
  run_all(true);
}

TEST(Group, DoesTheSameAgainFromTheSameSeed) {
  log::set_level(log::Level::kError);
  GroupRun one(7);
  GroupRun same(7);
  EXPECT_EQ(one.run(), same.run());
  EXPECT_EQ(one.trace_hash(), same.trace_hash());
}

}  // namespace
}  // namespace silurus::simulation
