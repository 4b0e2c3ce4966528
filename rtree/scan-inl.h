// SPDX-License-Identifier: Apache-2.0

// No #pragma once: this is included once for each instruction set, by kernels.cc and walk.cc, whose
// functions are made of what is here. After <hwy/highway.h>.
#if defined(SILURUS_RTREE_SCAN_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SILURUS_RTREE_SCAN_INL_H
#undef SILURUS_RTREE_SCAN_INL_H
#else
#define SILURUS_RTREE_SCAN_INL_H
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "rtree/kernels.h"
#include "rtree/node.h"

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Fanouts are multiples of as many lanes: no vector sticks out of a row.
using Floats = hn::CappedTag<float, 16>;
using Cells = hn::CappedTag<Cell, 32>;
using Doubles = hn::CappedTag<double, 8>;
using GroupDoubles = hn::CappedTag<double, kGroupFanout>;

template <class Tag>
HWY_INLINE std::uint64_t bits_of(Tag tag, hn::Mask<Tag> mask) {
  alignas(8) std::uint8_t bytes[8];
  hn::StoreMaskBits(tag, mask, bytes);
  if constexpr (hn::MaxLanes(Tag()) == 32) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, bytes, sizeof(bits));
    return bits;
  } else if constexpr (hn::MaxLanes(Tag()) == 16) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, bytes, sizeof(bits));
    return bits;
  } else {
    return bytes[0];
  }
}

HWY_INLINE std::uint64_t first_bits(std::uint32_t count) {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

/// Groups of a leaf up to which each is looked at by itself; if there are more, all are looked at.
constexpr int kFewGroups = 3;

// Loops over a whole row have no way out before its end, so that the compiler unrolls them and
// keeps the masks in registers. Places beyond the count hold anything: the mask is cut to the
// count.

/// Bits of entries, as many words as a node of `fanout` needs.
template <std::uint32_t kFanout>
using Bits = std::array<std::uint64_t, (kFanout + 63) / 64>;

template <std::uint32_t kFanout>
HWY_INLINE void keep_first(Bits<kFanout>& bits, std::uint32_t count) {
  for (std::uint32_t w = 0; w < bits.size(); ++w) {
    bits[w] &= count > w * 64 ? first_bits(count - w * 64) : 0;
  }
}

template <std::uint32_t kFanout>
HWY_INLINE EntryMask mask_of(const Bits<kFanout>& bits) {
  EntryMask mask;
  for (std::uint32_t w = 0; w < bits.size(); ++w) mask.words[w] = bits[w];
  return mask;
}

/// Calls visit(index) for each bit.
template <std::size_t kWords, typename Visit>
HWY_INLINE void for_each_bit(const std::array<std::uint64_t, kWords>& bits, Visit&& visit) {
  for (std::uint32_t w = 0; w < kWords; ++w) {
    for (std::uint64_t rest = bits[w]; rest != 0; rest &= rest - 1) {
      visit(w * 64 + static_cast<std::uint32_t>(std::countr_zero(rest)));
    }
  }
}

template <std::uint32_t kFanout>
HWY_INLINE std::uint32_t count_of(const Bits<kFanout>& bits) {
  std::uint32_t sum = 0;
  for (const std::uint64_t word : bits) sum += static_cast<std::uint32_t>(std::popcount(word));
  return sum;
}

/// A window's edges as cells of a node's grid, and how far they lie into it (steps_of).
template <int D>
struct WindowCells {
  std::int32_t lower[D];
  std::int32_t upper[D];
  double lower_steps[D];
  double upper_steps[D];
};

/// cell_of() of all edges of a window; false if the window lies apart from the node's own box,
/// which cells cannot tell: what lies beyond the grid has the cell at its edge.
template <int D>
HWY_INLINE bool make_cells(const Node<D>& node, const RangeLimits<D>& limits,
                           WindowCells<D>& cells) {
  using Pair = hn::CappedTag<double, 2>;  // one number of each axis
  if constexpr (D == 2 && hn::MaxLanes(Pair()) == 2) {
    const Pair pair;
    const hn::Rebind<std::int32_t, decltype(pair)> words;
    const auto low = hn::LoadU(pair, node.bounds.min.data());
    const auto high = hn::LoadU(pair, node.bounds.max.data());
    const auto lower = hn::LoadU(pair, limits.lower.data());
    const auto upper = hn::LoadU(pair, limits.upper.data());
    if (!hn::AllFalse(pair, hn::Or(hn::Lt(upper, low), hn::Gt(lower, high)))) return false;
    const auto scale = hn::LoadU(pair, node.inner.scale);
    const auto place = [&](auto edge, double* steps, std::int32_t* to) {
      const auto beyond = hn::Mul(hn::Sub(edge, low), scale);
      const auto inside = hn::Min(hn::Max(beyond, hn::Zero(pair)), hn::Set(pair, kCellSteps));
      hn::StoreU(inside, pair, steps);
      hn::StoreU(hn::Add(hn::DemoteTo(words, inside), hn::Set(words, kLeastCell)), words, to);
    };
    place(lower, cells.lower_steps, cells.lower);
    place(upper, cells.upper_steps, cells.upper);
    return true;
  } else {
    bool apart = false;
    for (int d = 0; d < D; ++d) {
      const double low = node.bounds.min[d];
      const double scale = node.inner.scale[d];
      apart |= limits.upper[d] < low || limits.lower[d] > node.bounds.max[d];
      cells.lower_steps[d] = steps_of(limits.lower[d], low, scale);
      cells.upper_steps[d] = steps_of(limits.upper[d], low, scale);
      cells.lower[d] = static_cast<std::int32_t>(cells.lower_steps[d]) + kLeastCell;
      cells.upper[d] = static_cast<std::int32_t>(cells.upper_steps[d]) + kLeastCell;
    }
    return !apart;
  }
}

/// Children that may hold answers; and where the window lies, if there are any.
template <int D>
HWY_INLINE Bits<kInnerFanout<D>> wanted_children(const Node<D>& node, const RangeLimits<D>& limits,
                                                 WindowCells<D>& window) {
  const Cells tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  Bits<kInnerFanout<D>> found{};
  if (!make_cells(node, limits, window)) return found;
  HWY_UNROLL(16)
  for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
    const auto beyond = [&](int d) {
      return hn::Or(hn::Gt(hn::Load(tag, node.inner.cells[2 * d] + i),
                           hn::Set(tag, static_cast<Cell>(window.upper[d]))),
                    hn::Gt(hn::Set(tag, static_cast<Cell>(window.lower[d])),
                           hn::Load(tag, node.inner.cells[2 * d + 1] + i)));
    };
    auto out = beyond(0);
    for (int d = 1; d < D; ++d) out = hn::Or(out, beyond(d));
    found[i / 64] |= bits_of(tag, out) << (i % 64);
  }
  for (std::uint64_t& word : found) word = ~word;
  keep_first<kInnerFanout<D>>(found, node.header.count);
  return found;
}

/// Groups that may hold answers, of a leaf that is a wanted child.
template <int D>
HWY_INLINE GroupMask wanted_groups(const Node<D>& node, std::uint32_t child,
                                   const WindowCells<D>& window) {
  const hn::CappedTag<GroupCell, kLeafGroups<D>> tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  GroupCell lower[D];
  GroupCell upper[D];
  for (int d = 0; d < D; ++d) {
    const GroupGrid grid = node.group_grid(child, d);
    lower[d] = group_cell_of(window.lower_steps[d], grid);
    upper[d] = group_cell_of(window.upper_steps[d], grid);
  }
  const LeafDirectory<D>& directory = node.inner.directories[child];
  std::uint64_t beyond = 0;
  for (std::uint32_t g = 0; g < kLeafGroups<D>; g += lanes) {
    const auto test = [&](int d) {
      return hn::Or(hn::Gt(hn::LoadU(tag, directory.cells[2 * d] + g), hn::Set(tag, upper[d])),
                    hn::Gt(hn::Set(tag, lower[d]), hn::LoadU(tag, directory.cells[2 * d + 1] + g)));
    };
    auto out = test(0);
    for (int d = 1; d < D; ++d) out = hn::Or(out, test(d));
    beyond |= bits_of(tag, out) << g;
  }
  return static_cast<GroupMask>(~beyond);
}

/// Whether the window covers children of a node, as far as their cells tell.
template <int D>
class Cover {
 public:
  HWY_INLINE Cover(const Node<D>& node, const RangeLimits<D>& limits) : node_(node) {
    for (int d = 0; d < D; ++d) {
      const double low = node.bounds.min[d];
      const double scale = node.inner.scale[d];
      // A child in the same cell as an edge may reach beyond it, but for the node's own edges.
      above_[d] = limits.lower[d] <= low ? kLeastCell - 1 : cell_of(limits.lower[d], low, scale);
      below_[d] = limits.upper[d] >= node.bounds.max[d] ? kGreatestCell + 1
                                                        : cell_of(limits.upper[d], low, scale);
      if (!limits.can_cover) above_[d] = kGreatestCell;
    }
  }
  HWY_INLINE bool has(std::uint32_t i) const {
    bool in = true;
    for (int d = 0; d < D; ++d) {
      in &=
          (node_.inner.cells[2 * d][i] > above_[d]) & (node_.inner.cells[2 * d + 1][i] < below_[d]);
    }
    return in;
  }

 private:
  const Node<D>& node_;
  std::int32_t above_[D];
  std::int32_t below_[D];
};

/// Keeps entries whose high words leave it open, if the low words let them in.
template <int D>
HWY_NOINLINE std::uint64_t resolve(const Node<D>& node, const RangeLimits<D>& limits,
                                   std::uint64_t open, std::uint64_t found) {
  for (; open != 0; open &= open - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(open));
    bool in = true;
    for (int d = 0; d < D; ++d) {
      const std::int64_t min = node.key(2 * d, i);
      const std::int64_t max = node.key(2 * d + 1, i);
      in &= limits.within ? min >= limits.min_key[d] && max <= limits.max_key[d]
                          : min <= limits.min_key[d] && max >= limits.max_key[d];
    }
    if (!in) found &= ~(std::uint64_t{1} << i);
  }
  return found;
}

/// A query's bounds in registers, for as many rows of a group as a vector holds.
template <int D>
class GroupTest {
 public:
  HWY_INLINE explicit GroupTest(const RangeLimits<D>& limits) : limits_(limits) {}

  /// Entries of a group that fit by their high words, and those that only the low words can decide.
  HWY_INLINE void operator()(const LeafGroup<D>& group, std::uint64_t& in,
                             std::uint64_t& open) const {
    const Words tag;
    const std::uint32_t lanes = hn::Lanes(tag);
    // All rows, one after the other: pointers to words, not to the words of one row.
    const std::int32_t* const all_words = &group.high[0][0];
    const std::int32_t* const all_bounds = &limits_.bound[0][0];
    std::uint64_t out_bits = 0;
    std::uint64_t equal_bits = 0;
    HWY_UNROLL(8)
    for (std::uint32_t i = 0; i < kWords; i += lanes) {
      const auto flip = hn::LoadU(tag, limits_.flip + i % kBoth);
      const auto words = hn::Xor(hn::LoadU(tag, all_words + i), flip);
      const auto bound = hn::LoadU(tag, all_bounds + i);
      const std::uint32_t at = i % kGroupFanout;
      out_bits |= fold(bits_of(tag, hn::Gt(words, bound))) << at;
      equal_bits |= fold(bits_of(tag, hn::Eq(words, bound))) << at;
    }
    in = ~out_bits & kOneGroup;
    open = equal_bits & in;
  }

 private:
  static constexpr std::uint32_t kBoth = 2 * kGroupFanout;  // the rows of one dimension
  static constexpr std::uint32_t kWords = D * kBoth;
  static constexpr std::uint64_t kOneGroup = (1 << kGroupFanout) - 1;
  /// As many words as the rows of a group are a multiple of.
  using Words = hn::CappedTag<std::int32_t, D % 2 == 0 ? 2 * kBoth : kBoth>;
  /// Bit i of the result: bit i of any row.
  HWY_INLINE static std::uint64_t fold(std::uint64_t bits) {
    if constexpr (hn::MaxLanes(Words()) > 8) bits |= bits >> 8;
    if constexpr (hn::MaxLanes(Words()) > 4) bits |= bits >> 4;
    return bits & kOneGroup;
  }

  const RangeLimits<D>& limits_;
};

/// All entries of some groups.
HWY_INLINE std::uint64_t entries_of(GroupMask groups) {
  static_assert(kGroupFanout == 4);
  std::uint32_t bits = groups;
  bits = (bits | bits << 12) & 0x000F000F;  // bit g goes to bit 4 g
  bits = (bits | bits << 6) & 0x03030303;
  bits = (bits | bits << 3) & 0x11111111;
  return std::uint64_t{bits} * 0xF;
}

/// Entries of some groups of a leaf that are answers, exactly. Looks at nothing else of the leaf.
template <int D>
HWY_INLINE std::uint64_t answers_of(const Node<D>& node, const RangeLimits<D>& limits,
                                    GroupMask groups) {
  const GroupTest<D> test(limits);
  std::uint64_t found = 0;
  std::uint64_t open = 0;
  const auto look_into = [&](std::uint32_t g) {
    std::uint64_t in = 0;
    std::uint64_t undecided = 0;
    test(node.leaf.groups[g], in, undecided);
    found |= in << (g * kGroupFanout);
    open |= undecided << (g * kGroupFanout);
  };
  if (std::popcount(groups) > kFewGroups) {
    // A loop over all of them, of a length that is known, is quicker.
    HWY_UNROLL(8)
    for (std::uint32_t g = 0; g < kLeafGroups<D>; ++g) look_into(g);
    found &= entries_of(groups);
    open &= found;
  } else {
    for (std::uint32_t rest = groups; rest != 0; rest &= rest - 1) {
      look_into(static_cast<std::uint32_t>(std::countr_zero(rest)));
    }
  }
  if (open != 0) [[unlikely]]
    return resolve(node, limits, open, found);
  return found;
}

/// The ids of those in the mask, one after the other; up to three more places are written.
/// (Highway's Compress is slower here: with g++ 12 it copies its table to the stack each time.)
template <int D>
HWY_INLINE std::uint64_t* gather_ids(const Node<D>& leaf, std::uint64_t bits, std::uint64_t* out) {
  const int count = std::popcount(bits);
  for (int done = 0; done < count; done += 4) {  // so that few loops end in a misprediction
    for (int i = 0; i < 4; ++i) {
      // The first one where none is left.
      out[done + i] = leaf.id(static_cast<std::uint32_t>(std::countr_zero(bits)) % kLeafFanout<D>);
      bits &= bits - 1;
    }
  }
  return out + count;
}

/// Square of the gap in one dimension, in the arithmetic of squared_distance().
template <class Tag, class Vec>
HWY_INLINE Vec squared_gap(Tag tag, Vec min, Vec max, Vec at) {
  const auto gap = hn::Max(hn::Max(hn::Sub(min, at), hn::Sub(at, max)), hn::Zero(tag));
  return hn::Mul(gap, gap);
}

/// The coordinates of a row of a leaf, from entry i on, all of one group.
template <int D>
HWY_INLINE hn::Vec<GroupDoubles> coordinates(const Node<D>& node, int row, std::uint32_t i) {
  const GroupDoubles tag;
  const hn::RebindToSigned<GroupDoubles> keys;
  const hn::RebindToUnsigned<GroupDoubles> bits;
  const hn::Rebind<std::int32_t, GroupDoubles> highs;
  const hn::Rebind<std::uint32_t, GroupDoubles> lows;
  const LeafGroup<D>& group = node.leaf.groups[i / kGroupFanout];
  const std::uint32_t at = i % kGroupFanout;
  const auto high = hn::ShiftLeft<32>(hn::PromoteTo(keys, hn::LoadU(highs, group.high[row] + at)));
  const auto low = hn::PromoteTo(bits, hn::LoadU(lows, group.low[row] + at));
  const auto key = hn::Or(high, hn::BitCast(keys, low));
  const auto flip = hn::And(hn::BroadcastSignBit(key), hn::Set(keys, INT64_MAX));
  return hn::BitCast(tag, hn::Xor(key, flip));
}

/// squared_distance() of the point from each entry; of anything at places without one.
template <int D>
HWY_INLINE void squared_distances(const Node<D>& node, const Point<D>& point, double* distances) {
  const GroupDoubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < node.header.count; i += lanes) {
    auto sum = hn::Zero(tag);
    for (int d = 0; d < D; ++d) {
      sum = hn::Add(sum, squared_gap(tag, coordinates(node, 2 * d, i),
                                     coordinates(node, 2 * d + 1, i), hn::Set(tag, point.at[d])));
    }
    hn::Store(sum, tag, distances + i);
  }
}

/// Those that are at most `bound`.
HWY_INLINE EntryMask distances_within(const double* distances, std::uint32_t count, double bound) {
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const auto limit = hn::Set(tag, bound);
  Bits<kMaxFanout> found{};
  for (std::uint32_t i = 0; i < count; i += lanes) {
    found[i / 64] |= bits_of(tag, hn::Le(hn::Load(tag, distances + i), limit)) << (i % 64);
  }
  keep_first<kMaxFanout>(found, count);
  return mask_of<kMaxFanout>(found);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace silurus::rtree
HWY_AFTER_NAMESPACE();

#endif  // SILURUS_RTREE_SCAN_INL_H
