#include "rtree/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rtree/kernels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace silurus::rtree {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Fanouts are multiples of 16: no vector sticks out of a row.
using Floats = hn::CappedTag<float, 16>;
using Words = hn::CappedTag<std::int32_t, 16>;
using Doubles = hn::CappedTag<double, 8>;

template <class Tag>
HWY_INLINE std::uint64_t bits_of(Tag tag, hn::Mask<Tag> mask) {
  alignas(8) std::uint8_t bytes[8];
  if constexpr (hn::MaxLanes(Tag()) == 16) {
    hn::StoreMaskBits(tag, mask, bytes);
    std::uint16_t bits;
    __builtin_memcpy(&bits, bytes, sizeof(bits));
    return bits;
  } else {
    hn::StoreMaskBits(tag, mask, bytes);
    return bytes[0];
  }
}

HWY_INLINE std::uint64_t first_bits(std::uint32_t count) {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

HWY_INLINE void cut(EntryMask& mask, std::uint32_t count) {
  mask.words[0] &= first_bits(count);
  mask.words[1] &= count > 64 ? first_bits(count - 64) : 0;
}

template <int D>
EntryMask scan_inner(const Node<D>& node, const RangeLimits<D>& limits) {
  const Floats tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const std::uint32_t count = node.header.count;
  EntryMask found;
  for (std::uint32_t i = 0; i < count; i += lanes) {
    auto mask =
        hn::Le(hn::Load(tag, node.inner.bounds[0] + i), hn::Set(tag, limits.inner_upper[0]));
    mask = hn::And(
        mask, hn::Ge(hn::Load(tag, node.inner.bounds[1] + i), hn::Set(tag, limits.inner_lower[0])));
    for (int d = 1; d < D; ++d) {
      mask = hn::And(mask, hn::Le(hn::Load(tag, node.inner.bounds[2 * d] + i),
                                  hn::Set(tag, limits.inner_upper[d])));
      mask = hn::And(mask, hn::Ge(hn::Load(tag, node.inner.bounds[2 * d + 1] + i),
                                  hn::Set(tag, limits.inner_lower[d])));
    }
    found.words[i / 64] |= bits_of(tag, mask) << (i % 64);
  }
  cut(found, count);
  return found;
}

/// Of entries whose high words leave it open, keeps those that the low words let in.
template <int D>
HWY_NOINLINE void resolve(const Node<D>& node, const RangeLimits<D>& limits, EntryMask open,
                          EntryMask& found) {
  open.for_each([&](std::uint32_t i) {
    bool in = true;
    for (int d = 0; d < D; ++d) {
      const auto min = join_words(node.leaf.high[2 * d][i], node.leaf.low[2 * d][i]);
      const auto max = join_words(node.leaf.high[2 * d + 1][i], node.leaf.low[2 * d + 1][i]);
      in &= limits.within ? min >= limits.min_key[d] && max <= limits.max_key[d]
                          : min <= limits.min_key[d] && max >= limits.max_key[d];
    }
    if (!in) found.words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
  });
}

template <int D, bool kWithin>
HWY_INLINE EntryMask scan_leaf_as(const Node<D>& node, const RangeLimits<D>& limits) {
  const Words tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const std::uint32_t count = node.header.count;
  EntryMask found;
  EntryMask open;
  for (std::uint32_t i = 0; i < count; i += lanes) {
    auto mask = hn::MaskFromVec(hn::Zero(tag));
    auto equal = mask;
    for (int d = 0; d < D; ++d) {
      const auto min = hn::Load(tag, node.leaf.high[2 * d] + i);
      const auto max = hn::Load(tag, node.leaf.high[2 * d + 1] + i);
      const std::int32_t min_word = high_word(limits.min_key[d]);
      const std::int32_t max_word = high_word(limits.max_key[d]);
      // "At most w" as "less than w + 1": high words of finite numbers are never at the ends.
      const auto fits = kWithin ? hn::And(hn::Gt(min, hn::Set(tag, min_word - 1)),
                                          hn::Lt(max, hn::Set(tag, max_word + 1)))
                                : hn::And(hn::Lt(min, hn::Set(tag, min_word + 1)),
                                          hn::Gt(max, hn::Set(tag, max_word - 1)));
      const auto ends =
          hn::Or(hn::Eq(min, hn::Set(tag, min_word)), hn::Eq(max, hn::Set(tag, max_word)));
      mask = d == 0 ? fits : hn::And(mask, fits);
      equal = d == 0 ? ends : hn::Or(equal, ends);
    }
    const std::uint64_t bits = bits_of(tag, mask);
    found.words[i / 64] |= bits << (i % 64);
    open.words[i / 64] |= (bits & bits_of(tag, equal)) << (i % 64);
  }
  cut(found, count);
  cut(open, count);
  if ((open.words[0] | open.words[1]) != 0) [[unlikely]]
    resolve(node, limits, open, found);
  return found;
}

template <int D>
EntryMask scan_leaf(const Node<D>& node, const RangeLimits<D>& limits) {
  return limits.within ? scan_leaf_as<D, true>(node, limits) : scan_leaf_as<D, false>(node, limits);
}

/// Square of the gap in one dimension, in the arithmetic of squared_distance().
template <class Vec>
HWY_INLINE Vec squared_gap(Vec min, Vec max, Vec at) {
  const Doubles tag;
  const auto gap = hn::Max(hn::Max(hn::Sub(min, at), hn::Sub(at, max)), hn::Zero(tag));
  return hn::Mul(gap, gap);
}

template <int D>
void inner_distances(const Node<D>& node, const Point<D>& point, double* distances) {
  const Doubles tag;
  const hn::Rebind<float, Doubles> narrow;
  const std::uint32_t lanes = hn::Lanes(tag);
  for (std::uint32_t i = 0; i < node.header.count; i += lanes) {
    auto sum = hn::Zero(tag);
    for (int d = 0; d < D; ++d) {
      const auto min = hn::PromoteTo(tag, hn::Load(narrow, node.inner.bounds[2 * d] + i));
      const auto max = hn::PromoteTo(tag, hn::Load(narrow, node.inner.bounds[2 * d + 1] + i));
      sum = hn::Add(sum, squared_gap(min, max, hn::Set(tag, point.at[d])));
    }
    hn::Store(sum, tag, distances + i);
  }
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

template <int D>
void leaf_distances(const Node<D>& node, const Point<D>& point, double* distances) {
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

template <int D>
const Kernels<D>* table() {
  static constexpr Kernels<D> kTable{&scan_inner<D>, &scan_leaf<D>, &inner_distances<D>,
                                     &leaf_distances<D>};
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
  for (int d = 0; d < D; ++d) {
    const double upper = contains ? window.min[d] : window.max[d];
    const double lower = contains ? window.max[d] : window.min[d];
    limits.inner_upper[d] = round_down(upper);
    limits.inner_lower[d] = round_up(lower);
    limits.min_key[d] = limits.within ? lower_key(window.min[d]) : upper_key(upper);
    limits.max_key[d] = limits.within ? upper_key(window.max[d]) : lower_key(lower);
  }
  return limits;
}

template struct RangeLimits<2>;
template struct RangeLimits<3>;

}  // namespace silurus::rtree
#endif  // HWY_ONCE
