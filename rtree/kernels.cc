// SPDX-License-Identifier: Apache-2.0

#include "rtree/kernels.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rtree/kernels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "rtree/scan-inl.h"
#include "rtree/sphere-inl.h"

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

template <int D>
EntryMask scan_inner(const Node<D>& node, const RangeLimits<D>& limits) {
  WindowCells<D> window;
  return mask_of<kInnerFanout<D>>(wanted_children(node, limits, window));
}

template <int D>
EntryMask scan_leaf(const Node<D>& node, const RangeLimits<D>& limits, GroupMask groups) {
  return EntryMask{{answers_of(node, limits, groups)}};
}

template <int D>
std::uint32_t gather_inner(const Node<D>& node, const RangeLimits<D>& limits, std::uint64_t* out) {
  WindowCells<D> window;
  const Bits<kInnerFanout<D>> wanted = wanted_children(node, limits, window);
  for_each_bit(wanted, [&](std::uint32_t i) { *out++ = node.inner.children[i]; });
  return count_of<kInnerFanout<D>>(wanted);
}

template <int D>
std::uint32_t gather_leaves(const Node<D>& node, const RangeLimits<D>& limits, WantedLeaf* out) {
  WindowCells<D> window;
  const Bits<kInnerFanout<D>> wanted = wanted_children(node, limits, window);
  const Cover<D> cover(node, limits);
  const WantedLeaf* const begin = out;
  for_each_bit(wanted, [&](std::uint32_t i) {
    *out = {node.inner.children[i], wanted_groups(node, i, window), cover.has(i)};
    out += out->groups != 0 ? 1 : 0;
  });
  return static_cast<std::uint32_t>(out - begin);
}

template <int D>
std::uint32_t gather_ids_of(const Node<D>& leaf, const EntryMask& mask, std::uint64_t* out) {
  return static_cast<std::uint32_t>(gather_ids(leaf, mask.words[0], out) - out);
}

/// Child_box() of children from i on, along axis d.
struct ChildEdges {
  hn::Vec<Doubles> min;
  hn::Vec<Doubles> max;
};
template <int D>
HWY_INLINE ChildEdges child_edges(const Node<D>& node, int d, std::uint32_t i) {
  const Doubles tag;
  const hn::Rebind<std::int32_t, Doubles> words;
  const hn::Rebind<Cell, Doubles> cells;
  // least_of() and greatest_of()
  const auto steps = [&](int row) {
    return hn::PromoteTo(tag, hn::PromoteTo(words, hn::LoadU(cells, node.inner.cells[row] + i)));
  };
  const auto step = hn::Set(tag, 1 / node.inner.scale[d]);
  const auto low = hn::Set(tag, node.bounds.min[d]);
  const auto high = hn::Set(tag, node.bounds.max[d]);
  const auto below = hn::Add(steps(2 * d), hn::Set(tag, -kLeastCell - kCellMargin));
  const auto above = hn::Add(steps(2 * d + 1), hn::Set(tag, -kLeastCell + 1 + kCellMargin));
  return {hn::Max(low, hn::Add(low, hn::Mul(below, step))),
          hn::Min(high, hn::Add(low, hn::Mul(above, step)))};
}

template <int D>
void inner_distances(const Node<D>& node, const Point<D>& point, double* distances) {
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < node.header.count; i += lanes) {
    auto sum = hn::Zero(tag);
    for (int d = 0; d < D; ++d) {
      const ChildEdges edges = child_edges(node, d, i);
      sum = hn::Add(sum, squared_gap(tag, edges.min, edges.max, hn::Set(tag, point.at[d])));
    }
    hn::Store(sum, tag, distances + i);
  }
}

void inner_arcs(const Node<2>& node, const SpherePoint& point, double* keys) {
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < node.header.count; i += lanes) {
    const ChildEdges longitudes = child_edges(node, 0, i);
    const ChildEdges latitudes = child_edges(node, 1, i);
    const Arcs<Doubles> of(tag, point, longitudes.min, longitudes.max);
    const auto arcs = of.least_keys(latitudes.min, latitudes.max);
    // least_arc_within()
    const auto least =
        hn::Sub(hn::Mul(arcs, hn::Set(tag, 1 - kArcSlack)), hn::Set(tag, kLeastArcSlack));
    hn::Store(least, tag, keys + i);
  }
}

void leaf_arcs(const Node<2>& leaf, const SpherePoint& point, double* keys) {
  const GroupDoubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < leaf.header.count; i += lanes) {
    const Arcs<GroupDoubles> of(tag, point, coordinates(leaf, 0, i), coordinates(leaf, 1, i));
    hn::Store(of.keys(coordinates(leaf, 2, i), coordinates(leaf, 3, i)), tag, keys + i);
  }
}

template <int D>
constexpr auto inner_arcs_of() -> void (*)(const Node<D>&, const SpherePoint&, double*) {
  if constexpr (D == 2) return &inner_arcs;
  return nullptr;
}
template <int D>
constexpr auto leaf_arcs_of() -> void (*)(const Node<D>&, const SpherePoint&, double*) {
  if constexpr (D == 2) return &leaf_arcs;
  return nullptr;
}

template <int D>
void leaf_distances(const Node<D>& node, const Point<D>& point, double* distances) {
  squared_distances(node, point, distances);
}

std::uint32_t least(double* distances, std::uint32_t count) {
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = count; i % lanes != 0; ++i) {
    distances[i] = std::numeric_limits<double>::infinity();
  }
  auto least = hn::Load(tag, distances);
  for (std::uint32_t i = lanes; i < count; i += lanes) {
    least = hn::Min(least, hn::Load(tag, distances + i));
  }
  const auto everywhere = hn::MinOfLanes(tag, least);
  for (std::uint32_t i = 0; i < count; i += lanes) {
    const std::uint64_t bits = bits_of(tag, hn::Eq(hn::Load(tag, distances + i), everywhere));
    if (bits != 0) return i + static_cast<std::uint32_t>(std::countr_zero(bits));
  }
  return 0;
}

EntryMask within(const double* distances, std::uint32_t count, double bound) {
  return distances_within(distances, count, bound);
}

double kth_least(const double* distances, std::uint32_t count, std::uint32_t k) {
  const Floats tag;
  const hn::RebindToSigned<Floats> counts;
  const std::uint32_t lanes = hn::Lanes(tag);
  alignas(64) float rounded[kMaxRanked];
  for (std::uint32_t i = 0; i < count; ++i) {
    // Up by an ulp at least; what overflows becomes infinity, a bound too.
    rounded[i] = static_cast<float>(distances[i]) * (1 + 0x1p-22f) + 0x1p-140f;
  }
  for (std::uint32_t i = count; i % lanes != 0; ++i) {
    rounded[i] = std::numeric_limits<float>::infinity();
  }
  auto least = hn::Set(tag, std::numeric_limits<float>::infinity());
  for (std::uint32_t i = 0; i < count; i += lanes) {
    const auto some = hn::Load(tag, rounded + i);
    auto up_to = hn::Zero(counts);  // how many don't exceed each
    for (std::uint32_t j = 0; j < count; ++j) {
      const auto below = hn::RebindMask(counts, hn::Le(hn::Set(tag, rounded[j]), some));
      up_to = hn::Add(up_to, hn::IfThenElseZero(below, hn::Set(counts, 1)));
    }
    const auto enough =
        hn::RebindMask(tag, hn::Gt(up_to, hn::Set(counts, static_cast<std::int32_t>(k) - 1)));
    least = hn::Min(least, hn::IfThenElse(enough, some, least));
  }
  return static_cast<double>(hn::GetLane(hn::MinOfLanes(tag, least)));
}

void rank(const double* distances, std::uint32_t count, std::uint64_t* ranks) {
  const Doubles tag;
  const hn::RebindToUnsigned<Doubles> counts;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < count; i += lanes) {
    const auto some = hn::LoadU(tag, distances + i);
    auto less = hn::Zero(counts);
    for (std::uint32_t j = 0; j < count; ++j) {
      const auto below = hn::RebindMask(counts, hn::Lt(hn::Set(tag, distances[j]), some));
      less = hn::Add(less, hn::IfThenElseZero(below, hn::Set(counts, 1)));
    }
    hn::StoreU(less, counts, ranks + i);
  }
}

template <int D>
const Kernels<D>* table() {
  static constexpr Kernels<D> kTable{
      &scan_inner<D>,
      &scan_leaf<D>,
      &gather_inner<D>,
      &gather_leaves<D>,
      &gather_ids_of<D>,
      &inner_distances<D>,
      &leaf_distances<D>,
      inner_arcs_of<D>(),
      leaf_arcs_of<D>(),
      &least,
      &within,
      &kth_least,
      &rank,
  };
  return &kTable;
}

const Kernels<2>* table_2d() { return table<2>(); }
const Kernels<3>* table_3d() { return table<3>(); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace silurus::rtree {
namespace {

HWY_EXPORT(table_2d);
HWY_EXPORT(table_3d);

}  // namespace

template <>
const Kernels<2>& kernels<2>() {
  static const Kernels<2>& chosen = *HWY_DYNAMIC_DISPATCH(table_2d)();
  return chosen;
}
template <>
const Kernels<3>& kernels<3>() {
  static const Kernels<3>& chosen = *HWY_DYNAMIC_DISPATCH(table_3d)();
  return chosen;
}

template <int D>
RangeLimits<D> RangeLimits<D>::of(const Box<D>& window, Predicate predicate) {
  RangeLimits limits;
  limits.within = predicate == Predicate::kWithin;
  const bool contains = predicate == Predicate::kContains;
  limits.can_cover = !contains;
  for (int d = 0; d < D; ++d) {
    const double upper = contains ? window.min[d] : window.max[d];
    const double lower = contains ? window.max[d] : window.min[d];
    limits.upper[d] = upper;
    limits.lower[d] = lower;
    limits.min_key[d] = limits.within ? lower_key(window.min[d]) : upper_key(upper);
    limits.max_key[d] = limits.within ? upper_key(window.max[d]) : lower_key(lower);
  }
  for (std::uint32_t i = 0; i < 4 * kGroupFanout; ++i) {
    const bool is_max = i / kGroupFanout % 2 != 0;
    // Flipped, what is less becomes more: of max, or of min if entries must lie within.
    limits.flip[i] = is_max == limits.within ? 0 : -1;
    if (i >= 2 * kGroupFanout) continue;
    for (int d = 0; d < D; ++d) {
      const std::int64_t key = is_max ? limits.max_key[d] : limits.min_key[d];
      limits.bound[d][i] = high_word(key) ^ limits.flip[i];
    }
  }
  return limits;
}

template struct RangeLimits<2>;
template struct RangeLimits<3>;

}  // namespace silurus::rtree
#endif  // HWY_ONCE
