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
using Words = hn::CappedTag<std::int32_t, 16>;
using Doubles = hn::CappedTag<double, 8>;

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

/// A window's edges as cells of a node's grid.
template <int D>
struct WindowCells {
  std::int32_t lower[D];
  std::int32_t upper[D];
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
    const auto place = [&](auto edge, std::int32_t* to) {
      const auto steps = hn::Mul(hn::Sub(edge, low), scale);
      const auto inside = hn::Min(hn::Max(steps, hn::Zero(pair)), hn::Set(pair, kCellSteps));
      hn::StoreU(hn::Add(hn::DemoteTo(words, inside), hn::Set(words, kLeastCell)), words, to);
    };
    place(lower, cells.lower);
    place(upper, cells.upper);
    return true;
  } else {
    bool apart = false;
    for (int d = 0; d < D; ++d) {
      const double low = node.bounds.min[d];
      const double scale = node.inner.scale[d];
      apart |= limits.upper[d] < low || limits.lower[d] > node.bounds.max[d];
      cells.lower[d] = cell_of(limits.lower[d], low, scale);
      cells.upper[d] = cell_of(limits.upper[d], low, scale);
    }
    return !apart;
  }
}

/// Children that may hold answers.
template <int D>
HWY_INLINE Bits<kInnerFanout<D>> wanted_children(const Node<D>& node,
                                                 const RangeLimits<D>& limits) {
  const Cells tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  Bits<kInnerFanout<D>> found{};
  WindowCells<D> window;
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

/// In which dimensions the window covers children of a node, as far as their cells tell.
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
  HWY_INLINE std::uint8_t of(std::uint32_t i) const {
    std::uint32_t bits = 0;
    for (int d = 0; d < D; ++d) {
      const bool in =
          (node_.inner.cells[2 * d][i] > above_[d]) & (node_.inner.cells[2 * d + 1][i] < below_[d]);
      bits |= static_cast<std::uint32_t>(in) << d;
    }
    return static_cast<std::uint8_t>(bits);
  }

 private:
  const Node<D>& node_;
  std::int32_t above_[D];
  std::int32_t below_[D];
};

/// Of entries whose high words leave it open, keeps those that the low words let in.
template <int D>
HWY_NOINLINE std::uint64_t resolve(const Node<D>& node, const RangeLimits<D>& limits,
                                   std::uint64_t open, std::uint64_t found) {
  for (; open != 0; open &= open - 1) {
    const int i = std::countr_zero(open);
    bool in = true;
    for (int d = 0; d < D; ++d) {
      // The low words lie in lines of their own: they are read where the high words leave it open.
      if (node.leaf.high[2 * d][i] != high_word(limits.min_key[d]) &&
          node.leaf.high[2 * d + 1][i] != high_word(limits.max_key[d])) {
        continue;
      }
      const auto min = join_words(node.leaf.high[2 * d][i], node.leaf.low[2 * d][i]);
      const auto max = join_words(node.leaf.high[2 * d + 1][i], node.leaf.low[2 * d + 1][i]);
      in &= limits.within ? min >= limits.min_key[d] && max <= limits.max_key[d]
                          : min <= limits.min_key[d] && max >= limits.max_key[d];
    }
    if (!in) found &= ~(std::uint64_t{1} << i);
  }
  return found;
}

/// One dimension of a leaf: the entries that do not fit by their high words, and those that only
/// the low words can decide.
template <bool kWithin, int D>
HWY_INLINE void test_axis(const Node<D>& node, const RangeLimits<D>& limits, int d,
                          std::uint64_t& out, std::uint64_t& open) {
  const Words tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const auto min_word = hn::Set(tag, high_word(limits.min_key[d]));
  const auto max_word = hn::Set(tag, high_word(limits.max_key[d]));
  std::uint64_t out_bits = 0;
  std::uint64_t equal_bits = 0;
  HWY_UNROLL(16)
  for (std::uint32_t i = 0; i < kLeafFanout<D>; i += lanes) {
    const auto min = hn::Load(tag, node.leaf.high[2 * d] + i);
    const auto max = hn::Load(tag, node.leaf.high[2 * d + 1] + i);
    const auto beyond = kWithin ? hn::Or(hn::Gt(min_word, min), hn::Gt(max, max_word))
                                : hn::Or(hn::Gt(min, min_word), hn::Gt(max_word, max));
    const auto equal = hn::Or(hn::Eq(min, min_word), hn::Eq(max, max_word));
    out_bits |= bits_of(tag, beyond) << i;
    equal_bits |= bits_of(tag, equal) << i;
  }
  out = out_bits;
  open = equal_bits;
}

/// Entries that are answers, exactly. kByDimension: looks at the next dimension only if something
/// is left.
template <int D, bool kWithin, bool kByDimension>
HWY_INLINE std::uint64_t answers_of(const Node<D>& node, const RangeLimits<D>& limits,
                                    std::uint32_t covered) {
  std::uint64_t found = first_bits(node.header.count);
  std::uint64_t open = 0;
  for (int d = 0; d < D; ++d) {
    if ((covered >> d & 1) != 0) continue;
    std::uint64_t out = 0;
    std::uint64_t equal = 0;
    test_axis<kWithin>(node, limits, d, out, equal);
    found &= ~out;
    open |= equal;
    if (kByDimension && found == 0) return 0;
  }
  open &= found;
  if (open != 0) [[unlikely]]
    return resolve(node, limits, open, found);
  return found;
}

/// The words of those in the mask, one after the other; up to three more places are written.
/// (Highway's Compress is slower here: with g++ 12 it copies its table to the stack each time.)
HWY_INLINE std::uint64_t* gather_word(const std::uint64_t* words, std::uint64_t bits,
                                      std::uint64_t* out) {
  const int count = std::popcount(bits);
  for (int done = 0; done < count; done += 4) {  // so that few loops end in a misprediction
    for (int i = 0; i < 4; ++i) {
      out[done + i] = words[std::countr_zero(bits) % 64];  // the first one where none is left
      bits &= bits - 1;
    }
  }
  return out + count;
}

/// Square of the gap in one dimension, in the arithmetic of squared_distance().
template <class Vec>
HWY_INLINE Vec squared_gap(Vec min, Vec max, Vec at) {
  const Doubles tag;
  const auto gap = hn::Max(hn::Max(hn::Sub(min, at), hn::Sub(at, max)), hn::Zero(tag));
  return hn::Mul(gap, gap);
}

/// The coordinates of a row of a leaf, from entry i on.
template <int D>
HWY_INLINE hn::Vec<Doubles> coordinates(const Node<D>& node, int row, std::uint32_t i) {
  const Doubles tag;
  const hn::RebindToSigned<Doubles> keys;
  const hn::RebindToUnsigned<Doubles> bits;
  const hn::Rebind<std::int32_t, Doubles> highs;
  const hn::Rebind<std::uint32_t, Doubles> lows;
  const auto high =
      hn::ShiftLeft<32>(hn::PromoteTo(keys, hn::Load(highs, node.leaf.high[row] + i)));
  const auto low = hn::PromoteTo(bits, hn::Load(lows, node.leaf.low[row] + i));
  const auto key = hn::Or(high, hn::BitCast(keys, low));
  const auto flip = hn::And(hn::BroadcastSignBit(key), hn::Set(keys, INT64_MAX));
  return hn::BitCast(tag, hn::Xor(key, flip));
}

/// squared_distance() of the point from each entry.
template <int D>
HWY_INLINE void squared_distances(const Node<D>& node, const Point<D>& point, double* distances) {
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < node.header.count; i += lanes) {
    auto sum = hn::Zero(tag);
    for (int d = 0; d < D; ++d) {
      sum = hn::Add(sum, squared_gap(coordinates(node, 2 * d, i), coordinates(node, 2 * d + 1, i),
                                     hn::Set(tag, point.at[d])));
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
