#include <gtest/gtest.h>

#include <iostream>

#include "common/log.h"
#include "tests/simulation/group/group_run.h"
#include "tests/support/seed.h"

// A whole group of members through seeds of faults, each seed with one of the ways of replication.
// GROUP_SEEDS=n runs so many; SEED=s runs the one that failed again, and says what happened.

namespace silurus::simulation {
namespace {

TEST(Group, IsLinearizableLosesNothingAndGoesOnThroughEverySeed) {
  const auto [is_again, first, count] = testing_support::seeds("GROUP_SEEDS", SILURUS_GROUP_SEEDS);
  log::set_level(log::Level::kError);  // views come and go
  GroupCounters all;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    GroupRun run(seed);
    const std::string wrong = run.run();
    ASSERT_EQ(wrong, "") << "SEED=" << seed << "\n" << run.trace();
    if (is_again) std::cout << run.trace();
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
  if (is_again || count < 100) return;
  // The faults are those that the protocol is there for.
  EXPECT_GT(all.elections, count);
  EXPECT_GT(all.voted_out, count / 10);
  EXPECT_GT(all.reads, 0u);
  EXPECT_GT(all.fetches, 0u);
  EXPECT_GT(all.truncations, 0u);
  EXPECT_GT(all.pushed, count);
  EXPECT_GT(all.forwarded, count);
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
