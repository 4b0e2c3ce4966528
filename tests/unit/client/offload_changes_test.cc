// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "client/offload.h"
#include "tests/unit/client/offload_world.h"

namespace silurus::client::offload_tests {
namespace {

/// Small windows, an insert after each ninth: what the windows cost in all.
SearchCost cost_among_inserts(World& world, int searches) {
  SearchCost sum;
  for (int i = 0; i < searches; ++i) {
    if (i % 9 == 0) world.insert(random_box(world.random, 1e-4));
    const SearchCost cost = cost_of_small_windows(world, 1);
    sum.round_trips += cost.round_trips;
    sum.reads += cost.reads;
    sum.bytes_read += cost.bytes_read;
  }
  return sum;
}

TEST(Offload, WithOneInsertInTenASmallWindowTakesHardlyMoreThanOneRoundTrip) {
  World world(1);
  world.load(100'000, 1e-4);
  ASSERT_EQ(world.tree->stats().height, 4u);
  warm_up(world);
  cost_among_inserts(world, 200);  // until it has seen how often the root changes
  const SearchCost cost = cost_among_inserts(world, 2000);
  EXPECT_LE(cost.round_trips, 2020u);
  EXPECT_LE(wire_bytes(cost, 2000), 450);
}

TEST(Offload, AnInsertBeforeEachSearchTakesHardlyMoreEither) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  std::uint32_t trips = 0;
  for (int i = 0; i < 1000; ++i) {
    world.insert(random_box(world.random, 1e-4));
    const SearchCost cost = cost_of_small_windows(world, 1);
    if (i >= 100) trips += cost.round_trips;
  }
  EXPECT_LE(trips, 920u) << "of 900 searches";
}

TEST(Offload, ChangesThatWereNotReadAheadAreReadWhenTheRootIsNew) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  for (int i = 0; i < 5; ++i) world.insert({{0.5, 0.5}, {0.5, 0.5}});
  const auto done = world.range(kSmallWindow);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
  EXPECT_EQ(done.cost.cache_misses, 0u) << "the nodes of the path were in the cache";
  EXPECT_LE(done.cost.round_trips, 3u) << "root word; changes; leaves";
  EXPECT_EQ(done.cost.restarts, 0u);
}

TEST(Offload, ChangesThatAreTornAreReadAgain) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  cost_among_inserts(world, 200);
  world.insert({{0.1, 0.1}, {0.1, 0.1}});
  world.offloader->start_range(0, kSmallWindow, world.range_result);
  world.offloader->flush();
  auto& block = *reinterpret_cast<rtree::RootBlock<2>*>(world.slabs.regions()[0].data());
  const std::vector<std::byte> intact(std::begin(block.changes), std::end(block.changes));
  for (std::byte& byte : block.changes) byte ^= std::byte{0xFF};
  world.connection.copy(is_any);
  std::ranges::copy(intact, block.changes);
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(done.cost.round_trips, 2u);
  EXPECT_EQ(done.cost.cache_misses, 0u);
}

TEST(Offload, ChangesThatAreGoneLeaveTheSearchToReadTheNodes) {
  World world(1);
  world.load(20'000);
  warm_up(world);
  for (int i = 0; i < 400; ++i) world.insert_one();  // the ring has gone round
  const auto done = world.range(kSmallWindow);
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
  EXPECT_GT(done.cost.cache_misses, 0u);
}

}  // namespace
}  // namespace silurus::client::offload_tests
