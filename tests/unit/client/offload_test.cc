// SPDX-License-Identifier: Apache-2.0

#include "client/offload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "client/version_leases.h"
#include "tests/unit/client/offload_world.h"

namespace silurus::client::offload_tests {
namespace {

TEST(Offload, FindsWhatBruteForceFinds) {
  World world(1);
  world.load(20'000);
  for (int i = 0; i < 200; ++i) {
    const rtree::RangeQuery<2> query{.window = random_box(world.random, 0.2)};
    const auto done = world.range(query);
    ASSERT_FALSE(done.given_back);
    EXPECT_EQ(done.version, world.tree->snapshot().version());
    EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, query));
    const rtree::NearestQuery<2> near{.point = {{world.random.uniform(), world.random.uniform()}},
                                      .k = 1 + static_cast<std::uint32_t>(i % 20)};
    ASSERT_FALSE(world.nearest(near).given_back);
    EXPECT_EQ(world.nearest_result, nearest_of(world.entries, near));
  }
}

TEST(Offload, AnEmptyTreeAnswersAtOnce) {
  World world(1);
  const auto done = world.range(kSmallWindow);
  EXPECT_FALSE(done.given_back);
  EXPECT_EQ(world.range_result.count, 0u);
  EXPECT_EQ(done.cost.round_trips, 1u);
  EXPECT_FALSE(world.nearest({.point = {{0, 0}}, .k = 3}).given_back);
  EXPECT_TRUE(world.nearest_result.empty());
}

TEST(Offload, AWarmCacheNeedsOneRoundTrip) {
  World world(1);
  world.load(100'000);
  EXPECT_GT(world.range(kSmallWindow).cost.round_trips, 1u);
  const auto warm = world.range(kSmallWindow);
  EXPECT_EQ(warm.cost.round_trips, 1u);
  EXPECT_EQ(warm.cost.cache_misses, 0u);
  EXPECT_GT(warm.cost.cache_hits, 0u);
  EXPECT_FALSE(world.range_result.ids.empty());
}

TEST(Offload, ASmallWindowMovesAFewHundredBytes) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  const SearchCost cost = cost_of_small_windows(world, 1000);
  EXPECT_EQ(cost.round_trips, 1000u);
  EXPECT_LE(wire_bytes(cost, 1000), 200);
  EXPECT_LE(cost.nodes_read, 700u) << "the others need nothing but the root word";
}

TEST(Offload, ATreeThatWasFilledByInsertsIsReadInGroupsToo) {
  World world(1);
  for (int batch = 0; batch < 200; ++batch) {
    for (int i = 0; i < 100; ++i) {
      world.entries.push_back({world.next_id++, random_box(world.random, 1e-4)});
      ASSERT_TRUE(world.tree->insert(world.entries.back()));
    }
    world.tree->publish();
  }
  for (int i = 0; i < 2000; ++i) world.insert(random_box(world.random, 1e-4));
  for (int i = 0; i < 2000; ++i) world.erase_one();
  warm_up(world);
  EXPECT_LE(wire_bytes(cost_of_small_windows(world, 1000), 1000), 250);
}

TEST(Offload, TenNeighboursMoveHalfOfWhatWholeLeavesWould) {
  World world(1);
  world.load(30'000, 1e-4);
  warm_up(world);
  SearchCost sum;
  for (int i = 0; i < 100; ++i) {
    const rtree::NearestQuery<2> near{.point = {{world.random.uniform(), world.random.uniform()}},
                                      .k = 10};
    const auto done = world.nearest(near);
    ASSERT_FALSE(done.given_back);
    EXPECT_EQ(world.nearest_result, nearest_of(world.entries, near));
    sum.round_trips += done.cost.round_trips;
    sum.reads += done.cost.reads;
    sum.bytes_read += done.cost.bytes_read;
  }
  EXPECT_LE(wire_bytes(sum, 100), 2300) << "4,142 by whole leaves";
  EXPECT_LE(sum.round_trips, 180u) << "as many as by whole leaves";
}

TEST(Offload, CountsWhatBruteForceCounts) {
  World world(1);
  world.load(20'000);
  for (int i = 0; i < 300; ++i) {
    const rtree::RangeQuery<2> query{.window = random_box(world.random, 1),
                                     .predicate = i % 3 == 0   ? rtree::Predicate::kWithin
                                                  : i % 3 == 1 ? rtree::Predicate::kContains
                                                               : rtree::Predicate::kIntersects,
                                     .shape = rtree::ResultShape::kCount,
                                     .limit = i % 5 == 0 ? world.random.below(20'000) : UINT64_MAX};
    if (i % 4 == 0) world.insert_one();
    ASSERT_FALSE(world.range(query).given_back);
    ASSERT_EQ(world.range_result.count,
              std::min<std::uint64_t>(query.limit, matching(world.entries, query).size()));
  }
}

TEST(Offload, OfWhatTheWindowCoversACountReadsHeadersAlone) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  const rtree::RangeQuery<2> query{.window = {{0.3, 0.3}, {0.5, 0.5}},
                                   .shape = rtree::ResultShape::kCount};
  const auto done = world.range(query);
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(world.range_result.count, matching(world.entries, query).size());
  const auto told = world.range({.window = query.window});
  EXPECT_LT(3 * wire_bytes(done.cost, 1), wire_bytes(told.cost, 1));
  ASSERT_FALSE(world.range({.window = {{0, 0}, {2, 2}}, .shape = query.shape}).given_back);
  EXPECT_EQ(world.range_result.count, 100'000u);
}

TEST(Offload, ACountOfEverythingReadsTheRootWordAlone) {
  World world(1);
  world.load(100'000, 1e-4);
  warm_up(world);
  const auto done = world.range({.window = {{0, 0}, {2, 2}}, .shape = rtree::ResultShape::kCount});
  EXPECT_EQ(world.range_result.count, 100'000u);
  EXPECT_EQ(done.cost.nodes_read, 0u);
}

TEST(Offload, AHeaderOfAnotherLeafIsNotCounted) {
  World world(1);
  world.load(20'000, 1e-4);
  warm_up(world);
  world.change_leaves([](rtree::Node<2>& leaf) { leaf.header.birth ^= 1; });
  const rtree::RangeQuery<2> query{.window = {{0.3, 0.3}, {0.5, 0.5}},
                                   .shape = rtree::ResultShape::kCount};
  EXPECT_TRUE(world.range(query).given_back);
}

TEST(Offload, WholeLeavesAreReadWhereTheLeaseIsNotTheOnlyProof) {
  World world(1, {.verify_checksums = true});
  world.load(20'000, 1e-4);
  warm_up(world);
  const SearchCost cost = cost_of_small_windows(world, 100);
  EXPECT_GT(cost.nodes_read, 0u);
  EXPECT_EQ(cost.bytes_read - 100 * rtree::kRootWordBytes,
            cost.nodes_read * rtree::node_bytes<2>(0));
}

TEST(Offload, WithChecksumsNoWrongByteOfALeafIsBelieved) {
  World world(1, {.verify_checksums = true});
  world.load(20'000, 1e-4);
  ASSERT_FALSE(world.range(kSmallWindow).given_back);
  const std::vector<rtree::NodeRef> leaves = world.leaves_in(kSmallWindow.window);
  ASSERT_FALSE(leaves.empty());
  rtree::Node<2>& node = world.node(leaves.front());
  const auto bytes = std::as_writable_bytes(std::span(&node, 1)).first(rtree::node_bytes<2>(0));
  std::size_t noticed = 0;
  for (std::byte& byte : bytes) {
    byte ^= std::byte{0x10};
    const bool is_given_back = world.range(kSmallWindow).given_back;
    byte ^= std::byte{0x10};
    noticed += is_given_back ? 1 : 0;
    if (is_given_back) continue;  // behind the last entry: it is not looked at
    ASSERT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow))
        << &byte - bytes.data();
  }
  EXPECT_GT(noticed, bytes.size() / 2);
}

TEST(Offload, OfGroupsThatLandAfterAPauseTheWholeLeafIsReadAndVerified) {
  World world(1);
  world.load(20'000);
  ASSERT_FALSE(world.range(kSmallWindow).given_back);
  const auto quick = world.range(kSmallWindow);
  world.offloader->start_range(0, kSmallWindow, world.range_result);
  world.offloader->flush();
  world.clock.advance(kGrace / 5);
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.cost.restarts, 0u);
  EXPECT_EQ(done.cost.round_trips, 2u);
  EXPECT_EQ(done.cost.nodes_read, 2 * quick.cost.nodes_read);
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
}

TEST(Offload, ReadsOnlyWhatChangedWhenTheRootIsNew) {
  World world(1);
  world.load(100'000);
  world.range({.window = {{0, 0}, {1, 1}}});  // all inner nodes are cached now
  world.insert_one();
  const auto done = world.range(kSmallWindow);
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
  // The root, at most the inner nodes of one path, and the leaves of a small window.
  EXPECT_LE(done.cost.cache_misses, 3u);
}

TEST(Offload, ALeafReadAheadIsUsedIfTheNewTreeStillNamesIt) {
  World world(1);
  world.load(100'000);
  world.range(kSmallWindow);
  const auto warm = world.range(kSmallWindow);
  // A change far from the window: a new root, but the same leaves below it.
  ASSERT_TRUE(world.tree->insert({world.next_id, {{0.01, 0.01}, {0.02, 0.02}}}));
  world.tree->publish();
  const auto done = world.range(kSmallWindow);
  EXPECT_EQ(done.version, world.tree->snapshot().version());
  // The new root at most, and nothing else, is read besides what was read anyway.
  EXPECT_LE(done.cost.nodes_read, warm.cost.nodes_read + 1);
  EXPECT_LE(done.cost.round_trips, 2u);
}

TEST(Offload, ASteadyStreamOfWritesCostsNoRoundTripForTheRoot) {
  World world(1);
  world.load(50'000);
  ASSERT_EQ(world.tree->stats().height, 3u);  // a fourth level would be on many a path
  world.range({.window = {{0, 0}, {1, 1}}});
  std::uint32_t trips = 0;
  for (int i = 0; i < 100; ++i) {
    world.insert_one();
    trips += world.range(kSmallWindow).cost.round_trips;
  }
  // The mirrored root is read along; now and then an inserted box changes this very path.
  EXPECT_LE(trips, 140u);
}

TEST(Offload, AnOutlivedLeaseOverAnUnchangedTreeGoesOn) {
  World world(1);
  world.load(20'000);
  const rtree::RangeQuery<2> all{.window = {{0, 0}, {1, 1}}};
  world.offloader->start_range(0, all, world.range_result);
  std::optional<Offloader<2>::Finished> done;
  for (int steps = 0; !done; ++steps) {
    world.offloader->flush();
    if (auto cookie = world.connection.step(world.random)) world.offloader->on_read(*cookie);
    if (steps % 100 == 99) world.clock.advance(2 * kGrace);
    done = world.offloader->take_finished();
  }
  EXPECT_FALSE(done->given_back);
  EXPECT_EQ(done->cost.restarts, 0u);
  EXPECT_EQ(world.range_result.count, matching(world.entries, all).size());
}

TEST(Offload, AStopOfMoreThanTheGracePeriodThrowsTheWalkAway) {
  World world(1);
  world.load(20'000);
  const rtree::RangeQuery<2> all{.window = {{0, 0}, {1, 1}}};
  world.offloader->start_range(0, all, world.range_result);
  for (int steps = 0; steps < 60; ++steps) {
    world.offloader->flush();
    if (auto cookie = world.connection.step(world.random)) world.offloader->on_read(*cookie);
  }
  world.clock.advance(2 * kGrace);
  for (int i = 0; i < 200; ++i) world.insert_one();
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_GE(done.cost.restarts, 1u);
  EXPECT_EQ(done.version, world.tree->snapshot().version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, all));
}

/// Nodes of the old root are recycled before a lease that begins anew would end.
TEST(Offload, ALeaseIsNotRenewedByARootThatHasChanged) {
  World world(1);
  world.load(20'000);
  const rtree::RangeQuery<2> all{.window = {{0, 0}, {1, 1}}};
  world.offloader->start_range(0, all, world.range_result);
  ASSERT_FALSE(world.try_to_finish(30)) << "it is under way";
  world.insert_one();
  world.clock.advance(kGrace * 6 / 10);  // late enough to ask for a renewal, and in time for it
  ASSERT_FALSE(world.try_to_finish(300)) << "it is under way";
  world.clock.advance(kGrace * 5 / 10);
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.cost.restarts, 1u);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, all));
}

TEST(Offload, AHeldRootAtTheEndOfItsSlabIsReadNoFurther) {
  World world(1);
  const auto is_at_end = [&] {
    return (world.tree->snapshot().root().ref.chunk() + 1) % rtree::kChunksPerSlab == 0;
  };
  world.insert_one();
  // Time stands still: each version's root lies behind the one before.
  for (std::uint32_t i = 0; i < rtree::kChunksPerSlab && !is_at_end(); ++i) {
    i % 2 == 0 ? static_cast<void>(world.insert_one()) : world.erase_one();
  }
  ASSERT_TRUE(is_at_end());
  world.offloader->start_range(
      0, kEverything, world.range_result,
      LeasedRoot{.root = world.tree->snapshot().root().ref, .until = world.clock.now() + kSecond});
  const auto done = world.finish();
  EXPECT_FALSE(done.given_back) << "of what kind the node is was not known";
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kEverything));
}

TEST(Offload, ASearchThatNeverGetsThroughIsGivenBack) {
  World world(1, {.max_restarts = 2});
  world.load(20'000);
  world.offloader->start_range(0, {.window = {{0, 0}, {1, 1}}}, world.range_result);
  std::optional<Offloader<2>::Finished> done;
  while (!done) {
    world.offloader->flush();
    if (auto cookie = world.connection.step(world.random)) world.offloader->on_read(*cookie);
    world.clock.advance(kGrace / 3);
    world.insert_one();
    done = world.offloader->take_finished();
  }
  EXPECT_TRUE(done->given_back);
  EXPECT_EQ(done->cost.restarts, 3u);
}

TEST(Offload, AllowedStalenessSavesTheLookAtTheRoot) {
  World world(1, {.max_staleness = 10 * kMillisecond});
  world.load(100'000);
  const auto first = world.range(kSmallWindow);
  const auto reads_before = world.connection.counters().reads;
  const auto warm = world.range(kSmallWindow);
  EXPECT_EQ(world.connection.counters().reads - reads_before, warm.cost.reads);
  EXPECT_GT(warm.cost.reads, 0u);
  const auto before = world.tree->snapshot().version();
  EXPECT_GT(world.insert_one(), before);
  EXPECT_EQ(world.range(kSmallWindow).version, before);
  world.clock.advance(11 * kMillisecond);
  EXPECT_EQ(world.range(kSmallWindow).version, before + 1);
  EXPECT_EQ(first.version, before);
}

TEST(Offload, ALimitEndsTheSearchEarly) {
  World world(1);
  world.load(20'000);
  const auto done = world.range({.window = {{0, 0}, {1, 1}}, .limit = 5});
  EXPECT_FALSE(done.given_back);
  EXPECT_EQ(world.range_result.count, 5u);
  EXPECT_EQ(world.range_result.ids.size(), 5u);
  // Reads still under way do no harm to the next search.
  EXPECT_FALSE(world.range(kSmallWindow).given_back);
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
}

TEST(Offload, FewSlotsMakeItSlowNotStuck) {
  World world(1, {.slots = 8}, 4);
  world.load(20'000);
  std::vector<rtree::RangeResult<2>> results(50);
  for (std::uint32_t i = 0; i < 50; ++i) {
    world.offloader->start_range(i, {.window = {{0, 0}, {0.3, 0.3}}}, results[i]);
  }
  const auto expected = matching(world.entries, {.window = {{0, 0}, {0.3, 0.3}}});
  for (int i = 0; i < 50; ++i) {
    const auto done = world.finish();
    EXPECT_FALSE(done.given_back);
    EXPECT_EQ(sorted(results[done.search].ids), expected);
  }
}

TEST(Offload, ACancelledSearchLeavesNothingBehind) {
  World world(1, {.slots = 8});
  world.load(20'000);
  for (int i = 0; i < 100; ++i) {
    world.offloader->start_range(0, {.window = {{0, 0}, {1, 1}}}, world.range_result);
    world.offloader->flush();
    if (auto cookie = world.connection.step(world.random)) world.offloader->on_read(*cookie);
    world.offloader->cancel(0);
  }
  EXPECT_FALSE(world.range(kSmallWindow).given_back);
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
}

TEST(Offload, ACancelledSearchGivesItsSlotsToOthers) {
  World world(1, {.slots = 8});
  world.load(20'000);
  ASSERT_FALSE(world.range(kEverything).given_back);
  // All slots hold nodes of a search that waits for the root word, and for what is read with it,
  // when it is cancelled.
  world.offloader->start_range(0, kEverything, world.range_result);
  world.offloader->flush();
  std::vector<std::uint64_t> late;
  while (world.connection.in_flight() > 0) {
    const auto cookie = world.connection.step(world.random);
    if (!cookie) continue;
    const bool is_of_root = *cookie >> 63 != 0;
    is_of_root ? late.push_back(*cookie) : world.offloader->on_read(*cookie);
  }
  ASSERT_FALSE(late.empty());
  world.offloader->cancel(0);
  for (const std::uint64_t cookie : late) world.offloader->on_read(cookie);
  rtree::RangeResult<2> found;
  world.offloader->start_range(1, kSmallWindow, found);
  const auto done = world.try_to_finish(100'000);
  ASSERT_TRUE(done) << "the slots are still the cancelled search's";
  EXPECT_EQ(done->search, 1u);
  EXPECT_EQ(sorted(found.ids), matching(world.entries, kSmallWindow));
}

TEST(Offload, RefusesNodesOfAnotherFormat) {
  RegionSlabs slabs;
  MemoryConnection connection(slabs, 64);
  MemoryPoller poller;
  ManualClock clock;
  auto hello = hello_of_tree();
  hello.node_format ^= 1;
  const auto made = Offloader<2>::create({}, hello, connection, poller, clock);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
}

TEST(Offload, VerifiesNodesWhenItsOwnStepsWereFarApart) {
  World world(1);
  world.load(20'000);
  const rtree::RangeQuery<2> everything{.window = {{0, 0}, {2, 2}}};
  ASSERT_FALSE(world.range(everything).given_back);
  // Memory that was used again while this program stood still, and its clock, almost, with it.
  world.change_leaves([](rtree::Node<2>& leaf) { leaf.leaf.groups[0].ids[0] ^= 1; });
  const auto search_with_a_pause_of = [&](Nanoseconds pause) {
    world.offloader->start_range(0, everything, world.range_result);
    world.offloader->flush();
    std::optional<std::uint64_t> root;
    while (!(root = world.connection.step(world.random))) {
    }
    world.offloader->on_read(*root);
    world.clock.advance(pause);
    return world.finish();
  };
  EXPECT_EQ(search_with_a_pause_of(kGrace / 100).cost.restarts, 0u) << "it is as good as none";
  EXPECT_EQ(search_with_a_pause_of(kGrace / 5).cost.restarts, 1u) << "then there was no pause";
}

TEST(Offload, TheLeaseBeginsBeforeTheRootIsAskedForAndEndsWithTheGrace) {
  for (const Nanoseconds travel : {kGrace, 2 * kGrace}) {
    World world(1);
    world.load(20'000);
    ASSERT_FALSE(world.range(kSmallWindow).given_back);
    world.offloader->start_range(0, kSmallWindow, world.range_result);
    world.offloader->flush();
    world.connection.copy(is_any);  // the root word and the leaves have been read, and travel on
    world.clock.advance(travel);
    for (int i = 0; i < 200; ++i) world.insert_one();
    const auto done = world.finish();
    ASSERT_FALSE(done.given_back);
    EXPECT_EQ(done.version, world.version()) << travel;
    EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
  }
}

TEST(Offload, ANodeOfAnotherNameIsNotBelieved) {
  World world(1);
  world.load(20'000);
  ASSERT_FALSE(world.range(kEverything).given_back);
  world.change_leaves([](rtree::Node<2>& leaf) { leaf.header.birth ^= 1; });
  const auto done = world.range(kEverything);
  EXPECT_TRUE(done.given_back);
  EXPECT_EQ(done.cost.restarts, OffloadOptions().max_restarts + 1);
}

TEST(Offload, ACircleOfNodesIsNotWalkedForEver) {
  World world(1);
  world.load(20'000);
  const rtree::NodeRef root = world.tree->snapshot().root().ref;
  rtree::Node<2>& node = world.node(root);
  ASSERT_EQ(node.level(), 2u) << "its children are looked for in the cache";
  node.header.count = 1;
  node.inner.children[0] = root.word();
  auto& block = *reinterpret_cast<rtree::RootBlock<2>*>(world.slabs.regions()[0].data());
  for (auto& mirror : block.mirrors) mirror.version.store(0);  // so that the node itself is read
  const auto done = world.range(kEverything);
  EXPECT_TRUE(done.given_back);
  EXPECT_EQ(done.cost.restarts, OffloadOptions().max_restarts + 1);
}

TEST(Offload, ALeafReadAheadIsNotTakenForTheNextOneInItsChunk) {
  World world(1);
  world.load(20'000);
  ASSERT_FALSE(world.range(kSmallWindow).given_back);
  const auto before = world.leaves_in(kSmallWindow.window);
  world.offloader->start_range(0, kSmallWindow, world.range_result);
  world.offloader->flush();
  world.connection.copy(is_of_node);  // the leaves as they are now; the root as it will be
  const auto is_place_taken = [&] {
    return std::ranges::any_of(world.leaves_in(kSmallWindow.window), [&](rtree::NodeRef now) {
      return std::ranges::any_of(before, [now](rtree::NodeRef then) {
        return then.chunk() == now.chunk() && then != now;
      });
    });
  };
  for (int i = 0; i < 100 && !is_place_taken(); ++i) {
    world.insert({{0.505, 0.505}, {0.506, 0.506}});
    world.clock.advance(kGrace + 1);
  }
  ASSERT_TRUE(is_place_taken());
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
}

TEST(Offload, ASearchThatTheCacheAnswersWaitsForTheRootAllTheSame) {
  World world(1);
  world.load(20'000);
  const rtree::RangeQuery<2> outside{.window = {{5, 5}, {6, 6}},
                                     .shape = rtree::ResultShape::kCount};
  ASSERT_FALSE(world.range(outside).given_back);
  world.insert_one();
  const auto done = world.range(outside);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(done.cost.round_trips, 1u);
  EXPECT_EQ(world.range_result.count, 0u);
  world.insert({{5, 5}, {5.5, 5.5}});
  EXPECT_EQ(world.range(outside).version, world.version());
  EXPECT_EQ(world.range_result.count, 1u);
}

TEST(Offload, StalenessCountsFromWhenTheRootWasAskedFor) {
  World world(1, {.max_staleness = 10 * kMillisecond});
  world.load(20'000);
  world.offloader->start_range(0, kSmallWindow, world.range_result);
  world.offloader->flush();
  world.clock.advance(9 * kMillisecond);
  const auto before = world.finish().version;
  ASSERT_EQ(world.insert_one(), before + 1);
  EXPECT_EQ(world.range(kSmallWindow).version, before) << "it may be 9 ms old";
  world.clock.advance(2 * kMillisecond);
  EXPECT_EQ(world.range(kSmallWindow).version, before + 1);
}

TEST(Offload, ARegionThatIsNotAnnouncedIsWaitedForWithPatienceAndNoLonger) {
  World world(1);
  world.load(20'000);
  const rtree::Node<2>& root = world.node(world.tree->snapshot().root().ref);
  ASSERT_EQ(root.level(), 2u);
  for (std::uint32_t i = 0; i < root.count(); ++i) {
    world.node(root.child(i)).inner.children[0] =
        rtree::NodeRef(5 * rtree::kChunksPerSlab, 2).word();
  }
  world.offloader->start_range(0, kEverything, world.range_result);
  EXPECT_FALSE(world.try_to_finish(3'000));
  EXPECT_TRUE(world.offloader->waiting_for_region());
  world.clock.advance(49 * kMillisecond);
  EXPECT_FALSE(world.try_to_finish(100));
  world.clock.advance(kMillisecond);
  const auto done = world.try_to_finish(100);
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->given_back);
}

TEST(Offload, WhatWasReadAheadInVainMakesRoomForWhatIsWanted) {
  World world(1, {.slots = 8});
  world.load(20'000);
  const rtree::RangeQuery<2> wide{.window = {{0.2, 0.2}, {0.8, 0.8}}};
  ASSERT_FALSE(world.range(wide).given_back);
  for (int i = 0; i < 5'000; ++i) {  // ten in each leaf: all of them are copied
    world.entries.push_back({world.next_id++, random_box(world.random, 0.01)});
    ASSERT_TRUE(world.tree->insert(world.entries.back()));
  }
  world.tree->publish();
  world.offloader->start_range(0, wide, world.range_result);
  const auto done = world.try_to_finish();
  ASSERT_TRUE(done) << "its slots are full of leaves that the new tree does not have";
  EXPECT_FALSE(done->given_back);
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, wide));
}

TEST(Offload, ADamagedNodeOfAnOldVersionIsNoReasonToAnswerFromTheCurrentOne) {
  World world(1);
  world.load(10);
  const auto old = world.tree->snapshot();
  const LeasedRoot held{.root = old.root().ref, .until = world.clock.now() + kSecond};
  world.insert_one();
  world.offloader->start_range(0, kEverything, world.range_result, held);
  const auto intact = world.finish();
  ASSERT_FALSE(intact.given_back);
  EXPECT_EQ(intact.version, old.version());
  EXPECT_EQ(world.range_result.count, 10u);
  world.node(held.root).header.birth ^= 1;
  world.offloader->start_range(0, kEverything, world.range_result, held);
  EXPECT_TRUE(world.finish().given_back);
}

TEST(Offload, AnOldVersionIsReadWhoseTreeWasLowerThanTheCurrentOne) {
  World world(1);
  world.load(500);
  const auto old = world.tree->snapshot();
  ASSERT_EQ(old.root().level, 1u);
  const auto before = matching(world.entries, kEverything);
  const LeasedRoot held{.root = old.root().ref, .until = world.clock.now() + kSecond};
  for (int i = 0; i < 4000; ++i) world.insert_one();
  ASSERT_EQ(world.tree->snapshot().root().level, 2u);
  ASSERT_FALSE(world.range(kEverything).given_back);
  world.offloader->start_range(0, kEverything, world.range_result, held);
  EXPECT_FALSE(world.finish().given_back);
  EXPECT_EQ(sorted(world.range_result.ids), before);
}

TEST(Offload, AnOldVersionIsNotReadOnWhenItIsHeldNoLonger) {
  World world(1);
  world.load(20'000);
  const auto old = world.tree->snapshot();
  const LeasedRoot held{.root = old.root().ref, .until = world.clock.now() + kSecond};
  const auto end_with_a_pause_of = [&](Nanoseconds pause) {
    world.offloader->start_range(0, kEverything, world.range_result, held);
    EXPECT_FALSE(world.try_to_finish(60));
    world.clock.advance(pause);
    return world.finish();
  };
  const auto in_time = end_with_a_pause_of(kSecond - 1);
  EXPECT_FALSE(in_time.given_back) << "the grace period is nothing to it";
  EXPECT_EQ(in_time.cost.restarts, 0u);
  EXPECT_EQ(world.range_result.count, 20'000u);
  EXPECT_TRUE(end_with_a_pause_of(1).given_back);
}

TEST(Offload, ASearchHasNothingOfTheHoldThatTheOneBeforeItHad) {
  World world(1);
  world.load(20'000);
  const LeasedRoot held{.root = world.tree->snapshot().root().ref,
                        .until = world.clock.now() + 10 * kSecond};
  world.offloader->start_range(0, kSmallWindow, world.range_result, held);
  ASSERT_FALSE(world.finish().given_back);
  ASSERT_FALSE(world.range(kSmallWindow).given_back);
  // The current version, in the same place: all is read, and arrives after the lease.
  world.offloader->start_range(0, kSmallWindow, world.range_result);
  world.offloader->flush();
  world.connection.copy(is_any);
  world.clock.advance(2 * kGrace);
  for (int i = 0; i < 200; ++i) world.insert_one();
  const auto done = world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.version, world.version());
  EXPECT_EQ(sorted(world.range_result.ids), matching(world.entries, kSmallWindow));
}

/// Everything at once: searches begin and end, reads land late, torn and out of order, the tree
/// changes, time passes in small steps and in leaps beyond the grace period, memory is recycled.
/// Every answer must be exactly that of the version that it names, and that version must have been
/// current at some moment of the search.
void race(std::uint64_t seed, std::size_t entries, std::size_t cache_bytes) {
  SCOPED_TRACE(seed);
  World world(seed, {.cache_bytes = cache_bytes, .slots = 24});
  world.load(entries);
  std::map<rtree::Version, std::vector<rtree::Entry<2>>> history;
  const auto remember = [&] { history[world.tree->snapshot().version()] = world.entries; };
  remember();

  struct Running {
    bool active = false;
    rtree::Version begun = 0;
    std::optional<rtree::RangeQuery<2>> range;
    rtree::NearestQuery<2> nearest;
    rtree::RangeResult<2> range_result;
    rtree::NearestResult nearest_result;
  };
  std::vector<Running> running(6);
  std::uint64_t answered = 0;

  for (int step = 0; step < 40'000; ++step) {
    const auto dice = world.random.below(100);
    if (dice < 4) {
      world.random.below(2) == 0 ? static_cast<void>(world.insert_one()) : world.erase_one();
      remember();
      if (history.size() > 2'000) history.erase(history.begin());
    } else if (dice < 8) {
      world.clock.advance(static_cast<Nanoseconds>(world.random.below(kGrace / 20)));
    } else if (world.random.below(400) == 0) {
      world.clock.advance(3 * kGrace);  // as if stopped, while the memory goes to others
      for (int i = 0; i < 40; ++i) {
        world.random.below(2) == 0 ? static_cast<void>(world.insert_one()) : world.erase_one();
        remember();
      }
    } else if (dice < 20) {
      const auto i = static_cast<std::uint32_t>(world.random.below(running.size()));
      Running& search = running[i];
      if (search.active) continue;
      search.active = true;
      search.begun = world.tree->snapshot().version();
      if (world.random.below(3) != 0) {
        search.range = rtree::RangeQuery<2>{.window = random_box(world.random, 0.1)};
        world.offloader->start_range(i, *search.range, search.range_result);
      } else {
        search.range.reset();
        search.nearest = {.point = {{world.random.uniform(), world.random.uniform()}}, .k = 8};
        world.offloader->start_nearest(i, search.nearest, search.nearest_result);
      }
    } else if (dice < 40) {
      world.offloader->flush();
    } else if (auto cookie = world.connection.step(world.random)) {
      world.offloader->on_read(*cookie);
    }
    while (auto done = world.offloader->take_finished()) {
      Running& search = running[done->search];
      ASSERT_TRUE(search.active);
      search.active = false;
      if (done->given_back) continue;
      ++answered;
      ASSERT_GE(done->version, search.begun);
      ASSERT_TRUE(history.contains(done->version));
      const auto& then = history[done->version];
      if (search.range) {
        ASSERT_EQ(sorted(search.range_result.ids), matching(then, *search.range));
      } else {
        ASSERT_EQ(search.nearest_result, nearest_of(then, search.nearest));
      }
    }
  }
  EXPECT_GT(answered, 200u);
}

TEST(Offload, EveryAnswerIsThatOfOneVersionWhateverTheInterleaving) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) race(seed, 2'000, 64 << 10);
}

TEST(Offload, EveryAnswerIsThatOfOneVersionWhereCachedNodesFollowTheChanges) {
  for (std::uint64_t seed = 11; seed <= 13; ++seed) race(seed, 6'000, 8 << 20);
}

}  // namespace
}  // namespace silurus::client::offload_tests
