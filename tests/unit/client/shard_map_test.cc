// SPDX-License-Identifier: Apache-2.0

#include "silurus/shard_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "client/shards/hilbert.h"
#include "common/random.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::shards {
namespace {

using ::testing::HasSubstr;

ShardMap example(int dimensions = 2) {
  ShardMap map;
  map.epoch = 7;
  map.written_by = 0xfedcba9876543210;
  map.dimensions = dimensions;
  const auto size = static_cast<std::size_t>(dimensions);
  map.frame_min.assign(size, -180);
  map.frame_max.assign(size, 180);
  map.limit.assign(size, 0.5);
  map.next_id = 9;
  map.spares = {"tcp://spare:1", "tcp://spare:2,tcp://spare:3", "etcd://a:1,b:2/maps/8"};
  for (std::uint32_t i = 0; i < 4; ++i) {
    Shard shard;
    shard.id = i;
    shard.first = std::uint64_t{i} << 62;
    shard.servers = {"tcp://host" + std::to_string(i) + ":1"};
    map.shards.push_back(shard);
  }
  map.shards[3].servers = {"etcd://a:1,b:2/maps/7"};
  map.shards[1].successors = {{4, map.shards[1].first, {"tcp://a:1"}},
                              {5, map.shards[1].first + 77, {"tcp://b:1", "tcp://c:1"}}};
  return map;
}

template <int D>
std::uint64_t distance(const GridCell<D>& a, const GridCell<D>& b) {
  std::uint64_t sum = 0;
  for (int d = 0; d < D; ++d) sum += a[d] > b[d] ? a[d] - b[d] : b[d] - a[d];
  return sum;
}

template <int D>
void check_hilbert() {
  constexpr std::uint64_t kStep = std::uint64_t{1} << (64 - D * kGridBits<D>);
  Random random(testing_support::seed(1));
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t key = random() / kStep * kStep;
    const GridCell<D> cell = hilbert_cell<D>(key);
    EXPECT_EQ(hilbert_key<D>(cell), key);
    if (key + kStep != 0) {
      EXPECT_EQ(distance<D>(cell, hilbert_cell<D>(key + kStep)), 1u) << key;
    }
    // A range of keys whose length is a power of 2^D, and which begins at a multiple of it, is a
    // cube.
    const int halvings = static_cast<int>(random.below(kGridBits<D>)) + 1;
    const int below = kGridBits<D> - halvings;
    const GridCell<D> first = hilbert_cell<D>(key >> (64 - D * halvings) << (64 - D * halvings));
    for (int d = 0; d < D; ++d)
      EXPECT_EQ(std::uint64_t{first[d]} >> below, std::uint64_t{cell[d]} >> below);
  }
}

TEST(Hilbert, KeysThatFollowEachOtherAreNeighboursAndAlignedRangesAreCubes) {
  check_hilbert<2>();
  check_hilbert<3>();
}

template <int D>
void check_reach() {
  Random random(testing_support::seed(2));
  ShardMap map = example(D);
  map.frame_min.assign(D, -0.1);
  map.frame_max.assign(D, 1.3e7);
  map.limit.assign(D, 3e4);
  const Space<D> space(map);
  int ordinary = 0;
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t a = random() >> random.below(30);
    const std::uint64_t b = random() >> random.below(30);
    const std::uint64_t first = std::min(a, b);
    const std::uint64_t last = std::max(a, b);
    const auto reach = space.reach(first, last);
    ASSERT_FALSE(reach.empty());
    ASSERT_LE(reach.size(), Space<D>::kMaxReachBoxes);
    for (int i = 0; i < 100; ++i) {
      rtree::Box<D> box;
      // Some near the ends of the range, where a cover could be too tight.
      const GridCell<D> near = hilbert_cell<D>((i % 2 == 0 ? first : last) + random.below(1000));
      for (int d = 0; d < D; ++d) {
        const double centre = i % 3 == 0
                                  ? -1e6 + 1.5e7 * random.uniform()
                                  : -0.1 + (1.3e7 + 0.1) * (near[d] / std::ldexp(1, kGridBits<D>));
        const double half = i % 5 == 0 ? 3e4 : 3.1e4 * random.uniform();
        box.min[d] = centre - half;
        box.max[d] = centre + half;
      }
      const std::uint64_t key = space.key(box);
      if (key == 0 || key < first || key > last) continue;
      ++ordinary;
      EXPECT_TRUE(std::ranges::any_of(
          reach, [&](const auto& cell) { return rtree::intersects(cell, box); }));
      // And all of it, in the boxes together: so any window that meets it meets one of them.
      for (int corner = 0; corner < (1 << D); ++corner) {
        rtree::Box<D> point;
        for (int d = 0; d < D; ++d) {
          point.min[d] = point.max[d] = (corner >> d & 1) != 0 ? box.max[d] : box.min[d];
        }
        EXPECT_TRUE(std::ranges::any_of(
            reach, [&](const auto& cell) { return rtree::contains(cell, point); }));
      }
    }
  }
  EXPECT_GT(ordinary, 1000);
}

TEST(Space, EveryEntryOfAShardLiesInItsReach) {
  check_reach<2>();
  check_reach<3>();
}

TEST(Space, WhatIsTooLargeOrOutsideHasKeyZero) {
  const Space<2> space(example());
  EXPECT_NE(space.key({{10, 10}, {10.5, 10.5}}), 0u);
  EXPECT_EQ(space.key({{10, 10}, {13, 10.5}}), 0u) << "too large";
  EXPECT_EQ(space.key({{200, 10}, {200, 10}}), 0u) << "outside";
  const double huge = std::numeric_limits<double>::max();
  EXPECT_EQ(space.key({{-huge, -huge}, {huge, huge}}), 0u);
}

TEST(ShardMapText, ReadsBackAsItWasWritten) {
  for (const int dimensions : {2, 3}) {
    const ShardMap map = example(dimensions);
    ASSERT_TRUE(check(map));
    const auto again = decode(encode(map));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, map);
  }
}

TEST(ShardMapText, RefusesWhatMakesNoSense) {
  const auto refusal = [](auto&& spoil) {
    ShardMap map = example();
    spoil(map);
    const auto checked = check(map);
    EXPECT_FALSE(checked);
    EXPECT_FALSE(decode(encode(map))) << "what is not written is not read either";
    return checked ? std::string() : checked.error().message;
  };
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards.erase(map.shards.begin()); }),
              HasSubstr("no shard has key 0"));
  EXPECT_THAT(refusal([](ShardMap& map) { std::swap(map.shards[2], map.shards[3]); }),
              HasSubstr("not in order"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[2].servers = map.shards[1].servers; }),
              HasSubstr("named twice"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[2].id = 1; }), HasSubstr("there twice"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[2].id = 9; }), HasSubstr("next_id"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[2].servers.clear(); }), HasSubstr("servers"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.frame_max[1] = -180; }), HasSubstr("no extent"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.limit[0] = -1; }), HasSubstr("limit"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[1].successors[0].first += 1; }),
              HasSubstr("another range"));
  EXPECT_THAT(
      refusal([](ShardMap& map) { map.shards[1].successors[1].first = map.shards[2].first; }),
      HasSubstr("another range"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.spares = {"nowhere"}; }), HasSubstr("nowhere"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.spares = {""}; }), HasSubstr("no address"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.spares = {"etcd://a:1/maps"}; }),
              HasSubstr("which of its groups"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.spares = {"etcd://a:1/maps/x"}; }),
              HasSubstr("not a number"));
  EXPECT_THAT(refusal([](ShardMap& map) { map.shards[3].servers.push_back("tcp://z:1"); }),
              HasSubstr("no servers beside it"));
}

TEST(ShardMapText, GarbageIsRefusedOrIsAMap) {
  Random random(testing_support::seed(3));
  const std::string good = encode(example());
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = testing_support::damaged(random, good);
    const auto map = decode(text);
    if (!map) continue;
    ++accepted;
    EXPECT_TRUE(check(*map)) << text;
  }
  EXPECT_GT(accepted, 0) << "some changes do no harm";
  EXPECT_FALSE(decode(std::string(kMaxMapBytes + 1, ' ')));
  EXPECT_FALSE(decode(std::string(100'000, '[')));
  EXPECT_FALSE(decode(""));
}

TEST(ShardMapText, KeysAreHexadecimalFractions) {
  EXPECT_EQ(key_text(0xa000000000000001), "a000000000000001");
  EXPECT_EQ(parse_key("a").value(), std::uint64_t{0xa} << 60);
  EXPECT_EQ(parse_key("a000000000000001").value(), 0xa000000000000001u);
  for (const char* bad : {"", "-1", "0x8", "g", "12345678901234567"}) EXPECT_FALSE(parse_key(bad));
}

}  // namespace
}  // namespace silurus::shards
