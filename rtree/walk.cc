// SPDX-License-Identifier: Apache-2.0

#include "rtree/walk.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "rtree/neighbors.h"
#include "rtree/tree.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rtree/walk.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "rtree/scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE void prefetch(const void* from, std::size_t bytes) {
  const auto* lines = static_cast<const char*>(from);
  HWY_UNROLL(32)
  for (std::size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(lines + offset);
}

/// Searches of nodes at hand, whole loops (walk.h).
template <int D>
struct WalkOf {
  using State = RangeState<D>;
  /// Number of wanted leaves up to which it does not pay to know which of them the window covers.
  static constexpr std::uint32_t kFewWanted = 2;

  /// Looks into the inner node that comes next, and prefetches what it leads to. kInTurns: other
  /// searches run until the directories of leaves are here.
  template <bool kInTurns>
  HWY_INLINE static void visit_inner(State& state, const Snapshot<D>& snapshot) {
    const auto taken = state.inner[--state.inner_count];
    const Node<D>& node = snapshot.node(NodeRef::from_word(taken.word));
    WindowCells<D> window;
    const Bits<kInnerFanout<D>> wanted = wanted_children(node, state.limits, window);
    if (taken.level != 1) {
      add_inner(state, snapshot, node, wanted, taken.level - 1);
    } else if (!kInTurns) {
      add_leaves(state, snapshot, node, wanted, window);
    } else {
      state.parent = taken.word;
      state.wanted = mask_of<kInnerFanout<D>>(wanted);
      for_each_bit(wanted, [&](std::uint32_t i) {
        prefetch(&node.inner.directories[i], sizeof(LeafDirectory<D>));
      });
    }
  }

  /// Goes on with the node of level 1 whose directories are here.
  HWY_INLINE static void visit_directories(State& state, const Snapshot<D>& snapshot) {
    const Node<D>& node = snapshot.node(NodeRef::from_word(state.parent));
    state.parent = 0;
    WindowCells<D> window;
    Bits<kInnerFanout<D>> wanted;
    for (std::uint32_t w = 0; w < wanted.size(); ++w) wanted[w] = state.wanted.words[w];
    if (make_cells(node, state.limits, window)) add_leaves(state, snapshot, node, wanted, window);
  }

  HWY_INLINE static void add_leaves(State& state, const Snapshot<D>& snapshot, const Node<D>& node,
                                    const Bits<kInnerFanout<D>>& wanted,
                                    const WindowCells<D>& window) {
    state.make_room_for_leaves();
    WantedLeaf* out = state.leaves.data() + state.leaf_end;
    const WantedLeaf* const begin = out;
    const auto add = [&](std::uint32_t i, bool is_covered) {
      *out = {node.inner.children[i], wanted_groups(node, i, window), is_covered};
      prefetch_groups(snapshot.node(node.child(i)), out->groups);
      out += out->groups != 0 ? 1 : 0;
    };
    if (count_of<kInnerFanout<D>>(wanted) <= kFewWanted) {
      for_each_bit(wanted, [&](std::uint32_t i) { add(i, false); });
    } else {
      const Cover<D> cover(node, state.limits);
      for_each_bit(wanted, [&](std::uint32_t i) { add(i, cover.has(i)); });
    }
    state.leaf_end += static_cast<std::size_t>(out - begin);
  }

  /// All but the low words, which are seldom read.
  HWY_INLINE static void prefetch_groups(const Node<D>& leaf, GroupMask groups) {
    constexpr std::size_t kBytes = offsetof(LeafGroup<D>, low);
    if (std::popcount(groups) > kFewGroups) {
      __builtin_prefetch(&leaf);
      HWY_UNROLL(8)
      for (const LeafGroup<D>& group : leaf.leaf.groups) prefetch(&group, kBytes);
      return;
    }
    for (std::uint32_t rest = groups; rest != 0; rest &= rest - 1) {
      prefetch(&leaf.leaf.groups[std::countr_zero(rest)], kBytes);
    }
  }

  HWY_INLINE static void add_inner(State& state, const Snapshot<D>& snapshot, const Node<D>& node,
                                   const Bits<kInnerFanout<D>>& wanted, std::uint32_t level) {
    state.make_room_for_inner();
    auto* out = state.inner.data() + state.inner_count;
    state.inner_count += count_of<kInnerFanout<D>>(wanted);
    for_each_bit(wanted, [&](std::uint32_t i) {
      prefetch(&snapshot.node(node.child(i)), node_bytes<D>(2));  // directories are seldom read
      *out++ = {node.inner.children[i], level};
    });
  }

  /// Looks into the leaf that comes next.
  HWY_INLINE static void visit_leaf(State& state, const Snapshot<D>& snapshot) {
    const WantedLeaf& wanted = state.leaves[state.leaf_begin++];
    const Node<D>& leaf = snapshot.node(NodeRef::from_word(wanted.word));
    const std::uint64_t found = wanted.is_covered ? first_bits(leaf.header.count)
                                                  : answers_of(leaf, state.limits, wanted.groups);
    if (found == 0) return;
    if (state.keeps_ids_alone()) {
      RangeResult<D>& result = *state.result;
      std::uint64_t* const begin = state.room_for_ids();
      result.count += static_cast<std::uint64_t>(gather_ids(leaf, found, begin) - begin);
    } else {
      state.keep(leaf, EntryMask{{found}});
    }
  }

  static bool go_on(State& state, const Snapshot<D>& snapshot, std::uint32_t most_nodes,
                    std::uint64_t enough) {
    for (; most_nodes != 0 && state.result->count < enough; --most_nodes) {
      if (state.parent != 0) visit_directories(state, snapshot);
      if (state.wants_inner()) {
        visit_inner<false>(state, snapshot);
      } else if (state.has_leaves()) {
        visit_leaf(state, snapshot);
      } else if (state.turns_left != 0) {
        state.finish_if_done();
      } else {
        break;
      }
    }
    state.finish_if_done();
    return state.done();
  }

  /// One inner node, its directories, or all leaves that are on their way; returns how many nodes.
  HWY_INLINE static std::uint32_t turn_of(State& state, const Snapshot<D>& snapshot,
                                          std::uint32_t most_nodes, std::uint64_t enough) {
    if (state.parent != 0) {
      visit_directories(state, snapshot);
      return 0;
    }
    if (state.wants_inner()) {
      visit_inner<true>(state, snapshot);
      return 1;
    }
    std::uint32_t visited = 0;
    for (; state.has_leaves() && visited != most_nodes; ++visited) {
      visit_leaf(state, snapshot);
      if (state.result->count >= enough) return visited + 1;
    }
    return visited;
  }

  static void turn(std::span<RangeLane<D>> lanes, const Snapshot<D>& snapshot) {
    for (RangeLane<D>& lane : lanes) {
      if (!lane.is_running) continue;
      lane.nodes_left -= turn_of(lane.cursor.state(), snapshot, lane.nodes_left, lane.enough);
    }
  }
};

/// A search for few neighbours (Walks::nearest). Few branches depend on distances: what they would
/// save is less than what mispredicting them costs.
template <int D>
class NearestWalk {
 public:
  NearestWalk(const NearestQuery<D>& query, const Snapshot<D>& snapshot)
      : point_(query.point), k_(query.k), snapshot_(snapshot) {}

  bool run(NearestResult& result) {
    const WantedNode root = snapshot_.root();
    descend(root.ref, root.level);
    if (count_ > k_) keep_best();
    if (is_beyond_) return false;
    sort(result);
    return true;
  }

 private:
  /// Entries that are kept at most: beyond k, those at the k-th distance. A leaf adds to them.
  static constexpr std::uint32_t kMostKept = kMaxRanked / 2;
  static_assert(kFewNeighbors <= kMostKept && kMostKept + kLeafFanout<D> <= kMaxRanked);
  /// Steps of a grid that squares of floats hold well, and the farthest place in steps: what lies
  /// beyond is taken to lie there.
  static constexpr double kLeastStep = 0x1p-50;
  static constexpr double kGreatestStep = 0x1p32;
  static constexpr double kFarthest = 0x1p30;

  /// A child of some node; the null name: none.
  struct Child {
    NodeRef ref;
    float distance = 0;  ///< squared, or a little less
  };

  /// Looks into what is below a node, the nearest first.
  void descend(NodeRef ref, std::uint32_t level) {
    const Node<D>& node = snapshot_.node(ref);
    if (level == 0) return look_into_leaf(node);
    alignas(64) float distances[kInnerFanout<D>];
    if (!measure(node, distances)) {
      is_beyond_ = true;
      return;
    }
    Child next = take_nearest(node, distances);
    while (next.ref && next.distance <= limit_ && !is_beyond_) {
      // The one after it is fetched meanwhile, for it is likely to be needed.
      const Child after = take_nearest(node, distances);
      descend(next.ref, level - 1);
      next = after;
    }
  }

  /// Squared distances to the boxes of the children, none too great; infinite at places beyond
  /// their count. False: floats cannot hold them.
  HWY_INLINE bool measure(const Node<D>& node, float* distances) {
    const hn::CappedTag<float, 16> tag;
    const hn::Rebind<std::int32_t, decltype(tag)> words;
    const hn::Rebind<Cell, decltype(tag)> cells;
    const std::uint32_t lanes = hn::Lanes(tag);
    float before[D];
    float behind[D];
    float step[D];
    for (int d = 0; d < D; ++d) {
      const double width = 1 / node.inner.scale[d];
      if (!(width > kLeastStep && width < kGreatestStep)) return false;
      const double at = (point_.at[d] - node.bounds.min[d]) * node.inner.scale[d] + kLeastCell;
      const auto place = static_cast<float>(std::min(std::max(at, -kFarthest), kFarthest));
      // A cell is widened by more than what the place, the cell and their difference are rounded
      // by.
      const float margin = (std::abs(place) + 65536.0F) * 0x1p-22F;
      before[d] = place + margin;
      behind[d] = place - 1 - margin;
      step[d] =
          static_cast<float>(width) * (1 - 0x1p-20F);  // so that no sum of squares is too great
    }
    const auto count = hn::Set(words, static_cast<std::int32_t>(node.header.count));
    HWY_UNROLL(8)
    for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
      const auto row = [&](int r) {
        return hn::ConvertTo(tag, hn::PromoteTo(words, hn::LoadU(cells, node.inner.cells[r] + i)));
      };
      auto sum = hn::Zero(tag);
      for (int d = 0; d < D; ++d) {
        const auto gap = hn::Max(hn::Max(hn::Sub(row(2 * d), hn::Set(tag, before[d])),
                                         hn::Sub(hn::Set(tag, behind[d]), row(2 * d + 1))),
                                 hn::Zero(tag));
        const auto length = hn::Mul(gap, hn::Set(tag, step[d]));
        sum = hn::Add(sum, hn::Mul(length, length));
      }
      const auto is_child = hn::Lt(hn::Iota(words, static_cast<std::int32_t>(i)), count);
      const auto none = hn::Set(tag, std::numeric_limits<float>::infinity());
      hn::Store(hn::IfThenElse(hn::RebindMask(tag, is_child), sum, none), tag, distances + i);
    }
    return true;
  }

  /// Takes the nearest child that may hold an answer, and prefetches it; none if none may.
  HWY_INLINE Child take_nearest(const Node<D>& node, float* distances) const {
    const Floats tag;
    const std::uint32_t lanes = hn::Lanes(tag);
    auto least = hn::Load(tag, distances);
    HWY_UNROLL(16)
    for (std::uint32_t i = lanes; i < kInnerFanout<D>; i += lanes) {
      least = hn::Min(least, hn::Load(tag, distances + i));
    }
    const auto everywhere = hn::MinOfLanes(tag, least);
    const float distance = hn::GetLane(everywhere);
    if (!(distance <= limit_ && distance < std::numeric_limits<float>::infinity())) return {};
    Bits<kInnerFanout<D>> equal{};
    HWY_UNROLL(16)
    for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
      equal[i / 64] |= bits_of(tag, hn::Eq(hn::Load(tag, distances + i), everywhere)) << (i % 64);
    }
    std::uint32_t index = 0;
    for (std::uint32_t w = 0; w < equal.size(); ++w) {
      if (equal[w] == 0) continue;
      index = w * 64 + static_cast<std::uint32_t>(std::countr_zero(equal[w]));
      break;
    }
    distances[index] = std::numeric_limits<float>::infinity();
    const NodeRef ref = node.child(index);
    const Node<D>& child = snapshot_.node(ref);
    if (node.header.level == 1) {  // each of a fixed length
      prefetch(&child, node_bytes<D>(0));
    } else {
      prefetch(&child, node_bytes<D>(2));
    }
    return {ref, distance};
  }

  void look_into_leaf(const Node<D>& leaf) {
    alignas(64) double distances[kMaxFanout];
    squared_distances(leaf, point_, distances);
    const EntryMask near = distances_within(distances, leaf.header.count, bound_);
    if (near.empty()) return;
    double least = std::numeric_limits<double>::infinity();
    double greatest = 0;
    for (std::uint64_t rest = near.words[0]; rest != 0; rest &= rest - 1) {
      const auto i = static_cast<std::uint32_t>(std::countr_zero(rest));
      ids_[count_] = leaf.id(i);
      distances_[count_++] = distances[i];
      least = std::min(least, distances[i]);
      greatest = std::max(greatest, distances[i]);
    }
    if (least < kLeastSquare || greatest > kGreatestSquare) [[unlikely]]
      look_at_extremes(leaf, near);
    if (count_ > k_ || (count_ == k_ && bound_ == std::numeric_limits<double>::infinity())) {
      keep_best();
    }
  }

  /// Squares that are not exact are another search's; 0 of a box that holds the point is.
  HWY_NOINLINE void look_at_extremes(const Node<D>& leaf, const EntryMask& near) {
    near.for_each([&](std::uint32_t i) {
      const double square = squared_distance(point_, leaf.entry_box(i));
      is_beyond_ |= square > kGreatestSquare ||
                    (square < kLeastSquare && distance(point_, leaf.entry_box(i)) != 0);
    });
  }

  /// Finds the k-th distance, and drops what lies beyond it.
  void keep_best() {
    bound_ = greatest_equal(kernels_.kth_least(distances_, count_, k_));
    limit_ = static_cast<float>(bound_) * (1 + 0x1p-22F) + 0x1p-140F;  // up by an ulp at least
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
      ids_[kept] = ids_[i];
      distances_[kept] = distances_[i];
      kept += distances_[i] <= bound_ ? 1 : 0;
    }
    count_ = kept;
    if (kept > kMostKept) is_beyond_ = true;
  }

  /// Each goes straight to its place, if distances differ.
  void sort(NearestResult& result) {
    std::uint64_t ranks[kMaxRanked];
    kernels_.rank(distances_, count_, ranks);
    Neighbor sorted[kMaxRanked];
    std::uint64_t taken = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
      sorted[ranks[i]] = {ids_[i], distances_[i]};
      taken |= std::uint64_t{1} << ranks[i];
    }
    bool distinct = count_ == 0 || taken == ~std::uint64_t{0} >> (64 - count_);
    for (std::uint32_t i = 1; distinct && i < count_; ++i) {
      distinct = sorted[i].distance > greatest_equal(sorted[i - 1].distance);
    }
    if (!distinct) {
      for (std::uint32_t i = 0; i < count_; ++i) sorted[i] = {ids_[i], distances_[i]};
      std::sort(sorted, sorted + count_, Better());
    }
    result.resize(std::min(count_, k_));
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = {sorted[i].id, std::sqrt(sorted[i].distance)};
    }
  }

  const Kernels<D>& kernels_ = kernels<D>();
  const Point<D> point_;
  const std::uint32_t k_;
  const Snapshot<D>& snapshot_;
  double bound_ = std::numeric_limits<double>::infinity();  ///< no answer is farther, squared
  float limit_ = std::numeric_limits<float>::infinity();    ///< the same, or a little more
  bool is_beyond_ = false;                                  ///< it needs more than this search can
  /// Entries that may belong to the answer, in no order: at least the best k of those seen.
  std::uint32_t count_ = 0;
  alignas(64) double distances_[kMaxRanked];
  std::uint64_t ids_[kMaxRanked];
};

template <int D>
bool nearest(const NearestQuery<D>& query, const Snapshot<D>& snapshot, NearestResult& result) {
  return NearestWalk<D>(query, snapshot).run(result);
}

template <int D>
const Walks<D>* walks_of() {
  static constexpr Walks<D> kTable{&WalkOf<D>::go_on, &WalkOf<D>::turn, &nearest<D>};
  return &kTable;
}

const Walks<2>* walks_2d() { return walks_of<2>(); }
const Walks<3>* walks_3d() { return walks_of<3>(); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace silurus::rtree {
namespace {

HWY_EXPORT(walks_2d);
HWY_EXPORT(walks_3d);

}  // namespace

template <>
const Walks<2>& walks<2>() {
  static const Walks<2>& chosen = *HWY_DYNAMIC_DISPATCH(walks_2d)();
  return chosen;
}
template <>
const Walks<3>& walks<3>() {
  static const Walks<3>& chosen = *HWY_DYNAMIC_DISPATCH(walks_3d)();
  return chosen;
}

}  // namespace silurus::rtree
#endif  // HWY_ONCE
