// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "common/random.h"
#include "rtree/tree.h"
#include "tests/support/seed.h"

// One writer and many readers at once. Meant to run under TSan, where it must be quick.

namespace silurus::rtree {
namespace {

constexpr std::uint64_t kEntries = 1200;
constexpr int kReaders = 3;
constexpr int kRounds = 250;

/// Where entry `id` lies in the tree's version `round`: every round moves some entries, all of them
/// by the same step, so that a reader can tell which round each one is of.
Box<2> place(std::uint64_t id, std::uint64_t round) {
  const double x = static_cast<double>(id % 40) + 0.001 * static_cast<double>(round);
  const double y = static_cast<double>(id / 40);
  return {{x, y}, {x + 0.2, y + 0.2}};
}

std::uint64_t round_of(std::uint64_t id, const Box<2>& box) {
  return static_cast<std::uint64_t>((box.min[0] - static_cast<double>(id % 40)) * 1000 + 0.5);
}

/// Looks at one snapshot: every entry once, all moved entries (those of the group) of one round.
void check_snapshot(const Snapshot<2>& snapshot, std::uint64_t& last_round) {
  ASSERT_EQ(snapshot.size(), kEntries);
  RangeResult<2> all;
  ASSERT_TRUE(
      snapshot.range({.window = {{-1, -1}, {100, 100}}, .shape = ResultShape::kEntries}, all)
          .has_value());
  ASSERT_EQ(all.count, kEntries);
  std::vector<bool> seen(kEntries);
  std::uint64_t round = 0;
  bool first = true;
  for (std::size_t i = 0; i < all.count; ++i) {
    ASSERT_FALSE(seen[all.ids[i]]);
    seen[all.ids[i]] = true;
    if (all.ids[i] % 8 != 0) continue;
    const std::uint64_t here = round_of(all.ids[i], all.boxes[i]);
    if (first) round = here;
    first = false;
    ASSERT_EQ(here, round) << "two rounds in one snapshot";
  }
  ASSERT_GE(round, last_round) << "time went back";
  last_round = round;
  NearestResult nearest;
  ASSERT_TRUE(snapshot.nearest({{{20, 15}}, 5}, nearest).has_value());
  ASSERT_EQ(nearest.size(), 5u);
}

void read_until(const std::atomic<bool>& stop, const Tree<2>& tree, std::uint64_t seed) {
  Random random(seed);
  std::uint64_t last_round = 0;
  std::vector<Snapshot<2>> kept;
  for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
    check_snapshot(tree.snapshot(), last_round);
    if (testing::Test::HasFatalFailure()) return;
    if (random.below(4) == 0) kept.push_back(tree.snapshot());
    if (kept.size() > 5) {
      const std::size_t oldest = random.below(kept.size());
      std::uint64_t any_round = 0;
      check_snapshot(kept[oldest], any_round);
      kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(oldest));
    }
  }
}

TEST(TreeConcurrency, ReadersSeeWholeVersionsWhileOneWriterPublishes) {
  const std::uint64_t seed = testing_support::seed(31);
  AnonymousSlabs slabs;
  SystemClock clock;
  const auto tree = std::move(*Tree<2>::create({}, slabs, clock));
  for (std::uint64_t id = 0; id < kEntries; ++id) {
    ASSERT_TRUE(tree->insert({id, place(id, 0)}).has_value());
  }
  tree->publish();
  std::atomic<bool> stop{false};
  std::vector<std::jthread> readers;
  for (std::uint64_t i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] { read_until(stop, *tree, seed + i); });
  }
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    for (std::uint64_t id = 0; id < kEntries; id += 8) {
      ASSERT_TRUE(tree->update(id, place(id, round), place(id, round + 1)).has_value());
    }
    tree->publish();
    if (round % 16 == 0) std::this_thread::yield();
  }
  stop.store(true, std::memory_order_relaxed);
  readers.clear();
  tree->reclaim();
  EXPECT_EQ(tree->stats().bytes_retired, 0u);
  EXPECT_TRUE(tree->snapshot().validate().has_value());
}

}  // namespace
}  // namespace silurus::rtree
