// SPDX-License-Identifier: Apache-2.0

#include "rtree/grouping.h"

#include <algorithm>
#include <bit>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rtree/grouping.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "rtree/scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

/// Places of the centres of a leaf's entries, in 32,767ths of the leaf's box.
template <int D>
struct Centres {
  static constexpr double kSteps = 32767;

  HWY_INLINE explicit Centres(const Node<D>& leaf) {
    for (int d = 0; d < D; ++d) {
      const double low = leaf.bounds.min[d];
      const double extent =
          std::min(std::max(leaf.bounds.max[d] - low, kLeastExtent), kGreatestExtent);
      const double scale = kSteps / extent;
      width[d] = extent;
      const GroupDoubles tag;
      const hn::Rebind<std::int32_t, GroupDoubles> words;
      const std::uint32_t lanes = hn::Lanes(tag);
      const auto half = hn::Set(tag, 0.5);
      for (std::uint32_t i = 0; i < kLeafFanout<D>; i += lanes) {
        const auto centre = hn::Add(hn::Mul(half, coordinates(leaf, 2 * d, i)),
                                    hn::Mul(half, coordinates(leaf, 2 * d + 1, i)));
        const auto steps = hn::Mul(hn::Sub(centre, hn::Set(tag, low)), hn::Set(tag, scale));
        // Places without an entry, and those whose value is not a number: anything within bounds.
        const auto inside = hn::Min(hn::Max(hn::Zero(tag), steps), hn::Set(tag, kSteps));
        hn::StoreU(hn::DemoteTo(words, inside), words, place[d] + i);
      }
    }
  }
  /// The axis along which the entries order[0..count) lie farthest apart.
  HWY_INLINE int longest_axis(const std::uint8_t* order, std::uint32_t count) const {
    int longest = 0;
    double length = -1;
    for (int d = 0; d < D; ++d) {
      std::int32_t least = place[d][order[0]];
      std::int32_t greatest = least;
      for (std::uint32_t i = 1; i < count; ++i) {
        least = std::min(least, place[d][order[i]]);
        greatest = std::max(greatest, place[d][order[i]]);
      }
      const double here = width[d] * (greatest - least);
      longest = here > length ? d : longest;
      length = std::max(length, here);
    }
    return longest;
  }

  std::int32_t place[D][kLeafFanout<D>];
  double width[D];
};

/// Sorts order[0..count) by a key each, all of them different. Counts for each how many are less:
/// without branches, which sorting a few would mispredict.
template <std::uint32_t kMost>
HWY_INLINE void sort_by(const std::int32_t* keys, std::uint8_t* order, std::uint32_t count) {
  std::int32_t ranks[kMost] = {};
  for (std::uint32_t j = 0; j < count; ++j) {
    const std::int32_t key = keys[j];
    for (std::uint32_t i = 0; i < kMost; ++i) ranks[i] += key < keys[i] ? 1 : 0;
  }
  std::uint8_t sorted[kMost];
  for (std::uint32_t i = 0; i < count; ++i) sorted[ranks[i]] = order[i];
  std::copy_n(sorted, count, order);
}

template <int D>
HWY_INLINE void halve(const Centres<D>& centres, std::uint8_t* order, std::uint32_t count) {
  const int axis = centres.longest_axis(order, count);
  std::int32_t keys[kLeafFanout<D>];
  for (std::uint32_t i = 0; i < count; ++i) {
    keys[i] = centres.place[axis][order[i]] * static_cast<std::int32_t>(kLeafFanout<D>) +
              static_cast<std::int32_t>(i);
  }
  for (std::uint32_t i = count; i < kLeafFanout<D>; ++i) keys[i] = INT32_MAX;
  if (count <= 8) {
    sort_by<8>(keys, order, count);
  } else if (count <= 16) {
    sort_by<16>(keys, order, count);
  } else {
    sort_by<kLeafFanout<D>>(keys, order, count);
  }
}

template <int D>
void divide(const Centres<D>& centres, std::uint8_t* order, std::uint32_t count) {
  const std::uint32_t groups = (count + kGroupFanout - 1) / kGroupFanout;
  if (groups < 2) return;
  const std::uint32_t cut = (groups + 1) / 2 * kGroupFanout;  // only the last group is not full
  halve(centres, order, count);
  divide(centres, order, cut);
  divide(centres, order + cut, count - cut);
}

template <int D>
void group(Node<D>& leaf) {
  const std::uint32_t count = leaf.header.count;
  if (count <= kGroupFanout) return;
  const Centres<D> centres(leaf);
  std::uint8_t order[kLeafFanout<D>];
  for (std::uint32_t i = 0; i < count; ++i) order[i] = static_cast<std::uint8_t>(i);
  divide(centres, order, count);
  const LeafBody<D> before = leaf.leaf;
  for (std::uint32_t i = 0; i < count; ++i) {
    const LeafGroup<D>& from = before.groups[order[i] / kGroupFanout];
    LeafGroup<D>& to = leaf.leaf.groups[i / kGroupFanout];
    const std::uint32_t at = order[i] % kGroupFanout;
    to.ids[i % kGroupFanout] = from.ids[at];
    for (int row = 0; row < 2 * D; ++row) {
      to.high[row][i % kGroupFanout] = from.high[row][at];
      to.low[row][i % kGroupFanout] = from.low[row][at];
    }
  }
}

template <int D>
LeafDirectory<D> make_directory(const Node<D>& parent, std::uint32_t index, const Node<D>& leaf) {
  LeafDirectory<D> directory;
  const GroupDoubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const auto lane = hn::Iota(tag, 0);
  for (int d = 0; d < D; ++d) {
    const GroupGrid grid = parent.group_grid(index, d);
    const double low = parent.bounds.min[d];
    const double scale = parent.inner.scale[d];
    for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) {
      double min = std::numeric_limits<double>::infinity();
      double max = -min;
      for (std::uint32_t i = g * kGroupFanout; i < (g + 1) * kGroupFanout; i += lanes) {
        const double left = std::max(0.0, static_cast<double>(leaf.header.count) - i);
        const auto is_entry = hn::Lt(lane, hn::Set(tag, left));
        const auto mins = hn::IfThenElse(is_entry, coordinates(leaf, 2 * d, i), hn::Set(tag, min));
        const auto maxs =
            hn::IfThenElse(is_entry, coordinates(leaf, 2 * d + 1, i), hn::Set(tag, max));
        min = std::min(min, hn::GetLane(hn::MinOfLanes(tag, mins)));
        max = std::max(max, hn::GetLane(hn::MaxOfLanes(tag, maxs)));
      }
      // A group without entries meets as few windows as cells can tell.
      const bool is_empty = g * kGroupFanout >= leaf.header.count;
      directory.cells[2 * d][g] = is_empty ? static_cast<GroupCell>(kGreatestGroupCell)
                                           : group_cell_of(steps_of(min, low, scale), grid);
      directory.cells[2 * d + 1][g] = is_empty ? static_cast<GroupCell>(kLeastGroupCell)
                                               : group_cell_of(steps_of(max, low, scale), grid);
    }
  }
  return directory;
}

std::uint64_t differing(const std::uint64_t* left, const std::uint64_t* right) {
  const hn::CappedTag<std::uint64_t, 8> tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  std::uint64_t found = 0;
  HWY_UNROLL(8)
  for (std::uint32_t i = 0; i < kWordsCompared; i += lanes) {
    found |= bits_of(tag, hn::Eq(hn::LoadU(tag, left + i), hn::LoadU(tag, right + i))) << i;
  }
  return ~found;
}

std::uint64_t born_in(const std::uint64_t* names, Version version) {
  const hn::CappedTag<std::uint64_t, 8> tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const auto birth = hn::Set(tag, version);
  std::uint64_t found = 0;
  HWY_UNROLL(8)
  for (std::uint32_t i = 0; i < kWordsCompared; i += lanes) {
    const auto others =
        hn::ShiftLeft<NodeRef::kChunkBits>(hn::Xor(hn::LoadU(tag, names + i), birth));
    found |= bits_of(tag, hn::Eq(others, hn::Zero(tag))) << i;
  }
  return found;
}

void group_2d(Node<2>& leaf) { group(leaf); }
void group_3d(Node<3>& leaf) { group(leaf); }
LeafDirectory<2> directory_2d(const Node<2>& parent, std::uint32_t index, const Node<2>& leaf) {
  return make_directory(parent, index, leaf);
}
LeafDirectory<3> directory_3d(const Node<3>& parent, std::uint32_t index, const Node<3>& leaf) {
  return make_directory(parent, index, leaf);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace silurus::rtree {
namespace {

HWY_EXPORT(differing);
HWY_EXPORT(born_in);
HWY_EXPORT(group_2d);
HWY_EXPORT(group_3d);
HWY_EXPORT(directory_2d);
HWY_EXPORT(directory_3d);

}  // namespace

std::uint64_t words_that_differ(const std::uint64_t* left, const std::uint64_t* right) {
  return HWY_DYNAMIC_DISPATCH(differing)(left, right);
}
std::uint64_t names_born_in(const std::uint64_t* names, Version version) {
  return HWY_DYNAMIC_DISPATCH(born_in)(names, version);
}

template <>
void group_entries(Node<2>& leaf) {
  HWY_DYNAMIC_DISPATCH(group_2d)(leaf);
}
template <>
void group_entries(Node<3>& leaf) {
  HWY_DYNAMIC_DISPATCH(group_3d)(leaf);
}
template <>
LeafDirectory<2> directory_of(const Node<2>& parent, std::uint32_t index, const Node<2>& leaf) {
  return HWY_DYNAMIC_DISPATCH(directory_2d)(parent, index, leaf);
}
template <>
LeafDirectory<3> directory_of(const Node<3>& parent, std::uint32_t index, const Node<3>& leaf) {
  return HWY_DYNAMIC_DISPATCH(directory_3d)(parent, index, leaf);
}

}  // namespace silurus::rtree
#endif  // HWY_ONCE
