#include "rtree/kernels.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "rtree/tree.h"
#include "rtree/walk.h"

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

template <std::uint32_t kFanout>
HWY_INLINE std::uint32_t count_of(const Bits<kFanout>& bits) {
  std::uint32_t sum = 0;
  for (const std::uint64_t word : bits) sum += static_cast<std::uint32_t>(std::popcount(word));
  return sum;
}

/// Children that may hold answers.
template <int D>
HWY_INLINE Bits<kInnerFanout<D>> wanted_children(const Node<D>& node,
                                                 const RangeLimits<D>& limits) {
  const Floats tag;
  const std::uint32_t lanes = hn::Lanes(tag);
  Bits<kInnerFanout<D>> found{};
  HWY_UNROLL(20)
  for (std::uint32_t i = 0; i < kInnerFanout<D>; i += lanes) {
    auto mask = hn::And(
        hn::Le(hn::Load(tag, node.inner.bounds[0] + i), hn::Set(tag, limits.inner_upper[0])),
        hn::Ge(hn::Load(tag, node.inner.bounds[1] + i), hn::Set(tag, limits.inner_lower[0])));
    for (int d = 1; d < D; ++d) {
      mask = hn::And(mask, hn::Le(hn::Load(tag, node.inner.bounds[2 * d] + i),
                                  hn::Set(tag, limits.inner_upper[d])));
      mask = hn::And(mask, hn::Ge(hn::Load(tag, node.inner.bounds[2 * d + 1] + i),
                                  hn::Set(tag, limits.inner_lower[d])));
    }
    found[i / 64] |= bits_of(tag, mask) << (i % 64);
  }
  keep_first<kInnerFanout<D>>(found, node.header.count);
  return found;
}

template <int D>
EntryMask scan_inner(const Node<D>& node, const RangeLimits<D>& limits) {
  return mask_of<kInnerFanout<D>>(wanted_children(node, limits));
}

/// In which dimensions the window covers a child.
template <int D>
HWY_INLINE std::uint8_t cover_of(const Node<D>& node, const RangeLimits<D>& limits,
                                 std::uint32_t i) {
  std::uint32_t bits = 0;
  for (int d = 0; d < D; ++d) {
    const bool in = limits.can_cover & (node.inner.bounds[2 * d][i] >= limits.inner_lower[d]) &
                    (node.inner.bounds[2 * d + 1][i] <= limits.inner_upper[d]);
    bits |= static_cast<std::uint32_t>(in) << d;
  }
  return static_cast<std::uint8_t>(bits);
}

/// Of entries whose high words leave it open, keeps those that the low words let in.
template <int D>
HWY_NOINLINE std::uint64_t resolve(const Node<D>& node, const RangeLimits<D>& limits,
                                   std::uint64_t open, std::uint64_t found) {
  for (; open != 0; open &= open - 1) {
    const int i = std::countr_zero(open);
    bool in = true;
    for (int d = 0; d < D; ++d) {
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

template <int D, bool kByDimension>
EntryMask scan_leaf(const Node<D>& node, const RangeLimits<D>& limits, std::uint32_t covered) {
  return EntryMask{{limits.within ? answers_of<D, true, kByDimension>(node, limits, covered)
                                  : answers_of<D, false, kByDimension>(node, limits, covered)}};
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

std::uint32_t gather(const std::uint64_t* words, const EntryMask& mask, std::uint64_t* out) {
  std::uint64_t* const begin = out;
  for (const std::uint64_t word : mask.words) {
    out = gather_word(words, word, out);
    words += 64;
  }
  return static_cast<std::uint32_t>(out - begin);
}

template <int D>
std::uint32_t gather_inner(const Node<D>& node, const RangeLimits<D>& limits, std::uint64_t* out,
                           std::uint8_t* hints) {
  const Bits<kInnerFanout<D>> wanted = wanted_children(node, limits);
  const std::uint32_t count = count_of<kInnerFanout<D>>(wanted);
  const bool is_alone = count <= kFewWanted;
  mask_of<kInnerFanout<D>>(wanted).for_each([&](std::uint32_t i) {
    *out++ = node.inner.children[i];
    *hints++ = is_alone ? kAloneHint : cover_of(node, limits, i);
  });
  return count;
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
  Bits<kMaxFanout> found{};
  for (std::uint32_t i = 0; i < count; i += lanes) {
    found[i / 64] |= bits_of(tag, hn::Le(hn::Load(tag, distances + i), limit)) << (i % 64);
  }
  keep_first<kMaxFanout>(found, count);
  return mask_of<kMaxFanout>(found);
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

HWY_INLINE void prefetch(const void* from, std::size_t bytes) {
  const auto* lines = static_cast<const char*>(from);
  HWY_UNROLL(32)
  for (std::size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(lines + offset);
}

/// Searches of nodes at hand, whole loops (walk.h).
template <int D>
struct WalkOf {
  using State = RangeState<D>;
  /// Bit d of a leaf's hints: the window covers the leaf in dimension d.
  static constexpr std::uint32_t kCovered = (1 << D) - 1;

  /// Looks into the inner node that comes next, and prefetches what it leads to.
  HWY_INLINE static void visit_inner(State& state, const Snapshot<D>& snapshot) {
    const auto taken = state.inner[--state.inner_count];
    const Node<D>& node = snapshot.node(NodeRef::from_word(taken.word));
    const Bits<kInnerFanout<D>> wanted = wanted_children(node, state.limits);
    if (taken.level == 1) {
      add_leaves(state, snapshot, node, wanted);
    } else {
      add_inner(state, snapshot, node, wanted, taken.level - 1);
    }
  }

  HWY_INLINE static void add_leaves(State& state, const Snapshot<D>& snapshot, const Node<D>& node,
                                    const Bits<kInnerFanout<D>>& wanted) {
    constexpr std::size_t kAxisBytes = 2 * sizeof(node.leaf.high[0]);
    state.make_room_for_leaves();
    std::uint64_t* out = state.leaves.data() + state.leaf_end;
    std::uint8_t* hints = state.leaf_hints.data() + state.leaf_end;
    const std::uint32_t count = count_of<kInnerFanout<D>>(wanted);
    state.leaf_end += count;
    if (count <= kFewWanted) {
      mask_of<kInnerFanout<D>>(wanted).for_each([&](std::uint32_t i) {
        // A small window: a search seldom gets further than the first dimension.
        const Node<D>& leaf = snapshot.node(node.child(i));
        prefetch(&leaf, sizeof(NodeHeader) + kAxisBytes);
        *out++ = node.inner.children[i];
        *hints++ = kAloneHint;
      });
      return;
    }
    mask_of<kInnerFanout<D>>(wanted).for_each([&](std::uint32_t i) {
      // Of many leaves all is read but the low words and what the window covers.
      const Node<D>& leaf = snapshot.node(node.child(i));
      const std::uint8_t cover = cover_of(node, state.limits, i);
      __builtin_prefetch(&leaf);
      for (int d = 0; d < D; ++d) {
        if ((cover >> d & 1) == 0) prefetch(leaf.leaf.high[2 * d], kAxisBytes);
      }
      prefetch(leaf.leaf.ids, sizeof(leaf.leaf.ids));
      *out++ = node.inner.children[i];
      *hints++ = cover;
    });
  }

  HWY_INLINE static void add_inner(State& state, const Snapshot<D>& snapshot, const Node<D>& node,
                                   const Bits<kInnerFanout<D>>& wanted, std::uint32_t level) {
    state.make_room_for_inner();
    auto* out = state.inner.data() + state.inner_count;
    state.inner_count += count_of<kInnerFanout<D>>(wanted);
    mask_of<kInnerFanout<D>>(wanted).for_each([&](std::uint32_t i) {
      prefetch(&snapshot.node(node.child(i)), sizeof(NodeHeader) + sizeof(node.inner.bounds));
      *out++ = {node.inner.children[i], level};
    });
  }

  /// Looks into the leaf that comes next.
  template <bool kWithin, bool kByDimension>
  HWY_INLINE static void visit_leaf(State& state, const Snapshot<D>& snapshot) {
    const std::size_t at = state.leaf_begin++;
    const Node<D>& leaf = snapshot.node(NodeRef::from_word(state.leaves[at]));
    const std::uint64_t found =
        answers_of<D, kWithin, kByDimension>(leaf, state.limits, state.leaf_hints[at] & kCovered);
    if (found == 0) return;
    if (state.keeps_ids_alone()) {
      RangeResult<D>& result = *state.result;
      std::uint64_t* const begin = state.room_for_ids();
      result.count += static_cast<std::uint64_t>(gather_word(leaf.leaf.ids, found, begin) - begin);
    } else {
      state.keep(leaf, EntryMask{{found}});
    }
  }

  template <bool kWithin>
  static bool go_on_as(State& state, const Snapshot<D>& snapshot, std::uint32_t most_nodes,
                       std::uint64_t enough) {
    for (; most_nodes != 0 && state.result->count < enough; --most_nodes) {
      if (state.wants_inner()) {
        visit_inner(state, snapshot);
      } else if (state.has_leaves()) {
        visit_leaf<kWithin, false>(state, snapshot);
      } else {
        break;
      }
    }
    state.finish_if_done();
    return state.done();
  }

  static bool go_on(State& state, const Snapshot<D>& snapshot, std::uint32_t most_nodes,
                    std::uint64_t enough) {
    return state.limits.within ? go_on_as<true>(state, snapshot, most_nodes, enough)
                               : go_on_as<false>(state, snapshot, most_nodes, enough);
  }

  /// One inner node, or all leaves that are on their way; returns how many.
  template <bool kWithin>
  HWY_INLINE static std::uint32_t turn_as(State& state, const Snapshot<D>& snapshot,
                                          std::uint32_t most_nodes, std::uint64_t enough) {
    if (state.wants_inner()) {
      visit_inner(state, snapshot);
      return 1;
    }
    std::uint32_t visited = 0;
    for (; state.has_leaves() && visited != most_nodes; ++visited) {
      visit_leaf<kWithin, true>(state, snapshot);
      if (state.result->count >= enough) return visited + 1;
    }
    return visited;
  }

  static void turn(std::span<RangeLane<D>> lanes, const Snapshot<D>& snapshot) {
    for (RangeLane<D>& lane : lanes) {
      if (!lane.is_running) continue;
      lane.nodes_left -=
          lane.cursor.state().limits.within
              ? turn_as<true>(lane.cursor.state(), snapshot, lane.nodes_left, lane.enough)
              : turn_as<false>(lane.cursor.state(), snapshot, lane.nodes_left, lane.enough);
    }
  }
};

template <int D>
const Walks<D>* walks_of() {
  static constexpr Walks<D> kTable{&WalkOf<D>::go_on, &WalkOf<D>::turn};
  return &kTable;
}

const Walks<2>* walks_2d() { return walks_of<2>(); }
const Walks<3>* walks_3d() { return walks_of<3>(); }

template <int D>
const Kernels<D>* table() {
  static constexpr Kernels<D> kTable{
      &scan_inner<D>,
      &scan_leaf<D, false>,
      &scan_leaf<D, true>,
      &gather_inner<D>,
      &gather,
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
HWY_EXPORT(walks_2d);
HWY_EXPORT(walks_3d);

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
