// SPDX-License-Identifier: Apache-2.0

#include "rtree/free_chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "common/random.h"
#include "rtree/run.h"
#include "tests/support/seed.h"

// Chunks of an arena whose inner nodes take several, whatever the fanouts of this build are.

namespace silurus::rtree {
namespace {

constexpr ChunkShape kThrees = {.inner_chunks = 3, .chunks_per_slab = 64};

ChunkRoom room(std::uint64_t singles, std::uint64_t groups, std::uint64_t next,
               std::uint64_t limit) {
  return {.shape = kThrees, .singles = singles, .groups = groups, .next = next, .limit = limit};
}

TEST(ChunkRoom, CountsEachKindInTheMemoryThatCanHoldIt) {
  EXPECT_TRUE(room(5, 0, 10, 10).holds({5, 0}));
  EXPECT_FALSE(room(5, 0, 10, 10).holds({0, 1})) << "single chunks are none for an inner node";
  EXPECT_TRUE(room(0, 2, 10, 10).holds({0, 2}));
  EXPECT_TRUE(room(0, 2, 10, 10).holds({3, 1})) << "a group is three leaves";
  EXPECT_FALSE(room(0, 2, 10, 10).holds({4, 1}));
  EXPECT_TRUE(room(1, 1, 10, 15).holds({3, 2})) << "those never used are either";
  EXPECT_FALSE(room(1, 1, 10, 15).holds({4, 2}));
}

TEST(ChunkRoom, CountsWhatMayBeLeftOverAtTheEndOfASlab) {
  // A leaf takes 61. The inner node that follows goes to 64 to 66, and 62 and 63 are left over.
  EXPECT_TRUE(room(0, 0, 61, 67).holds({1, 1}));
  EXPECT_FALSE(room(0, 0, 61, 66).holds({1, 1}));
  EXPECT_EQ(room(0, 0, 61, 99).fresh_end({0, 1}, true), 64u);
  EXPECT_EQ(room(0, 0, 0, 999).fresh_end({2, 41}, true), 2 + 3 * 41 + 2u) << "one end of a slab";
  EXPECT_EQ(room(0, 0, 61, 99).fresh_end({9, 0}, true), 70u) << "leaves lie anywhere";
}

TEST(FreeChunks, NeverLetAnInnerNodeSpanTwoSlabs) {
  FreeChunks chunks(kThrees, 1, 1000, 4);
  for (int i = 0; i < 300; ++i) {
    EXPECT_FALSE(kThrees.spans_slabs(chunks.take_inner(1000), 3));
  }
}

TEST(FreeChunks, AreNotPutTogetherAgainWhenTheyWereTakenApart) {
  FreeChunks chunks(kThrees, 0, 6, 4);
  const std::uint32_t first = chunks.take_inner(6);
  const std::uint32_t second = chunks.take_inner(6);
  chunks.release(first, 3);
  std::vector<std::uint32_t> leaves;
  for (int i = 0; i < 3; ++i) leaves.push_back(chunks.take_leaf(6));
  EXPECT_EQ(leaves, (std::vector<std::uint32_t>{first, first + 1, first + 2}));
  for (const std::uint32_t leaf : leaves) chunks.release(leaf, 1);
  EXPECT_FALSE(chunks.room().holds({0, 1}));
  EXPECT_TRUE(chunks.room().holds({3, 0}));
  chunks.release(second, 3);
  EXPECT_TRUE(chunks.room().holds({3, 1}));
}

TEST(FreeChunks, OfARestoredTreeAreGroupsAsFarAsTheyAreKept) {
  std::vector<bool> used(40, true);
  for (const std::size_t free : {5, 6, 7, 10, 11, 20, 21, 22, 23, 24, 25, 30}) used[free] = false;
  FreeChunks chunks(kThrees, 2, 40, 2);
  chunks.set_used(used);
  EXPECT_EQ(chunks.room().groups, 2u);
  EXPECT_EQ(chunks.room().singles, 6u);
  EXPECT_EQ(chunks.take_leaf(40), 5u) << "the lowest first";
  EXPECT_GE(chunks.take_inner(40), 20u);
}

TEST(FreeChunks, KeepTheirPromiseWhateverIsTakenAndGivenBack) {
  const std::uint64_t seed = testing_support::seed(31);
  for (std::uint32_t group = 1; group <= 5; ++group) {
    Random random(seed + group);
    const ChunkShape shape{group, 64};
    const std::uint32_t limit = 700;
    FreeChunks chunks(shape, 2, limit, random.below(20));
    std::map<std::uint32_t, std::uint32_t> taken;  // chunks by the first one
    std::vector<bool> used(limit);
    for (int step = 0; step < 20'000; ++step) {
      NodeCounts wanted{random.below(30), random.below(12)};
      const bool holds = chunks.room().holds(wanted);
      if (holds && random.below(2) == 0) {
        const std::uint64_t covered =
            std::min<std::uint64_t>(chunks.room().fresh_end(wanted, false), limit);
        while (wanted != NodeCounts{}) {  // in any order
          const bool leaf = wanted.inners == 0 || (wanted.leaves != 0 && random.below(2) == 0);
          --(leaf ? wanted.leaves : wanted.inners);
          const std::uint32_t size = leaf ? 1 : group;
          const std::uint32_t chunk = leaf ? chunks.take_leaf(covered) : chunks.take_inner(covered);
          ASSERT_LE(chunk + size, covered);
          ASSERT_FALSE(shape.spans_slabs(chunk, size));
          for (std::uint32_t i = 0; i < size; ++i) {
            ASSERT_FALSE(used[chunk + i]);
            used[chunk + i] = true;
          }
          taken.emplace(chunk, size);
        }
      } else if (!taken.empty()) {
        for (std::uint64_t count = random.below(20); count-- > 0 && !taken.empty();) {
          auto one = taken.lower_bound(static_cast<std::uint32_t>(random.below(limit)));
          if (one == taken.end()) one = std::prev(one);
          for (std::uint32_t i = 0; i < one->second; ++i) used[one->first + i] = false;
          if (random.below(4) == 0) {
            chunks.give_back(one->first, one->second);
          } else {
            chunks.release(one->first, one->second);
          }
          taken.erase(one);
        }
      }
      std::uint64_t in_use = 2;
      for (const auto& [chunk, size] : taken) in_use += size;
      ASSERT_EQ(chunks.next() - chunks.free_count(), in_use);
      ASSERT_EQ(chunks.room().chunks(), limit - in_use);
    }
  }
}

TEST(RunLayout, GivesEachNodeChunksOfItsOwnAndLeavesNoneOver) {
  for (std::uint32_t group = 1; group <= 5; ++group) {
    const ChunkShape shape{group, 64};
    for (std::uint32_t first = 1; first < 140; ++first) {
      for (const std::uint32_t inners : {0, 1, 2, 13, 21, 22, 64, 100, 200}) {
        const std::uint32_t leaves = inners == 0 ? 1 : 5 * inners;
        const rtree::Run run{first, inners * group + leaves, inners, 9};
        ASSERT_EQ(RunLayout::is_sound(run, shape), inners == 0 || !shape.spans_slabs(first, group));
        if (!RunLayout::is_sound(run, shape)) continue;
        const RunLayout layout(run, shape);
        ASSERT_EQ(layout.nodes(), inners + leaves);
        ASSERT_EQ(layout.node(0), first);
        std::vector<bool> used(run.chunks);
        for (std::uint64_t i = 0; i < layout.nodes(); ++i) {
          const std::uint32_t size = i < inners ? group : 1;
          const NodeRef ref(layout.node(i), run.birth);
          ASSERT_TRUE(run.has(ref, size));
          ASSERT_FALSE(shape.spans_slabs(ref.chunk(), size));
          for (std::uint32_t chunk = 0; chunk < size; ++chunk) {
            ASSERT_FALSE(used[ref.chunk() - first + chunk]);
            used[ref.chunk() - first + chunk] = true;
          }
        }
        ASSERT_TRUE(std::ranges::all_of(used, [](bool is_used) { return is_used; }));
      }
    }
  }
}

TEST(RunLayout, RefusesWhatNoTreeCanBe) {
  EXPECT_FALSE(RunLayout::is_sound({0, 0, 0, 1}, kThrees)) << "no node";
  EXPECT_FALSE(RunLayout::is_sound({0, 2, 0, 1}, kThrees)) << "two leaves without a parent";
  EXPECT_FALSE(RunLayout::is_sound({0, 6, 2, 1}, kThrees)) << "no leaf";
  EXPECT_FALSE(RunLayout::is_sound({62, 5, 1, 1}, kThrees)) << "a root in two slabs";
  EXPECT_FALSE(RunLayout::is_sound({59, 7, 2, 1}, kThrees)) << "a gap that no leaf fills";
  EXPECT_TRUE(RunLayout::is_sound({59, 8, 2, 1}, kThrees));
  EXPECT_FALSE(RunLayout::is_sound({0, UINT32_MAX, UINT32_MAX, 1}, kThrees));
}

}  // namespace
}  // namespace silurus::rtree
