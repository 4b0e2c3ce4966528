#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "rtree/geometry.h"
#include "rtree/node.h"

// What is done to all entries of a node at once, compiled for each instruction set and chosen at
// run time (Google Highway). Pure functions of a node; any thread.

namespace silurus::rtree {

/// A set of entries of one node: bit i % 64 of word i / 64 is entry i.
struct EntryMask {
  std::array<std::uint64_t, kMaxFanout / 64> words{};

  bool empty() const { return (words[0] | words[1]) == 0; }
  std::uint32_t count() const {
    std::uint32_t sum = 0;
    for (const std::uint64_t word : words) sum += static_cast<std::uint32_t>(std::popcount(word));
    return sum;
  }
  /// Takes out the first one, if any.
  std::optional<std::uint32_t> pop() {
    for (std::uint32_t w = 0; w < words.size(); ++w) {
      if (words[w] == 0) continue;
      const auto bit = static_cast<std::uint32_t>(std::countr_zero(words[w]));
      words[w] &= words[w] - 1;
      return w * 64 + bit;
    }
    return std::nullopt;
  }
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::uint32_t w = 0; w < words.size(); ++w) {
      for (std::uint64_t rest = words[w]; rest != 0; rest &= rest - 1) {
        visit(w * 64 + static_cast<std::uint32_t>(std::countr_zero(rest)));
      }
    }
  }
};

/// A range query's bounds, ready to be compared with what nodes hold.
template <int D>
struct RangeLimits {
  /// A child may hold answers if its box has min[d] <= upper[d] and max[d] >= lower[d] for all d,
  /// which its cells tell, but for edges in the same cell.
  std::array<double, D> upper;
  std::array<double, D> lower;
  /// order_keys that an entry's min and max are compared with: min at most and max at least that,
  /// or, `within`, min at least and max at most.
  std::array<std::int64_t, D> min_key;
  std::array<std::int64_t, D> max_key;
  bool within;
  /// Whether a box within the window in some dimension settles that dimension (not kContains).
  bool can_cover;

  static RangeLimits of(const Box<D>& window, Predicate predicate);
};

/// See Kernels::gather_inner. Hints are given where more children than that are wanted.
inline constexpr std::uint8_t kAloneHint = 0x80;
inline constexpr std::uint32_t kFewWanted = 2;

/// What kth_least and rank take at most; kMaxRanked places may be read and written.
inline constexpr std::uint32_t kMaxRanked = 128;

template <int D>
struct Kernels {
  /// Children that may hold answers.
  EntryMask (*scan_inner)(const Node<D>& node, const RangeLimits<D>& limits);
  /// Entries that are answers, exactly. Dimension d is not looked at if bit d of `covered` says
  /// that the leaf lies within the window in it.
  EntryMask (*scan_leaf)(const Node<D>& node, const RangeLimits<D>& limits, std::uint32_t covered);
  /// The same, dimension by dimension: a small window leaves few leaves with anything to test in
  /// the second, and the lines of memory that it lies in are not touched. Better where bandwidth
  /// counts (many searches in flight), worse where latency does (the lines are fetched later).
  EntryMask (*scan_leaf_by_dimension)(const Node<D>& node, const RangeLimits<D>& limits,
                                      std::uint32_t covered);
  /// As scan_inner, but appends the names of those children at `out`, and at `hints` in which
  /// dimensions the window covers each; in both there must be room for four more than there are.
  /// Returns how many. Where only one or two are wanted, the hint is kAloneHint: more isn't worth
  /// knowing.
  std::uint32_t (*gather_inner)(const Node<D>& node, const RangeLimits<D>& limits,
                                std::uint64_t* out, std::uint8_t* hints);
  /// Appends the words (ids) in the mask, likewise.
  std::uint32_t (*gather)(const std::uint64_t* words, const EntryMask& mask, std::uint64_t* out);
  /// squared_distance of the point from each child's (entry's) box; kMaxFanout places, 64-byte
  /// aligned. Rounding is monotonous, so a child's is never above that of an entry below it.
  void (*inner_distances)(const Node<D>& node, const Point<D>& point, double* distances);
  void (*leaf_distances)(const Node<D>& node, const Point<D>& point, double* distances);
  /// Index of the least of `count` distances (at least one; as above, kMaxFanout places).
  std::uint32_t (*least)(double* distances, std::uint32_t count);
  /// Those that are at most `bound`.
  EntryMask (*within)(const double* distances, std::uint32_t count, double bound);
  /// A bound that at least k of `count` distances don't exceed, and few more than k: the k-th
  /// least, rounded up. 1 <= k <= count <= kMaxRanked. Quadratic, without branches that depend on
  /// them: for few.
  double (*kth_least)(const double* distances, std::uint32_t count, std::uint32_t k);
  /// Of each distance, how many are less. count <= kMaxRanked, and as many places in `ranks`.
  void (*rank)(const double* distances, std::uint32_t count, std::uint64_t* ranks);
};

/// The best for this machine.
template <int D>
const Kernels<D>& kernels();

}  // namespace silurus::rtree
