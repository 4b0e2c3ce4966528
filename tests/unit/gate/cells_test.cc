// SPDX-License-Identifier: Apache-2.0

#include "gate/cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "tests/support/seed.h"
#include "tests/unit/gate/fake_source.h"

namespace silurus::gate {
namespace {

constexpr Area kWorld{{-180, -90, 0}, {180, 90, 0}};

bool is_less(const Entry<3>& a, const Entry<3>& b) {
  return std::tie(a.id, a.box.min, a.box.max) < std::tie(b.id, b.box.min, b.box.max);
}

std::vector<Entry<3>> sorted(std::vector<Entry<3>> entries) {
  std::sort(entries.begin(), entries.end(), is_less);
  return entries;
}

/// All that a walk finds; after every `page` entries it goes on as a new walk from its place.
std::vector<Entry<3>> walk(Source& source, const Area& window, Place at, std::uint64_t step,
                           std::size_t page) {
  std::vector<Entry<3>> all;
  for (;;) {
    CellWalk cells("default", Grid(window, 2), 1, at, step);
    for (std::size_t i = 0; i < page; ++i) {
      const auto entry = cells.peek(source);
      EXPECT_TRUE(entry) << entry.error().message;
      if (!entry || *entry == nullptr) return all;
      all.push_back(**entry);
      cells.pop();
    }
    const auto next = cells.peek(source);
    if (!next || *next == nullptr) return all;
    at = cells.place();
    EXPECT_TRUE(is_place(at));
  }
}

TEST(CellWalk, FindsEachEntryOnce) {
  const std::uint64_t seed = testing_support::seed(11);
  SCOPED_TRACE(seed);
  Random random(seed);
  FakeSource source(random_entries(random, 3000));
  for (const Area& window :
       {kWorld, Area{{-20, -10, 0}, {70, 33, 0}}, Area{{5, 5, 0}, {5, 5, 0}}}) {
    const auto expected = sorted(source.in(window));
    const Place begin = CellWalk::begin(expected.size(), 64);
    EXPECT_EQ(sorted(walk(source, window, begin, 64, SIZE_MAX)), expected);
  }
}

TEST(CellWalk, HasTheSameOrderInPagesOfAnySize) {
  const std::uint64_t seed = testing_support::seed(12);
  SCOPED_TRACE(seed);
  Random random(seed);
  FakeSource source(random_entries(random, 1000));
  const Place begin = CellWalk::begin(1000, 64);
  const auto whole = walk(source, kWorld, begin, 64, SIZE_MAX);
  for (const std::size_t page : {1, 7, 100}) {
    EXPECT_EQ(walk(source, kWorld, begin, 64, page), whole) << page;
  }
}

TEST(CellWalk, TakesEqualBoxesThatNoCellParts) {
  FakeSource source(std::vector<Entry<3>>(500, {.id = 3, .box = {{1, 1, 0}, {2, 2, 0}}}));
  EXPECT_EQ(walk(source, kWorld, {}, 16, SIZE_MAX).size(), 500u);
  EXPECT_LT(source.searches(), 500u);
}

TEST(CellWalk, TakesBoxesThatCoverEverything) {
  std::vector<Entry<3>> entries;
  for (std::uint64_t id = 0; id < 300; ++id) entries.push_back({id, kWorld});
  FakeSource source(entries);
  EXPECT_EQ(walk(source, {{0, 0, 0}, {1, 1, 0}}, CellWalk::begin(300, 16), 16, SIZE_MAX), entries);
  EXPECT_LT(source.searches(), 2000u);
}

TEST(CellWalk, HoldsAboutOneStepOfManyPoints) {
  const std::uint64_t seed = testing_support::seed(13);
  SCOPED_TRACE(seed);
  Random random(seed);
  std::vector<Entry<3>> entries;
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    const double x = random.uniform(0, 1);
    const double y = random.uniform(0, 1);
    entries.push_back({id, {{x * x * x, y, 0}, {x * x * x, y, 0}}});
  }
  FakeSource source(std::move(entries));
  EXPECT_EQ(
      walk(source, {{0, 0, 0}, {1, 1, 0}}, CellWalk::begin(20'000, 256), 256, SIZE_MAX).size(),
      20'000u);
  EXPECT_LE(source.most_found(), 513u);
}

TEST(CellWalk, TellsThatAVersionIsGone) {
  FakeSource source(one_entry());
  source.insert({.id = 2, .box = {}});
  source.forget(1);
  CellWalk cells("default", Grid(kWorld, 2), 1, {}, 16);
  const auto entry = cells.peek(source);
  ASSERT_FALSE(entry);
  EXPECT_TRUE(is_gone(entry.error()));
}

TEST(Extent, IsTheLeastBoxOfAllEntries) {
  const std::uint64_t seed = testing_support::seed(14);
  SCOPED_TRACE(seed);
  Random random(seed);
  const auto entries = random_entries(random, 200);
  Area expected = entries[0].box;
  for (const auto& entry : entries) {
    for (std::size_t d = 0; d < 2; ++d) {
      expected.min[d] = std::min(expected.min[d], entry.box.min[d]);
      expected.max[d] = std::max(expected.max[d], entry.box.max[d]);
    }
  }
  FakeSource source(entries);
  const auto extent = find_extent(source, "default", 2, 1);
  ASSERT_TRUE(extent && *extent);
  EXPECT_EQ(**extent, expected);
}

TEST(Extent, OfNothingIsNone) {
  FakeSource source({});
  const auto extent = find_extent(source, "default", 2, 1);
  ASSERT_TRUE(extent);
  EXPECT_FALSE(*extent);
}

TEST(Place, ThatAClientHasMadeUpIsNone) {
  EXPECT_TRUE(is_place({}));
  EXPECT_FALSE(is_place({.code = 1, .depth = 3}));
  EXPECT_FALSE(is_place({.code = kEndOfCodes, .depth = kMaxDepth}));
  EXPECT_FALSE(is_place({.code = 0, .depth = kMaxDepth + 1}));
}

}  // namespace
}  // namespace silurus::gate
