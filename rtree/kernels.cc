#include "rtree/kernels.h"

#include <algorithm>
#include <limits>

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

/// Collects the bits of successive vectors in registers. kFanout is known when compiling, so that
/// loops unroll.
template <std::uint32_t kFanout>
class MaskBuilder {
 public:
  HWY_INLINE void add(std::uint32_t at, std::uint64_t bits) {
    if (kFanout <= 64 || at < 64) {
      low_ |= bits << (at % 64);
    } else {
      high_ |= bits << (at % 64);
    }
  }
  HWY_INLINE std::uint64_t any() const { return low_ | high_; }
  HWY_INLINE EntryMask first(std::uint32_t count) const {
    EntryMask mask;
    mask.words[0] = low_ & first_bits(count);
    mask.words[1] = kFanout > 64 && count > 64 ? high_ & first_bits(count - 64) : 0;
    return mask;
  }

 private:
  std::uint64_t low_ = 0;
  std::uint64_t high_ = 0;
};

template <int D>
EntryMask scan_inner(const Node<D>& node, const RangeLimits<D>& limits) {
  const Floats tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const std::uint32_t count = node.header.count;
  MaskBuilder<kInnerFanout<D>> found;
  HWY_UNROLL(8)
  for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
    if (i >= count) break;
    auto mask = hn::And(
        hn::Le(hn::Load(tag, node.inner.bounds[0] + i), hn::Set(tag, limits.inner_upper[0])),
        hn::Ge(hn::Load(tag, node.inner.bounds[1] + i), hn::Set(tag, limits.inner_lower[0])));
    for (int d = 1; d < D; ++d) {
      mask = hn::And(mask, hn::Le(hn::Load(tag, node.inner.bounds[2 * d] + i),
                                  hn::Set(tag, limits.inner_upper[d])));
      mask = hn::And(mask, hn::Ge(hn::Load(tag, node.inner.bounds[2 * d + 1] + i),
                                  hn::Set(tag, limits.inner_lower[d])));
    }
    found.add(i, bits_of(tag, mask));
  }
  return found.first(count);
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

/// One dimension of a vector of entries: those that fit by their high words, and those of them that
/// only the low words can decide.
template <bool kWithin, int D>
HWY_INLINE void test_axis(const Node<D>& node, const RangeLimits<D>& limits, int d, std::uint32_t i,
                          std::uint64_t& fits, std::uint64_t& open) {
  const Words tag;
  const auto min = hn::Load(tag, node.leaf.high[2 * d] + i);
  const auto max = hn::Load(tag, node.leaf.high[2 * d + 1] + i);
  const std::int32_t min_word = high_word(limits.min_key[d]);
  const std::int32_t max_word = high_word(limits.max_key[d]);
  // "At most w" as "less than w + 1": high words of finite numbers are never at the ends.
  const auto in = kWithin ? hn::And(hn::Gt(min, hn::Set(tag, min_word - 1)),
                                    hn::Lt(max, hn::Set(tag, max_word + 1)))
                          : hn::And(hn::Lt(min, hn::Set(tag, min_word + 1)),
                                    hn::Gt(max, hn::Set(tag, max_word - 1)));
  const auto equal =
      hn::Or(hn::Eq(min, hn::Set(tag, min_word)), hn::Eq(max, hn::Set(tag, max_word)));
  fits = bits_of(tag, in);
  open = bits_of(tag, equal);
}

template <int D, bool kWithin, bool kByDimension>
HWY_INLINE EntryMask scan_leaf_as(const Node<D>& node, const RangeLimits<D>& limits,
                                  std::uint32_t covered) {
  const Words tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const std::uint32_t count = node.header.count;
  EntryMask found;
  found.words[0] = first_bits(count);
  std::uint64_t open = 0;
  for (int d = 0; d < D; ++d) {
    if ((covered >> d & 1) != 0) continue;
    std::uint64_t fits_all = 0;
    HWY_UNROLL(4)
    for (std::uint32_t i = 0; i < kLeafFanout<D>; i += lanes) {
      if (i >= count) break;
      std::uint64_t fits = 0;
      std::uint64_t equal = 0;
      test_axis<kWithin>(node, limits, d, i, fits, equal);
      fits_all |= fits << i;
      open |= equal << i;
    }
    found.words[0] &= fits_all;
    if (kByDimension && found.words[0] == 0) return found;
  }
  open &= found.words[0];
  if (open != 0) [[unlikely]]
    resolve(node, limits, EntryMask{{open}}, found);
  return found;
}

template <int D, bool kByDimension>
EntryMask scan_leaf(const Node<D>& node, const RangeLimits<D>& limits, std::uint32_t covered) {
  return limits.within ? scan_leaf_as<D, true, kByDimension>(node, limits, covered)
                       : scan_leaf_as<D, false, kByDimension>(node, limits, covered);
}

/// The words of those in the mask, one after the other; up to three more places are written.
/// (Highway's Compress is slower here: with g++ 12 it copies its table to the stack each time.)
std::uint32_t gather(const std::uint64_t* words, const EntryMask& mask, std::uint64_t* out) {
  const std::uint64_t* const begin = out;
  for (const std::uint64_t word : mask.words) {
    const int count = std::popcount(word);
    std::uint64_t bits = word;
    for (int done = 0; done < count; done += 4) {  // so that few loops end in a misprediction
      for (int i = 0; i < 4; ++i) {
        out[done + i] = words[std::countr_zero(bits) % 64];  // the first one where none is left
        bits &= bits - 1;
      }
    }
    out += count;
    words += 64;
  }
  return static_cast<std::uint32_t>(out - begin);
}

template <int D>
std::uint32_t gather_inner(const Node<D>& node, const RangeLimits<D>& limits, std::uint64_t* out,
                           std::uint8_t* hints) {
  constexpr std::uint32_t kFew = 2;
  // Which names are wanted is known only after the scan: have them all on their way by then.
  for (std::uint32_t i = 0; i < node.header.count; i += 8) {
    __builtin_prefetch(node.inner.children + i);
  }
  const EntryMask wanted = scan_inner(node, limits);
  const std::uint32_t count = gather(node.inner.children, wanted, out);
  if (count <= kFew) {
    hints[0] = hints[1] = kAloneHint;
    return count;
  }
  wanted.for_each([&](std::uint32_t i) {
    std::uint32_t bits = 0;
    for (int d = 0; d < D; ++d) {
      const bool in = limits.can_cover && node.inner.bounds[2 * d][i] >= limits.inner_lower[d] &&
                      node.inner.bounds[2 * d + 1][i] <= limits.inner_upper[d];
      bits |= static_cast<std::uint32_t>(in) << d;
    }
    *hints++ = static_cast<std::uint8_t>(bits);
  });
  return count;
}

template <int D>
std::uint32_t count_leaf(const Node<D>& node, const RangeLimits<D>& limits, std::uint32_t covered) {
  return scan_leaf<D, false>(node, limits, covered).count();
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
  const Doubles tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  const auto limit = hn::Set(tag, bound);
  MaskBuilder<kMaxFanout> found;
  for (std::uint32_t i = 0; i < count; i += lanes) {
    found.add(i, bits_of(tag, hn::Le(hn::Load(tag, distances + i), limit)));
  }
  return found.first(count);
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
      &scan_leaf<D, false>,
      &scan_leaf<D, true>,
      &gather_inner<D>,
      &gather,
      &count_leaf<D>,
      &inner_distances<D>,
      &leaf_distances<D>,
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
