// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "rtree/geometry.h"
#include "rtree/node.h"
#include "rtree/sphere.h"

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
  /// Whether a box within the window is an answer for that alone (not kContains).
  bool can_cover;
  /// The high words of the keys as both rows of a dimension of a LeafGroup are compared with them:
  /// an entry is no answer if word ^ flip > bound at one of its places.
  alignas(64) std::int32_t bound[D][2 * kGroupFanout];
  alignas(64) std::int32_t flip[4 * kGroupFanout];  ///< the same for each dimension

  static RangeLimits of(const Box<D>& window, Predicate predicate);
};

/// A leaf that a search needs, and what of it.
struct WantedLeaf {
  std::uint64_t word;  ///< its name
  GroupMask groups;    ///< that may hold answers; not 0
  bool is_covered;     ///< the window covers it: all of its entries are answers
};

/// What kth_least and rank take at most; kMaxRanked places may be read and written.
inline constexpr std::uint32_t kMaxRanked = 128;

template <int D>
struct Kernels {
  /// Children that may hold answers.
  EntryMask (*scan_inner)(const Node<D>& node, const RangeLimits<D>& limits);
  /// Entries of some groups of a leaf that are answers, exactly. Looks at nothing else of the leaf:
  /// places without an entry are known by kNoEntry.
  EntryMask (*scan_leaf)(const Node<D>& node, const RangeLimits<D>& limits, GroupMask groups);
  /// As scan_inner, but appends the names of those children at `out`, where there must be room for
  /// all. Returns how many.
  std::uint32_t (*gather_inner)(const Node<D>& node, const RangeLimits<D>& limits,
                                std::uint64_t* out);
  /// The same of a node of level 1, but for leaves without groups that may hold answers.
  std::uint32_t (*gather_leaves)(const Node<D>& node, const RangeLimits<D>& limits,
                                 WantedLeaf* out);
  /// Appends the ids of those in the mask at `out`, where there must be room for four more than
  /// there are. Returns how many.
  std::uint32_t (*gather_ids)(const Node<D>& leaf, const EntryMask& mask, std::uint64_t* out);
  /// squared_distance of the point from each child's (entry's) box; kMaxFanout places, 64-byte
  /// aligned. Rounding is monotonous, so a child's is never above that of an entry below it.
  void (*inner_distances)(const Node<D>& node, const Point<D>& point, double* distances);
  void (*leaf_distances)(const Node<D>& node, const Point<D>& point, double* distances);
  /// The same on the sphere, of two dimensions alone (null of others): arc_key() of each entry, and
  /// of each child a little less, so that it is never above that of an entry below it.
  void (*inner_arcs)(const Node<D>& node, const SpherePoint& point, double* keys);
  void (*leaf_arcs)(const Node<D>& node, const SpherePoint& point, double* keys);
  /// Index of the least of `count` distances (at least one; as above, kMaxFanout places).
  std::uint32_t (*least)(double* distances, std::uint32_t count);
  /// Those that are at most `bound`.
  EntryMask (*within)(const double* distances, std::uint32_t count, double bound);
  /// A bound that at least k of `count` distances don't exceed, and few more than k: the k-th
  /// least, rounded up. 1 <= k <= count <= kMaxRanked. Quadratic, without branches that depend on
  /// them: for few.
  double (*kth_least)(const double* distances, std::uint32_t count, std::uint32_t k);
  /// Counts for each distance how many are less. count <= kMaxRanked, and as many places in
  /// `ranks`.
  void (*rank)(const double* distances, std::uint32_t count, std::uint64_t* ranks);
};

/// The best for this machine.
template <int D>
const Kernels<D>& kernels();

}  // namespace silurus::rtree
