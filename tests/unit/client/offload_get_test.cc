// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/seed.h"
#include "tests/unit/client/keyed_world.h"

// Entries read by their ids with one-sided reads.

namespace silurus::client::offload_tests {
namespace {

TEST(OffloadGet, FindsWhatThereIs) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  for (const std::size_t count : {1, 3, 100, 1024}) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(keyed.is_right(keyed.some_ids(count)));
      keyed.change_one();
    }
  }
}

TEST(OffloadGet, OfAnEmptyCollectionFindsNothingInOneRoundTripOnceItsRootIsKnown) {
  KeyedWorld keyed(1);
  const auto first = keyed.get({1, 2});
  EXPECT_FALSE(first.given_back);
  EXPECT_TRUE(keyed.found.empty());
  const auto second = keyed.get({1, 2});
  EXPECT_EQ(second.cost.round_trips, 1u);
  EXPECT_TRUE(keyed.found.empty());
}

TEST(OffloadGet, ReadsTheRootWordAndALeafInOneRoundTripWhenWarm) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  for (int i = 0; i < 1'000; ++i) {
    const auto ids = keyed.some_ids(1);
    const auto done = keyed.get(ids);
    ASSERT_EQ(keyed.found, keyed.expected(ids));
    ASSERT_EQ(done.cost.round_trips, 1u);
    ASSERT_EQ(done.cost.nodes_read, 1u);
    // The root, the end of the server's life (which lies apart from it here), the leaf.
    ASSERT_EQ(done.cost.reads, 3u);
    ASSERT_EQ(done.cost.bytes_read,
              rtree::kRootWordBytes + 8 + rtree::node_bytes<2>(rtree::kIndexLevel));
  }
}

TEST(OffloadGet, OfIdsThatTheIndexHasNoLeafForReadsNoMore) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  const auto done = keyed.get({UINT64_MAX});
  EXPECT_TRUE(keyed.found.empty());
  EXPECT_EQ(done.cost.round_trips, 1u);
  EXPECT_EQ(done.cost.nodes_read, 1u);
}

TEST(OffloadGet, OfManyIdsReadsTheirLeavesTogether) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  const auto ids = keyed.some_ids(200);
  const auto done = keyed.get(ids);
  EXPECT_EQ(keyed.found, keyed.expected(ids));
  EXPECT_EQ(done.cost.round_trips, 1u);
  EXPECT_LE(done.cost.nodes_read, 200u);
}

TEST(OffloadGet, BeginsWithTheMirrorWhereNothingIsKnown) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  const auto ids = keyed.some_ids(1);
  const auto done = keyed.get(ids);
  EXPECT_EQ(keyed.found, keyed.expected(ids));
  EXPECT_EQ(done.cost.round_trips, 1 + 3u) << "the mirror; three levels of the index";
}

TEST(OffloadGet, ReadsARootOfTheIndexWhoseLevelIsNotKnownNoLongerThanAnyIs) {
  KeyedWorld keyed(1);
  keyed.load(40);
  keyed.warm_up();
  const auto done = keyed.get({3});
  EXPECT_EQ(done.cost.round_trips, 1u);
  EXPECT_EQ(done.cost.bytes_read,
            rtree::kRootWordBytes + 8 + rtree::node_bytes<2>(rtree::kIndexLevel));
  static_assert(rtree::node_bytes<2>(rtree::kAnyIndexLevel) <= rtree::kChunkBytes<2>);
}

/// Gets of one id, a put after each ninth: their round trips.
std::uint32_t trips_among_puts(KeyedWorld& keyed, int gets) {
  std::uint32_t trips = 0;
  for (int i = 0; i < gets; ++i) {
    if (i % 9 == 0) keyed.change_one();
    const auto ids = keyed.some_ids(1);
    const auto done = keyed.get(ids);
    EXPECT_FALSE(done.given_back);
    EXPECT_EQ(done.version, keyed.version);
    EXPECT_EQ(keyed.found, keyed.expected(ids));
    trips += done.cost.round_trips;
  }
  return trips;
}

TEST(OffloadGet, WithOnePutInTenTakesHardlyMoreThanOneRoundTrip) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  trips_among_puts(keyed, 300);  // until it has seen how often the root changes
  EXPECT_LE(trips_among_puts(keyed, 2'000), 2'060u);
}

TEST(OffloadGet, APutBeforeEachTakesHardlyMoreEither) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  std::uint32_t trips = 0;
  for (int i = 0; i < 1'000; ++i) {
    keyed.change_one();
    const auto ids = keyed.some_ids(1);
    const auto done = keyed.get(ids);
    ASSERT_EQ(keyed.found, keyed.expected(ids));
    if (i >= 100) trips += done.cost.round_trips;
  }
  EXPECT_LE(trips, 960u) << "of 900";
}

TEST(OffloadGet, AWriteToAnotherCollectionCostsNothing) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  for (int i = 0; i < 100; ++i) {
    keyed.world.insert_one();
    ASSERT_EQ(keyed.get(keyed.some_ids(1)).cost.round_trips, 1u);
  }
}

TEST(OffloadGet, WritesToBothCollectionsCostNoMoreThanThoseToItsOwn) {
  KeyedWorld keyed(1);
  keyed.load(100'000);
  keyed.warm_up();
  std::uint32_t trips = 0;
  for (int i = 0; i < 500; ++i) {
    for (int version = 0; version < 5; ++version) keyed.world.insert_one();
    if (i % 3 == 0) keyed.change_one();
    const auto ids = keyed.some_ids(1);
    const auto done = keyed.get(ids);
    ASSERT_EQ(keyed.found, keyed.expected(ids));
    if (i >= 100) trips += done.cost.round_trips;
  }
  EXPECT_LE(trips, 480u) << "of 400";
}

TEST(OffloadGet, TakesAFewRoundTripsWhereTheChangesAreGone) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  for (int i = 0; i < 400; ++i) keyed.change_one();  // the ring has gone round
  const auto ids = keyed.some_ids(1);
  const auto done = keyed.get(ids);
  EXPECT_EQ(done.version, keyed.version);
  EXPECT_EQ(keyed.found, keyed.expected(ids));
  EXPECT_LE(done.cost.round_trips, 7u);
  EXPECT_EQ(done.cost.restarts, 0u);
}

TEST(OffloadGet, AMirrorThatIsTornIsReadAgainAndNotForEver) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  auto& mirrors = keyed.block().mirrors;
  for (auto& mirror : mirrors) ++mirror.checksum;
  const auto done = keyed.get({3});
  EXPECT_TRUE(done.given_back);
  EXPECT_EQ(done.cost.restarts, OffloadOptions().max_restarts + 1);
  for (auto& mirror : mirrors) --mirror.checksum;
  EXPECT_TRUE(keyed.is_right({3}));
}

TEST(OffloadGet, AnotherIndexThanTheMirrorsOwnIsNotBelieved) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  for (auto& mirror : keyed.block().mirrors) mirror.index.fetch_add(1);
  EXPECT_TRUE(keyed.get({3}).given_back);
}

TEST(OffloadGet, OfATreeThatHasNoIndexIsGivenBackAtOnce) {
  World world(1);
  world.load(2'000);
  std::vector<KeyedEntry<2>> found;
  for (int i = 0; i < 2; ++i) {
    const std::vector<std::uint64_t> ids{3};
    world.offloader->start_get(0, ids, found);
    const auto done = world.finish();
    EXPECT_TRUE(done.given_back);
    EXPECT_EQ(done.cost.restarts, 0u);
    EXPECT_LE(done.cost.round_trips, 1u);
  }
  EXPECT_FALSE(world.range(kSmallWindow).given_back) << "searches are not concerned";
}

TEST(OffloadGet, OfATreeThatIsGoneIsGivenBack) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  keyed.tree->renumber(8);
  EXPECT_TRUE(keyed.get({3}).given_back);
}

TEST(OffloadGet, OfALifeThatIsOverIsGivenBack) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  auto& block = *reinterpret_cast<rtree::RootBlock<2>*>(keyed.world.slabs.regions()[0].data());
  block.ended.store(1);
  EXPECT_TRUE(keyed.get({3}).given_back);
}

TEST(OffloadGet, ALeafThatIsNotTheOneNamedIsNotBelieved) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  const rtree::NodeRef root = keyed.tree->snapshot().index();
  const rtree::Node<2>* node = &keyed.world.node(root);
  while (node->level() > rtree::kIndexLevel + 1) node = &keyed.world.node(node->child(0));
  keyed.world.node(node->child(0)).header.birth ^= 1;
  const auto done = keyed.get({0});
  EXPECT_TRUE(done.given_back);
  EXPECT_EQ(done.cost.restarts, OffloadOptions().max_restarts + 1);
}

TEST(OffloadGet, IsOfTheVersionThatTheRootWordNamesThoughTheIndexIsOlder) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  ASSERT_TRUE(keyed.tree->touch());  // a version that leaves the index as it is
  keyed.world.tree->publish();
  const auto ids = keyed.some_ids(3);
  const auto done = keyed.get(ids);
  EXPECT_EQ(done.version, keyed.tree->snapshot().version());
  EXPECT_EQ(keyed.found, keyed.expected(ids));
}

TEST(OffloadGet, ALeafReadBeforeAPutIsNotTheAnswerAfterIt) {
  KeyedWorld keyed(1);
  keyed.load(20'000);
  keyed.warm_up();
  keyed.world.offloader->start_get(0, std::vector<std::uint64_t>{300}, keyed.found);
  keyed.world.offloader->flush();
  const auto& block = keyed.block();
  const auto is_of_leaf = [&](const transport::ReadRequest& read) {
    const std::uint64_t from = rtree::offset_in_slab<2>(keyed.tree->root_chunk());
    return read.length > 8 && (read.offset < from || read.offset >= from + sizeof block);
  };
  keyed.world.connection.copy(is_of_leaf);
  keyed.put(300);
  const auto done = keyed.world.finish();
  ASSERT_FALSE(done.given_back);
  EXPECT_EQ(done.version, keyed.version);
  EXPECT_EQ(keyed.found, keyed.expected({300}));
}

TEST(OffloadGet, StalenessThatIsAllowedSavesTheLookAtTheRoot) {
  KeyedWorld keyed(1, {.max_staleness = 10 * kMillisecond});
  keyed.load(20'000);
  keyed.warm_up();
  const rtree::Version before = keyed.version;
  const auto old = keyed.expected({300});
  keyed.put(300);
  EXPECT_EQ(keyed.get({300}).version, before);
  EXPECT_EQ(keyed.found, old);
  keyed.world.clock.advance(11 * kMillisecond);
  EXPECT_EQ(keyed.get({300}).version, keyed.version);
  EXPECT_EQ(keyed.found, keyed.expected({300}));
}

/// As the race of searches (Offload.EveryAnswerIsThatOfOneVersion...), with searches of the same
/// tree and writes to another one in between.
void race_of_gets(std::uint64_t seed, std::size_t entries, std::size_t cache_bytes) {
  SCOPED_TRACE(seed);
  KeyedWorld keyed(seed, {.cache_bytes = cache_bytes, .slots = 24});
  World& world = keyed.world;
  keyed.load(entries);
  // What became of each id, and in which version.
  std::map<std::uint64_t, std::vector<std::pair<rtree::Version, std::optional<KeyedEntry<2>>>>>
      history;
  const rtree::Version first = keyed.version;
  for (const auto& [id, entry] : keyed.entries) history[id].emplace_back(first, entry);
  const auto change_one = [&] {
    const std::uint64_t id = keyed.change_one();
    const auto there = keyed.expected({id});
    history[id].emplace_back(keyed.version, there.empty() ? std::nullopt : std::optional(there[0]));
  };
  const auto entry_at = [&](std::uint64_t id, rtree::Version version) {
    std::optional<KeyedEntry<2>> entry;
    for (const auto& [since, became] : history[id]) {
      if (since <= version) entry = became;
    }
    return entry;
  };
  struct Running {
    bool active = false;
    bool is_get = false;
    rtree::Version begun = 0;
    std::vector<std::uint64_t> ids;
    std::vector<KeyedEntry<2>> found;
    rtree::RangeQuery<2> query;
    rtree::RangeResult<2> result;
  };
  std::array<Running, 6> running;
  std::uint64_t answered = 0;
  for (int step = 0; step < 40'000; ++step) {
    const auto dice = world.random.below(100);
    if (dice < 4) {
      change_one();
    } else if (dice < 6) {
      world.insert_one();
    } else if (dice < 9) {
      world.clock.advance(static_cast<Nanoseconds>(world.random.below(kGrace / 20)));
    } else if (world.random.below(400) == 0) {
      world.clock.advance(3 * kGrace);  // as if stopped, while the memory goes to others
      for (int i = 0; i < 40; ++i) {
        change_one();
      }
    } else if (dice < 22) {
      const auto i = static_cast<std::uint32_t>(world.random.below(running.size()));
      Running& search = running[i];
      if (search.active) continue;
      search.active = true;
      search.begun = keyed.version;
      search.is_get = world.random.below(4) != 0;
      if (search.is_get) {
        search.ids = keyed.some_ids(1 + world.random.below(8));
        world.offloader->start_get(i, search.ids, search.found);
      } else {
        search.query = {.window = random_box(world.random, 0.1)};
        world.offloader->start_range(i, search.query, search.result);
      }
    } else if (dice < 42) {
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
      if (search.is_get) {
        std::vector<KeyedEntry<2>> there;
        for (const std::uint64_t id : search.ids) {
          if (const auto entry = entry_at(id, done->version)) there.push_back(*entry);
        }
        ASSERT_EQ(search.found, there);
      } else if (answered % 8 == 0) {
        std::vector<std::uint64_t> matching_ids;
        for (const auto& [id, changes] : history) {
          const auto entry = entry_at(id, done->version);
          if (entry && rtree::matches(search.query, entry->box)) matching_ids.push_back(id);
        }
        ASSERT_EQ(sorted(search.result.ids), matching_ids);
      }
    }
  }
  EXPECT_GT(answered, 200u);
}

TEST(OffloadGet, EveryAnswerIsThatOfOneVersionWhateverTheInterleaving) {
  const std::uint64_t seed = testing_support::seed(1);
  for (std::uint64_t i = 0; i < 3; ++i) race_of_gets(seed + i, 2'000, 64 << 10);
}

TEST(OffloadGet, EveryAnswerIsThatOfOneVersionWhereCachedNodesFollowTheChanges) {
  const std::uint64_t seed = testing_support::seed(11);
  for (std::uint64_t i = 0; i < 3; ++i) race_of_gets(seed + i, 20'000, 8 << 20);
}

}  // namespace
}  // namespace silurus::client::offload_tests
