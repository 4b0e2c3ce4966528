#include <gtest/gtest.h>

#include <iostream>

#include "common/log.h"
#include "tests/simulation/group/group_run.h"
#include "tests/support/seed.h"

// A whole group of members through seeds of faults, each seed with one of the ways of replication.
// GROUP_SEEDS=n runs so many; SEED=s runs the one that failed again, and says what happened.

namespace silurus::simulation {
namespace {

/// Through so many seeds; what happened in all of them.
GroupCounters run_all(const testing_support::Seeds& seeds, bool is_static) {
  log::set_level(log::Level::kError);  // views come and go
  GroupCounters all;
  for (std::uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    GroupRun run(seed, is_static);
    const std::string wrong = run.run();
    EXPECT_EQ(wrong, "") << "SEED=" << seed << "\n" << run.trace();
    if (!wrong.empty()) return all;
    if (seeds.is_again) std::cout << run.trace();
    all.operations += run.counters().operations;
    all.elections += run.counters().elections;
    all.voted_out += run.counters().voted_out;
    all.reads += run.counters().reads;
    all.fetches += run.counters().fetches;
    all.truncations += run.counters().truncations;
    all.pushed += run.counters().pushed;
    all.forwarded += run.counters().forwarded;
    all.crashes += run.counters().crashes;
  }
  std::cout << all.operations << " operations, " << all.crashes << " crashes, " << all.elections
            << " elections, " << all.voted_out << " voted out, " << all.reads
            << " one-sided reads, " << all.fetches << " fetches, " << all.truncations
            << " truncations, " << all.pushed << " pushed one-sidedly, " << all.forwarded
            << " forwarded\n";
  return all;
}

/// The faults are those that the protocol is there for.
void expect_all_kinds(const GroupCounters& all, std::uint64_t seeds) {
  EXPECT_GT(all.elections, seeds);
  EXPECT_GT(all.voted_out, seeds / 10);
  EXPECT_GT(all.reads, 0u);
  EXPECT_GT(all.fetches, 0u);
  EXPECT_GT(all.truncations, 0u);
  EXPECT_GT(all.pushed, seeds);
  EXPECT_GT(all.forwarded, seeds);
}

TEST(Group, IsLinearizableLosesNothingAndGoesOnThroughEverySeed) {
  const auto seeds = testing_support::seeds("GROUP_SEEDS", SILURUS_GROUP_SEEDS);
  const GroupCounters all = run_all(seeds, false);
  if (!seeds.is_again && seeds.count >= 100) expect_all_kinds(all, seeds.count);
}

TEST(StaticGroup, IsLinearizableLosesNothingAndGoesOnWithItsFirstMemberThroughEverySeed) {
  const auto seeds = testing_support::seeds("GROUP_SEEDS", SILURUS_GROUP_SEEDS / 4);
  const GroupCounters all = run_all(seeds, true);
  if (!seeds.is_again && seeds.count >= 100) expect_all_kinds(all, seeds.count);
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
