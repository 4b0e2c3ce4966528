// SPDX-License-Identifier: Apache-2.0

#include "client/node_cache.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "common/random.h"

namespace silurus::client {
namespace {

constexpr std::size_t kNode = 128;
using Bytes = std::array<std::byte, kNode>;

Bytes filled(std::uint64_t value) {
  Bytes bytes;
  for (std::size_t i = 0; i < kNode; i += 8) std::memcpy(bytes.data() + i, &value, 8);
  return bytes;
}

std::uint64_t value_of(const std::byte* node) {
  std::uint64_t value;
  std::memcpy(&value, node + kNode - 8, 8);
  return value;
}

TEST(NodeCache, FindsWhatWasPut) {
  NodeCache cache(1 << 16, kNode);
  const rtree::NodeRef ref(7, 3);
  EXPECT_EQ(cache.find(ref), nullptr);
  cache.put(ref, filled(42));
  ASSERT_NE(cache.find(ref), nullptr);
  EXPECT_EQ(value_of(cache.find(ref)), 42u);
  EXPECT_EQ(cache.find(rtree::NodeRef(7, 4)), nullptr);
  EXPECT_EQ(cache.find(rtree::NodeRef(8, 3)), nullptr);
}

TEST(NodeCache, NeverHoldsMoreThanItsBudget) {
  NodeCache cache(100 * kNode, kNode);
  EXPECT_EQ(cache.capacity(), 100u);
  for (std::uint32_t i = 1; i <= 1'000; ++i) cache.put(rtree::NodeRef(i, 1), filled(i));
  EXPECT_EQ(cache.size(), 100u);
}

TEST(NodeCache, KeepsWhatIsUsedAndEvictsWhatIsNot) {
  NodeCache cache(100 * kNode, kNode);
  for (std::uint32_t i = 1; i <= 2'000; ++i) {
    cache.put(rtree::NodeRef(i, 1), filled(i));
    for (std::uint32_t hot = 1; hot <= std::min(i, 10u); ++hot) cache.find(rtree::NodeRef(hot, 1));
  }
  for (std::uint32_t hot = 1; hot <= 10; ++hot) {
    EXPECT_NE(cache.find(rtree::NodeRef(hot, 1)), nullptr) << hot;
  }
  EXPECT_EQ(cache.find(rtree::NodeRef(11, 1)), nullptr);
}

TEST(NodeCache, ARenamedNodeIsFoundByItsNewNameAlone) {
  NodeCache cache(1 << 16, kNode);
  cache.put(rtree::NodeRef(7, 3), filled(42));
  std::byte* renamed = cache.rename(rtree::NodeRef(7, 3), rtree::NodeRef(9, 4));
  ASSERT_NE(renamed, nullptr);
  EXPECT_EQ(value_of(renamed), 42u);
  EXPECT_EQ(cache.find(rtree::NodeRef(7, 3)), nullptr);
  EXPECT_EQ(cache.find(rtree::NodeRef(9, 4)), renamed);
  EXPECT_EQ(cache.size(), 1u);
}

TEST(NodeCache, RenamesNothingThatIsNotThereOrWouldBeTwice) {
  NodeCache cache(1 << 16, kNode);
  cache.put(rtree::NodeRef(7, 3), filled(42));
  cache.put(rtree::NodeRef(9, 4), filled(43));
  EXPECT_EQ(cache.rename(rtree::NodeRef(8, 3), rtree::NodeRef(8, 4)), nullptr);
  EXPECT_EQ(cache.find(rtree::NodeRef(8, 4)), nullptr);
  EXPECT_EQ(cache.rename(rtree::NodeRef(7, 3), rtree::NodeRef(9, 4)), nullptr);
  EXPECT_EQ(value_of(cache.find(rtree::NodeRef(7, 3))), 42u);
  EXPECT_EQ(value_of(cache.find(rtree::NodeRef(9, 4))), 43u);
}

TEST(NodeCache, FindsAllNodesAfterManyWereRenamed) {
  NodeCache cache(200 * kNode, kNode);
  Random random(1);
  std::vector<rtree::NodeRef> names;
  for (std::uint32_t i = 0; i < 200; ++i) {
    names.emplace_back(i + 1, 1);
    cache.put(names.back(), filled(i));
  }
  for (std::uint32_t version = 2; version < 5'000; ++version) {
    const std::size_t i = random.below(names.size());
    const rtree::NodeRef name(static_cast<std::uint32_t>(1 + random.below(1'000)), version);
    ASSERT_NE(cache.rename(names[i], name), nullptr);
    names[i] = name;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    ASSERT_NE(cache.find(names[i]), nullptr) << i;
    EXPECT_EQ(value_of(cache.find(names[i])), i);
  }
}

TEST(NodeCache, ForgetsEverythingWhenBit35OfTheVersionFlips) {
  NodeCache cache(1 << 16, kNode);
  const rtree::Version flip = rtree::Version{1} << 35;
  cache.observe(flip - 2);
  cache.put(rtree::NodeRef(7, flip - 2), filled(1));
  cache.observe(flip - 1);
  EXPECT_EQ(cache.size(), 1u);
  cache.observe(flip);
  EXPECT_EQ(cache.size(), 0u);
  cache.put(rtree::NodeRef(7, flip), filled(2));
  // Exactly one turn of the names later, even if no version in between was seen.
  cache.observe(flip + (rtree::Version{1} << 36));
  EXPECT_EQ(cache.find(rtree::NodeRef(7, flip)), nullptr);
}

TEST(NodeCache, AgreesWithAMapThroughRandomUse) {
  constexpr std::uint64_t kSeed = 5;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  NodeCache cache(64 * kNode, kNode);
  std::unordered_map<std::uint64_t, std::uint64_t> put;
  for (int i = 0; i < 100'000; ++i) {
    const rtree::NodeRef ref(static_cast<std::uint32_t>(1 + random.below(20)), random.below(20));
    if (random.below(2) == 0) {
      const std::uint64_t value = put.try_emplace(ref.word(), random()).first->second;
      cache.put(ref, filled(value));
      ASSERT_NE(cache.find(ref), nullptr);
    }
    if (const std::byte* node = cache.find(ref)) {
      ASSERT_TRUE(put.contains(ref.word()));
      ASSERT_EQ(value_of(node), put[ref.word()]);
    }
    ASSERT_LE(cache.size(), 64u);
  }
}

}  // namespace
}  // namespace silurus::client
