// SPDX-License-Identifier: Apache-2.0

#include "rtree/node.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "common/random.h"
#include "rtree/cursor.h"
#include "rtree/geometry.h"
#include "rtree/grouping.h"
#include "rtree/kernels.h"
#include "rtree/split.h"
#include "tests/support/seed.h"

namespace silurus::rtree {
namespace {

constexpr double kCorners[] = {0.0,
                               -0.0,
                               5e-324,
                               -5e-324,
                               2.2250738585072014e-308,
                               -1e-310,
                               1e-46,
                               -1e-46,
                               1.0,
                               1.0000000000000002,
                               -0.9999999999999999,
                               16777217.0,
                               -16777217.0,
                               3.4028234663852886e38,
                               3.5e38,
                               -3.5e38,
                               1.7976931348623157e308,
                               -1.7976931348623157e308};

/// Numbers of every exponent, and those where formats end.
double any_double(Random& random) {
  if (random.below(4) == 0) return kCorners[random.below(std::size(kCorners))];
  double value;
  do {
    value = std::bit_cast<double>(random());
  } while (!std::isfinite(value));
  return value;
}

template <int D>
Box<D> any_box(Random& random) {
  Box<D> box;
  for (int d = 0; d < D; ++d) {
    const double a = any_double(random);
    const double b = random.below(8) == 0 ? a : any_double(random);
    box.min[d] = std::min(a, b);
    box.max[d] = std::max(a, b);
  }
  return box;
}

TEST(Keys, OrderAsTheNumbersDo) {
  Random random(testing_support::seed(1));
  for (int i = 0; i < 200'000; ++i) {
    const double a = any_double(random);
    const double b = any_double(random);
    ASSERT_EQ(order_key(a) <= upper_key(b), a <= b) << a << " " << b;
    ASSERT_EQ(order_key(a) >= lower_key(b), a >= b) << a << " " << b;
  }
}

TEST(Keys, GiveBackEveryBit) {
  Random random(testing_support::seed(2));
  for (int i = 0; i < 100'000; ++i) {
    const double value = any_double(random);
    const std::int64_t key = order_key(value);
    const double back = from_order_key(join_words(high_word(key), low_word(key)));
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back), std::bit_cast<std::uint64_t>(value));
  }
}

/// Intervals for grids: of every exponent, of no extent, so long that double cannot hold it, far
/// from zero.
std::pair<double, double> any_interval(Random& random, int round) {
  double low = any_double(random);
  double high = random.below(8) == 0 ? low : any_double(random);
  if (round % 4 == 1) {  // far from zero: a time in milliseconds
    low = 1.7e12 + 1e6 * random.uniform();
    high = low + random.uniform() * (round % 8 == 1 ? 1e-3 : 1e6);
  }
  if (round % 4 == 2) {
    low = random.uniform();
    high = low + random.uniform();
  }
  return std::minmax(low, high);
}

/// Numbers of an interval: its ends, their neighbours, and some between.
double number_in(Random& random, double low, double high) {
  double x = 0;
  switch (random.below(6)) {
    case 0:
      x = low;
      break;
    case 1:
      x = high;
      break;
    case 2:
      x = std::nextafter(low, high);
      break;
    case 3:
      x = std::nextafter(high, low);
      break;
    case 4:
      x = any_double(random);
      break;
    default:
      x = low + random.uniform() * (0.5 * high - 0.5 * low) * 2;
  }
  return std::clamp(x, low, high);
}

TEST(Cells, NeverDecreaseAndLeadBackOutward) {
  Random random(testing_support::seed(9));
  for (int round = 0; round < 40'000; ++round) {
    const auto [low, high] = any_interval(random, round);
    const double scale = cell_scale(low, high);
    ASSERT_TRUE(scale > 0 && std::isfinite(scale)) << low << " " << high;
    std::array<double, 12> numbers;
    for (double& x : numbers) x = number_in(random, low, high);
    numbers[0] = any_double(random);  // a window's edge may lie anywhere
    std::sort(numbers.begin(), numbers.end());
    std::int32_t last = kLeastCell;
    for (const double x : numbers) {
      const Cell cell = cell_of(x, low, scale);
      ASSERT_GE(cell, last) << x << " in " << low << " to " << high;
      last = cell;
      if (x < low || x > high) continue;
      ASSERT_LE(least_of(cell, low, 1 / scale), x) << "in " << low << " to " << high;
      ASSERT_GE(greatest_of(cell, low, high, 1 / scale), x) << "in " << low << " to " << high;
    }
  }
}

TEST(Cells, AreAsFineFarFromZero) {
  const double low = 1.7e12;
  const double high = low + 65'535;
  const double scale = cell_scale(low, high);
  for (int i = 0; i < 65'535; ++i) {
    ASSERT_EQ(cell_of(low + i + 0.5, low, scale), kLeastCell + i);
  }
  EXPECT_EQ(cell_of(low, low, scale), kLeastCell);
  EXPECT_EQ(cell_of(high, low, scale), kGreatestCell);
  EXPECT_EQ(cell_of(-1e308, low, scale), kLeastCell);
  EXPECT_EQ(cell_of(1e308, low, scale), kGreatestCell);
}

template <typename T>
class NodeOf : public testing::Test {};
template <int D>
struct Dimension {
  static constexpr int kD = D;
};
using Dimensions = testing::Types<Dimension<2>, Dimension<3>>;
TYPED_TEST_SUITE(NodeOf, Dimensions);

/// The box of all boxes, in which an inner node of them has its grid.
template <int D>
Box<D> bounds_of(const std::vector<Box<D>>& boxes) {
  Box<D> bounds = boxes[0];
  for (const Box<D>& box : boxes) extend(bounds, box);
  return bounds;
}

/// Makes an inner node of such children; that of boxes[i] is in chunk `first_chunk` + i.
template <int D>
void set_children(Node<D>& node, const std::vector<Box<D>>& boxes, std::uint32_t first_chunk) {
  node.reset(1, 1);
  node.fit(bounds_of(boxes));
  node.header.count = static_cast<std::uint32_t>(boxes.size());
  for (std::uint32_t i = 0; i < boxes.size(); ++i) {
    node.set_child(i, NodeRef(first_chunk + i, 1), boxes[i]);
  }
}

TYPED_TEST(NodeOf, GivesBackEntriesExactly) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(4));
  auto node = std::make_unique<Node<D>>();
  node->reset(1, 0);
  std::array<Entry<D>, kLeafFanout<D>> entries;
  for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) {
    entries[i] = {random(), any_box<D>(random)};
    node->set_entry(i, entries[i]);
  }
  for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) {
    EXPECT_EQ(node->entry(i), entries[i]);
    EXPECT_EQ(std::signbit(node->entry(i).box.min[0]), std::signbit(entries[i].box.min[0]));
  }
}

TYPED_TEST(NodeOf, ScansAsPlainComparisonsDo) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(5));
  auto leaf = std::make_unique<Node<D>>();
  auto inner = std::make_unique<Node<D>>();
  for (int round = 0; round < 400; ++round) {
    leaf->reset(1, 0);
    leaf->header.count = static_cast<std::uint32_t>(random.below(kLeafFanout<D> + 1));
    std::vector<Box<D>> boxes(1 + random.below(kInnerFanout<D>));
    for (Box<D>& box : boxes) box = any_box<D>(random);
    // Places beyond the count hold anything.
    std::memset(static_cast<void*>(&inner->inner), round % 256, sizeof(inner->inner));
    set_children(*inner, boxes, 10);
    for (std::uint32_t i = 0; i < leaf->count(); ++i) leaf->set_entry(i, {i, any_box<D>(random)});
    RangeQuery<D> query{.window = any_box<D>(random)};
    if (leaf->count() > 0 && round % 2 == 0) query.window = leaf->entry_box(0);
    for (const auto predicate :
         {Predicate::kIntersects, Predicate::kWithin, Predicate::kContains}) {
      query.predicate = predicate;
      const auto limits = RangeLimits<D>::of(query.window, predicate);
      const EntryMask found = kernels<D>().scan_leaf(*leaf, limits, kAllGroups);
      const auto groups = static_cast<GroupMask>(random());
      std::uint64_t of_groups = 0;
      for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) {
        if ((groups >> g & 1) != 0) of_groups |= std::uint64_t{0xF} << (g * kGroupFanout);
      }
      EXPECT_EQ(kernels<D>().scan_leaf(*leaf, limits, groups).words[0], found.words[0] & of_groups);
      for (std::uint32_t i = 0; i < 64; ++i) {
        const bool expected = i < leaf->count() && matches(query, leaf->entry_box(i));
        ASSERT_EQ((found.words[0] >> i & 1) != 0, expected);
      }
      const EntryMask wanted = kernels<D>().scan_inner(*inner, limits);
      for (std::uint32_t i = 0; i < inner->count(); ++i) {
        // A child whose box were an answer must not be missed.
        ASSERT_TRUE(!matches(query, boxes[i]) || (wanted.words[i / 64] >> (i % 64) & 1) != 0);
      }
      for (std::uint32_t i = inner->count(); i < kMaxFanout; ++i) {
        ASSERT_FALSE(wanted.words[i / 64] >> (i % 64) & 1);
      }
    }
  }
}

TYPED_TEST(NodeOf, TakesZerosOfBothSignsForTheSame) {
  constexpr int D = TypeParam::kD;
  auto leaf = std::make_unique<Node<D>>();
  leaf->reset(1, 0);
  leaf->header.count = 1;
  const auto box_between = [](double min, double max) {
    Box<D> box;
    box.min.fill(min);
    box.max.fill(max);
    return box;
  };
  const auto expect_found = [&](const Box<D>& entry, const Box<D>& window) {
    leaf->set_entry(0, {7, entry});
    for (const auto predicate :
         {Predicate::kIntersects, Predicate::kWithin, Predicate::kContains}) {
      const auto limits = RangeLimits<D>::of(window, predicate);
      EXPECT_EQ(kernels<D>().scan_leaf(*leaf, limits, kAllGroups).words[0], 1u) << int(predicate);
    }
  };
  for (const double zero : {0.0, -0.0}) {
    expect_found(box_between(zero, 1), box_between(-zero, 1));
    expect_found(box_between(-1, zero), box_between(-1, -zero));
    expect_found(box_between(zero, zero), box_between(-zero, -zero));
  }
}

TYPED_TEST(NodeOf, CoversEachChildByItsCells) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(10));
  auto inner = std::make_unique<Node<D>>();
  for (int round = 0; round < 2000; ++round) {
    std::vector<Box<D>> boxes(1 + random.below(kInnerFanout<D>));
    std::array<std::pair<double, double>, D> sides;
    for (auto& side : sides) side = any_interval(random, round);
    for (Box<D>& box : boxes) {
      for (int d = 0; d < D; ++d) {
        const double a = number_in(random, sides[d].first, sides[d].second);
        const double b = number_in(random, sides[d].first, sides[d].second);
        std::tie(box.min[d], box.max[d]) = std::minmax(a, b);
      }
    }
    set_children(*inner, boxes, 10);
    for (std::uint32_t i = 0; i < boxes.size(); ++i) {
      ASSERT_TRUE(contains(inner->child_box(i), boxes[i]))
          << "child " << i << " of round " << round;
      ASSERT_TRUE(contains(inner->bounds, inner->child_box(i)));
    }
  }
}

TYPED_TEST(NodeOf, PassesOverNodesThatLieApartFromTheWindow) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(11));
  auto inner = std::make_unique<Node<D>>();
  for (int round = 0; round < 2000; ++round) {
    std::vector<Box<D>> boxes(1 + random.below(kInnerFanout<D>));
    for (Box<D>& box : boxes) box = any_box<D>(random);
    set_children(*inner, boxes, 10);
    const Box<D> window = any_box<D>(random);
    if (intersects(window, inner->bounds)) continue;
    const auto limits = RangeLimits<D>::of(window, Predicate::kIntersects);
    ASSERT_TRUE(kernels<D>().scan_inner(*inner, limits).empty());
  }
}

TYPED_TEST(NodeOf, TellsWhichLeavesTheWindowCovers) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(8));
  auto inner = std::make_unique<Node<D>>();
  std::uint64_t told = 0;
  std::uint64_t covered = 0;
  for (int round = 0; round < 600; ++round) {
    const bool is_plain = round % 2 == 0;  // else of every exponent, mostly in the same few cells
    std::vector<Box<D>> boxes(1 + random.below(kInnerFanout<D>));
    Box<D> window = any_box<D>(random);
    const auto plain_box = [&](double most) {
      Box<D> box;
      for (int d = 0; d < D; ++d) {
        box.min[d] = random.uniform();
        box.max[d] = box.min[d] + most * random.uniform();
      }
      return box;
    };
    if (is_plain) window = plain_box(1);
    for (Box<D>& box : boxes) box = is_plain ? plain_box(0.1) : any_box<D>(random);
    set_children(*inner, boxes, 0);
    const auto predicate = static_cast<Predicate>(round % 3);
    WantedLeaf wanted[kInnerFanout<D>];
    const auto limits = RangeLimits<D>::of(window, predicate);
    const std::uint32_t count = kernels<D>().gather_leaves(*inner, limits, wanted);
    ASSERT_EQ(count, kernels<D>().scan_inner(*inner, limits).count());
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(wanted[i].groups, kAllGroups) << "no directory is known";
      const Box<D>& box = boxes[NodeRef::from_word(wanted[i].word).chunk()];
      const bool is_within = contains(window, box) && predicate != Predicate::kContains;
      ASSERT_TRUE(!wanted[i].is_covered || is_within);
      told += is_plain && wanted[i].is_covered ? 1 : 0;
      covered += is_plain && is_within ? 1 : 0;
    }
  }
  // Only edges in the same cell are not told apart.
  EXPECT_GE(static_cast<double>(told), 0.99 * static_cast<double>(covered));
  EXPECT_GT(covered, 100u);
}

/// A leaf of random entries within a box.
template <int D>
void fill_leaf(Node<D>& leaf, const Box<D>& within, Random& random) {
  leaf.reset(1, 0);
  leaf.header.count = static_cast<std::uint32_t>(1 + random.below(kLeafFanout<D>));
  leaf.header.entries = leaf.header.count;
  for (std::uint32_t i = 0; i < leaf.count(); ++i) {
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      const double a = number_in(random, within.min[d], within.max[d]);
      const double b = random.below(3) == 0 ? a : number_in(random, within.min[d], within.max[d]);
      std::tie(box.min[d], box.max[d]) = std::minmax(a, b);
    }
    leaf.set_entry(i, {i, box});
  }
  leaf.bounds = bounds_of_entries(leaf);
}

/// A parent of some leaves, with their directories.
template <int D>
class ChildQueue {
 public:
  ChildQueue(Random& random, int round) {
    parent.reset(1, 1);
    leaves.resize(1 + random.below(8));
    std::array<std::pair<double, double>, D> sides;
    for (auto& side : sides) side = any_interval(random, round);
    for (Node<D>& leaf : leaves) {
      Box<D> within;
      for (int d = 0; d < D; ++d) {
        const double a = number_in(random, sides[d].first, sides[d].second);
        const double b = number_in(random, sides[d].first, sides[d].second);
        std::tie(within.min[d], within.max[d]) = std::minmax(a, b);
      }
      fill_leaf(leaf, within, random);
    }
    parent.header.count = static_cast<std::uint32_t>(leaves.size());
    Box<D> bounds = leaves[0].bounds;
    for (const Node<D>& leaf : leaves) extend(bounds, leaf.bounds);
    parent.fit(bounds);
    for (std::uint32_t i = 0; i < parent.count(); ++i) {
      parent.set_child(i, NodeRef(i, 1), leaves[i].bounds);
      parent.inner.directories[i] = directory_of(parent, i, leaves[i]);
    }
  }
  /// Makes the parent's box wider, or narrower again.
  void move(Random& random, int round) {
    Box<D> bounds = leaves[0].bounds;
    for (const Node<D>& leaf : leaves) extend(bounds, leaf.bounds);
    for (int d = 0; d < D; ++d) {
      const auto [low, high] = any_interval(random, round);
      if (random.below(3) == 0) bounds.min[d] = std::min(bounds.min[d], low);
      if (random.below(3) == 0) bounds.max[d] = std::max(bounds.max[d], high);
    }
    parent.refit(bounds, [&](std::uint32_t i) { return leaves[i].bounds; });
  }

  Node<D> parent;
  std::vector<Node<D>> leaves;
};

TYPED_TEST(NodeOf, MakesDirectoriesThatCoverAllEntriesWithEachInstructionSet) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(13));
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (int round = 0; round < 200; ++round) {
      ChildQueue<D> family(random, round);
      for (std::uint32_t l = 0; l < family.parent.count(); ++l) {
        Node<D>& leaf = family.leaves[l];
        group_entries(leaf);
        const LeafDirectory<D> directory = directory_of(family.parent, l, leaf);
        for (std::uint32_t i = 0; i < leaf.count(); ++i) {
          const Box<D> box = leaf.entry_box(i);
          for (int d = 0; d < D; ++d) {
            const GroupGrid grid = family.parent.group_grid(l, d);
            const auto cell_of = [&](double x) {
              return group_cell_of(
                  steps_of(x, family.parent.bounds.min[d], family.parent.inner.scale[d]), grid);
            };
            ASSERT_LE(directory.cells[2 * d][i / kGroupFanout], cell_of(box.min[d]))
                << hwy::TargetName(target);
            ASSERT_GE(directory.cells[2 * d + 1][i / kGroupFanout], cell_of(box.max[d]))
                << hwy::TargetName(target);
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TYPED_TEST(NodeOf, MissesNoGroupThatHoldsAnAnswer) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(12));
  std::uint64_t answers = 0;
  std::uint64_t left_out = 0;
  for (int round = 0; round < 4000; ++round) {
    ChildQueue<D> family(random, round);
    const std::uint64_t moves = random.below(4);
    for (std::uint64_t i = 0; i < moves; ++i) family.move(random, round);
    const Node<D>& some = family.leaves[random.below(family.leaves.size())];
    for (const auto predicate :
         {Predicate::kIntersects, Predicate::kWithin, Predicate::kContains}) {
      RangeQuery<D> query{.window = some.entry_box(0), .predicate = predicate};
      const auto limits = RangeLimits<D>::of(query.window, predicate);
      WantedLeaf wanted[kInnerFanout<D>];
      const std::uint32_t count = kernels<D>().gather_leaves(family.parent, limits, wanted);
      std::vector<GroupMask> groups(family.leaves.size());
      for (std::uint32_t i = 0; i < count; ++i) {
        groups[NodeRef::from_word(wanted[i].word).chunk()] = wanted[i].groups;
      }
      for (std::size_t l = 0; l < family.leaves.size(); ++l) {
        const Node<D>& leaf = family.leaves[l];
        for (std::uint32_t i = 0; i < leaf.count(); ++i) {
          const bool is_wanted = (groups[l] >> (i / kGroupFanout) & 1) != 0;
          const bool is_answer = matches(query, leaf.entry_box(i));
          ASSERT_TRUE(is_wanted || !is_answer) << "round " << round << ", " << moves << " moves";
          answers += is_answer ? 1 : 0;
          left_out += is_wanted ? 0 : 1;
        }
      }
    }
  }
  EXPECT_GT(answers, 4000u);
  EXPECT_GT(left_out, 4000u) << "directories tell something";
}

TYPED_TEST(NodeOf, MeasuresDistancesAsSquaredDistanceDoes) {
  constexpr int D = TypeParam::kD;
  Random random(testing_support::seed(6));
  auto leaf = std::make_unique<Node<D>>();
  auto inner = std::make_unique<Node<D>>();
  for (int round = 0; round < 200; ++round) {
    leaf->reset(1, 0);
    leaf->header.count = kLeafFanout<D>;
    std::vector<Box<D>> boxes(kLeafFanout<D>);
    for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) {
      Box<D>& box = boxes[i];
      box = any_box<D>(random);
      if (round % 2 == 0) {
        for (int d = 0; d < D; ++d) {
          box.min[d] = random.uniform();
          box.max[d] = box.min[d] + 0.1 * random.uniform();
        }
      }
      leaf->set_entry(i, {i, box});
    }
    set_children(*inner, boxes, 10);
    Point<D> point;
    for (double& at : point.at) at = round % 2 == 0 ? random.uniform() : any_double(random);
    alignas(64) double exact[kMaxFanout];
    alignas(64) double bound[kMaxFanout];
    kernels<D>().leaf_distances(*leaf, point, exact);
    kernels<D>().inner_distances(*inner, point, bound);
    for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) {
      ASSERT_EQ(exact[i], squared_distance(point, leaf->entry_box(i)));
      ASSERT_LE(bound[i], exact[i]);
    }
  }
}

TEST(Kernels, FindTheLeastAndTheKth) {
  Random random(testing_support::seed(7));
  for (int round = 0; round < 2000; ++round) {
    const auto count = static_cast<std::uint32_t>(1 + random.below(kMaxRanked));
    const auto k = static_cast<std::uint32_t>(1 + random.below(count));
    alignas(64) std::array<double, kMaxRanked> values{};
    for (double& value : values) {
      value = round % 2 == 0 ? random.uniform() : std::abs(any_double(random));
    }
    std::array<double, kMaxRanked> sorted = values;
    std::sort(sorted.begin(), sorted.begin() + count);
    const double kth = kernels<2>().kth_least(values.data(), count, k);
    ASSERT_GE(kth, sorted[k - 1]);
    const bool ordinary = sorted[k - 1] > 1e-30 && sorted[k - 1] < 1e30;
    ASSERT_TRUE(!ordinary || kth <= sorted[k - 1] * (1 + 1e-6));
    std::array<std::uint64_t, kMaxRanked> ranks{};
    kernels<2>().rank(values.data(), count, ranks.data());
    for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(sorted[ranks[i]], values[i]);
    const std::uint32_t least = kernels<2>().least(values.data(), count);
    ASSERT_EQ(values[least], sorted[0]);
  }
}

TEST(NodeRef, HoldsTheChunkAndTheLowBitsOfTheBirth) {
  const NodeRef ref(12345, (Version{1} << 40) + 77);
  EXPECT_EQ(ref.chunk(), 12345u);
  EXPECT_EQ(ref.birth(), 77u);
  EXPECT_TRUE(ref.is_born_in((Version{1} << 40) + 77));
  EXPECT_TRUE(ref.is_born_in(77));
  EXPECT_FALSE(ref.is_born_in(78));
  EXPECT_EQ(NodeRef::from_word(ref.word()), ref);
  EXPECT_FALSE(NodeRef());
  EXPECT_EQ(NodeRef(NodeRef::kMaxChunks - 1, 1).chunk(), NodeRef::kMaxChunks - 1);
}

TEST(Geometry, RefusesWhatIsNotABoxAndNamesTheField) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(check_box<2>({{0, 0}, {0, 0}}).has_value());
  const Status not_a_number = check_box<2>({{0, nan}, {1, 1}});
  ASSERT_FALSE(not_a_number.has_value());
  EXPECT_EQ(not_a_number.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(not_a_number.error().message.find("box.min[1] is nan"), std::string::npos);
  const Status endless = check_box<3>({{0, 0, 0}, {1, 1, infinity}}, "window");
  ASSERT_FALSE(endless.has_value());
  EXPECT_NE(endless.error().message.find("window.max[2] is inf"), std::string::npos);
  const Status just_inverted = check_box<2>({{0, 0}, {-1e-7, 1}}, "window");
  ASSERT_FALSE(just_inverted);
  EXPECT_EQ(just_inverted.error().message, "window.min[0] = 0 is above window.max[0] = -1e-07");
  const Status inverted = check_box<2>({{2, 0}, {1, 1}});
  ASSERT_FALSE(inverted.has_value());
  EXPECT_NE(inverted.error().message.find("box.min[0] = 2"), std::string::npos);
  const Status point = check_point<2>({{0, -infinity}});
  ASSERT_FALSE(point.has_value());
  EXPECT_NE(point.error().message.find("point[1] is -inf"), std::string::npos);
}

/// A sound node of level `level`, born in version 9, with its checksum.
std::unique_ptr<Node<2>> sound_node(std::uint32_t level) {
  auto node = std::make_unique<Node<2>>();
  std::memset(static_cast<void*>(node.get()), 0, sizeof(*node));
  node->reset(9, level);
  if (level != 0) node->fit({{0, 0}, {1, 1}});
  node->header.count = 3;
  node->header.entries = level == 0 ? 3 : 60;
  for (std::uint32_t i = 0; i < 3; ++i) {
    if (level == 0) {
      node->set_entry(i, {i, {{0, 0}, {1, 1}}});
    } else {
      node->set_child(i, NodeRef(10 + i, 5), {{0, 0}, {1, 1}});
    }
  }
  node->header.checksum = node_checksum(*node);
  return node;
}

bool accepted(const Node<2>& node, WantedNode wanted, bool verify = false) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&node);
  return check_node<2>({bytes, sizeof(node)}, wanted, 100, verify) == &node;
}

TEST(CheckNode, AcceptsWhatIsSound) {
  for (const std::uint32_t level : {0u, 1u, 4u}) {
    const auto node = sound_node(level);
    EXPECT_TRUE(accepted(*node, {NodeRef(50, 9), level}, true));
    EXPECT_TRUE(accepted(*node, {NodeRef(50, 9), kAnyLevel}, true));
    const auto* bytes = reinterpret_cast<const std::byte*>(node.get());
    EXPECT_NE(check_node<2>({bytes, node_bytes<2>(level)}, {NodeRef(50, 9), level}, 100, true),
              nullptr);
  }
}

TEST(CheckNode, RefusesEveryCorruptedField) {
  const auto refused = [](std::uint32_t level, auto&& corrupt, bool verify = false) {
    const auto node = sound_node(level);
    corrupt(*node);
    return !accepted(*node, {NodeRef(50, 9), level}, verify);
  };
  for (const std::uint32_t level : {0u, 1u}) {
    EXPECT_TRUE(refused(level, [](Node<2>& node) { node.header.birth = 10; }));
    EXPECT_TRUE(refused(level, [](Node<2>& node) { node.header.level = 2; }));
    EXPECT_TRUE(refused(level, [](Node<2>& node) { node.header.count = 1000; }));
    EXPECT_TRUE(refused(level, [](Node<2>& node) { node.header.entries = 1; }));
    EXPECT_TRUE(refused(
        level, [](Node<2>& node) { node.header.checksum ^= 1; }, true));
    // A place that is not in use: the checksum covers it, too.
    EXPECT_TRUE(refused(
        level,
        [&](Node<2>& node) {
          (level == 0 ? node.leaf.groups[7].ids[3] : node.inner.children[40]) ^= 1;
        },
        true));
  }
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.bounds.max[1] = std::nan(""); }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.bounds.min[0] = -HUGE_VAL; }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.bounds.min[0] = 2; }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.inner.scale[1] = std::nan(""); }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.inner.scale[0] *= 2; }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.header.count = 0; }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.inner.children[1] = 0; }));
  EXPECT_TRUE(refused(1, [](Node<2>& node) { node.inner.children[2] = NodeRef(100, 5).word(); }));
}

TEST(CheckNode, RefusesALevelThatNoTreeHas) {
  EXPECT_TRUE(accepted(*sound_node(kMaxLevel), {NodeRef(50, 9), kAnyLevel}, true));
  const auto node = sound_node(kMaxLevel + 1);
  EXPECT_FALSE(accepted(*node, {NodeRef(50, 9), kAnyLevel}, true));
  EXPECT_FALSE(accepted(*node, {NodeRef(50, 9), kMaxLevel + 1}, true));
}

TEST(CheckNode, RefusesTooFewBytes) {
  const auto node = sound_node(0);
  const auto* bytes = reinterpret_cast<const std::byte*>(node.get());
  const WantedNode wanted{NodeRef(50, 9), 0};
  EXPECT_EQ(check_node<2>({bytes, 32}, wanted, 100, false), nullptr);
  EXPECT_EQ(check_node<2>({bytes, node_bytes<2>(0) - 1}, wanted, 100, false), nullptr);
}

}  // namespace
}  // namespace silurus::rtree
