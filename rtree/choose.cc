// SPDX-License-Identifier: Apache-2.0

#include "rtree/choose.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rtree/choose.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;

// Plain loops over rows, for the compiler to vectorise with the instruction set of the target.

/// Candidates whose overlap is compared, at most.
constexpr int kMaxCandidates = 16;

HWY_INLINE float smaller(float a, float b) { return a < b ? a : b; }
HWY_INLINE float larger(float a, float b) { return a > b ? a : b; }

/// Boxes of children and of what is inserted, in parts of the node's longest side: so that floats
/// hold them well, wherever the node lies and however large it is.
template <int D>
struct Scene {
  alignas(64) float rows[2 * D][kInnerFanout<D>];
  float min[D];
  float max[D];
};

template <int D>
HWY_INLINE void make_scene(const Node<D>& node, const Box<D>& box, Scene<D>& scene) {
  /// What lies farther away, in sides of the node, is taken to lie there.
  constexpr double kFar = 1e9;
  double halves[D];  // half sides: no difference overflows
  double longest = 0;
  for (int d = 0; d < D; ++d) {
    halves[d] = 0.5 * node.bounds.max[d] - 0.5 * node.bounds.min[d];
    longest = longest < halves[d] ? halves[d] : longest;
  }
  for (int d = 0; d < D; ++d) {
    const double part = (longest > 0 ? halves[d] / longest : 1) / kCellSteps;
    // Along an axis on which the node has no extent all lie at the same place, and cells have some
    // width, so that areas of what lies on a line are its lengths.
    const auto cell = static_cast<float>(halves[d] > 0 ? part : 1 / kCellSteps);
    for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
      const int least = node.inner.cells[2 * d][i] - kLeastCell;
      const int greatest = node.inner.cells[2 * d + 1][i] - kLeastCell + 1;
      scene.rows[2 * d][i] = static_cast<float>(least) * cell;
      scene.rows[2 * d + 1][i] = static_cast<float>(greatest) * cell;
    }
    const auto place = [&](double x) {
      const double at = (x - node.bounds.min[d]) * node.inner.scale[d] * part;
      return static_cast<float>(std::min(std::max(at, -kFar), kFar));
    };
    scene.min[d] = place(box.min[d]);
    scene.max[d] = place(box.max[d]);
  }
}

/// Loops go over whole rows, so that they are unrolled and leave no rest. Places beyond the count
/// are infinitely far away: growth is infinite there, overlap 0.
template <int D>
HWY_INLINE void cut_scene(Scene<D>& scene, std::uint32_t count) {
  for (auto& row : scene.rows) {
    for (std::uint32_t i = count; i < kInnerFanout<D>; ++i) {
      row[i] = std::numeric_limits<float>::infinity();
    }
  }
}

/// By how much each child's margin grows to take the box: 0 only if it covers it.
template <int D>
HWY_INLINE void margin_growth(const Scene<D>& scene, float* growth) {
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) growth[i] = 0;
  for (int d = 0; d < D; ++d) {
    const float* min = scene.rows[2 * d];
    const float* max = scene.rows[2 * d + 1];
    const float box_min = scene.min[d];
    const float box_max = scene.max[d];
    for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
      growth[i] += larger(min[i] - box_min, 0) + larger(box_max - max[i], 0);
    }
  }
}

/// By how much the overlap of child `index` with each other child grows if it takes the box; their
/// sum is returned.
template <int D>
HWY_INLINE float overlap_growth(const Scene<D>& scene, std::uint32_t index, float* growth) {
  alignas(64) float before[kInnerFanout<D>];
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) before[i] = growth[i] = 1;
  for (int d = 0; d < D; ++d) {
    const float* min = scene.rows[2 * d];
    const float* max = scene.rows[2 * d + 1];
    const float old_min = min[index];
    const float old_max = max[index];
    const float new_min = smaller(old_min, scene.min[d]);
    const float new_max = larger(old_max, scene.max[d]);
    for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
      before[i] *= larger(smaller(max[i], old_max) - larger(min[i], old_min), 0);
      growth[i] *= larger(smaller(max[i], new_max) - larger(min[i], new_min), 0);
    }
  }
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) growth[i] -= before[i];
  growth[index] = 0;
  const Floats tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  auto sum = hn::Zero(tag);
  for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
    sum = hn::Add(sum, hn::Load(tag, growth + i));
  }
  return hn::GetLane(hn::SumOfLanes(tag, sum));
}

/// The first of the least of numbers, as many as an inner node has children.
template <int D>
HWY_INLINE std::uint32_t index_of_least(const float* values) {
  const Floats tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  auto least = hn::Load(tag, values);
  for (std::uint32_t i = lanes; i < kInnerFanout<D>; i += lanes) {
    least = hn::Min(least, hn::Load(tag, values + i));
  }
  const auto everywhere = hn::MinOfLanes(tag, least);
  for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
    const auto at = hn::FindFirstTrue(tag, hn::Eq(hn::Load(tag, values + i), everywhere));
    if (at >= 0) return i + static_cast<std::uint32_t>(at);
  }
  return 0;
}

/// The smallest child that covers the box: whose margin doesn't grow. Any, if there is none.
template <int D>
HWY_INLINE std::uint32_t smallest_covering(const Scene<D>& scene, const float* growth) {
  alignas(64) float areas[kInnerFanout<D>];
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) areas[i] = 1;
  for (int d = 0; d < D; ++d) {
    const float* min = scene.rows[2 * d];
    const float* max = scene.rows[2 * d + 1];
    for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) areas[i] *= max[i] - min[i];
  }
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
    areas[i] = growth[i] == 0 ? areas[i] : std::numeric_limits<float>::infinity();
  }
  return index_of_least<D>(areas);
}

template <int D>
std::uint32_t choose(const Node<D>& node, const Box<D>& box) {
  alignas(64) float margin[kInnerFanout<D>];
  alignas(64) float overlap[kInnerFanout<D>];
  Scene<D> scene;
  make_scene(node, box, scene);
  cut_scene(scene, node.header.count);
  margin_growth(scene, margin);
  std::uint32_t candidate = index_of_least<D>(margin);
  if (margin[candidate] == 0) return smallest_covering(scene, margin);
  std::uint32_t best = candidate;
  float best_growth = overlap_growth(scene, candidate, overlap);
  float farthest = 0;  // children beyond it don't matter to the first candidate's overlap
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
    farthest = larger(farthest, overlap[i] > 0 ? margin[i] : 0);
  }
  for (int tried = 1; tried < kMaxCandidates && best_growth > 0; ++tried) {
    margin[candidate] = std::numeric_limits<float>::infinity();
    candidate = index_of_least<D>(margin);
    if (!(margin[candidate] <= farthest)) break;
    const float growth = overlap_growth(scene, candidate, overlap);
    if (growth < best_growth) {
      best = candidate;
      best_growth = growth;
    }
  }
  return best;
}

std::uint32_t choose_2d(const Node<2>& node, const Box<2>& box) { return choose(node, box); }
std::uint32_t choose_3d(const Node<3>& node, const Box<3>& box) { return choose(node, box); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace silurus::rtree {
namespace {

HWY_EXPORT(choose_2d);
HWY_EXPORT(choose_3d);

}  // namespace

template <>
std::uint32_t choose_child(const Node<2>& inner, const Box<2>& box) {
  return HWY_DYNAMIC_DISPATCH(choose_2d)(inner, box);
}
template <>
std::uint32_t choose_child(const Node<3>& inner, const Box<3>& box) {
  return HWY_DYNAMIC_DISPATCH(choose_3d)(inner, box);
}

}  // namespace silurus::rtree
#endif  // HWY_ONCE
