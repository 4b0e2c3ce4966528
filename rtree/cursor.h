// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/kernels.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"
#include "rtree/sphere.h"
#include "rtree/wide_nearest.h"

// One traversal, many sources of nodes. A cursor is a state machine of one search: it says which
// nodes it needs, is fed them, and writes what it finds into a result. It doesn't know where nodes
// come from: Tree feeds cursors from its arena, the client from RDMA reads and its cache, a test
// from a map. Not thread-safe; reusable (start() again keeps its memory).
//
//   cursor.start(query, root, result);
//   while (!cursor.done()) {
//     while (auto wanted = cursor.take()) fetch(*wanted);           // all at once: multi-issue
//     cursor.feed(*some_fetched_node);                               // in any order
//   }
//
// A range search wants of a leaf some groups of entries (or the header, if it counts entries that
// are all answers), and so does a search for neighbours that was started `by_groups`: a caller that
// fetches no more gives it those, by feed_groups().

namespace silurus::rtree {

/// What a range search knows between two nodes: the state of a RangeCursor, which walks() (walk.h)
/// change, too. Nodes that are known to be needed wait in `inner` and `leaves`.
template <int D>
struct RangeState {
  struct InnerNode {
    std::uint64_t word;
    std::uint32_t level;
  };
  /// Leaves that are known when no more inner nodes are taken.
  static constexpr std::size_t kEnoughLeaves = 24;
  static constexpr std::size_t kRoom = kInnerFanout<D> + 8;
  static constexpr std::size_t kLeafRoom = kLeafFanout<D> + 8;

  /// Whether an inner node comes next.
  bool wants_inner() const { return inner_count != 0 && leaf_end - leaf_begin < kEnoughLeaves; }
  bool has_leaves() const { return leaf_begin != leaf_end; }
  bool is_idle() const {
    return inner_count == 0 && leaf_begin == leaf_end && in_flight == 0 && parent == 0;
  }
  bool done() const { return is_idle() && turns_left == 0; }
  /// Makes room for the children of one node.
  void make_room_for_inner() {
    if (inner.size() < inner_count + kRoom) inner.resize(2 * (inner_count + kRoom));
  }
  void make_room_for_leaves() {
    if (leaf_begin == leaf_end) leaf_begin = leaf_end = 0;
    if (leaves.size() < leaf_end + kRoom) move_leaves();
  }
  void move_leaves();
  /// Whether ids alone are wanted, and the limit leaves room for those of a whole leaf.
  bool keeps_ids_alone() const {
    return shape == ResultShape::kIds && limit - result->count >= kLeafFanout<D> && turn == 0;
  }
  /// Where the ids of a leaf are written. What lies beyond the count is cut off in the end.
  std::uint64_t* room_for_ids() {
    std::vector<std::uint64_t>& ids = result->ids;
    if (ids.size() < result->count + kLeafRoom) ids.resize(2 * result->count + kLeafRoom);
    return ids.data() + result->count;
  }
  /// Counts that number of answers, up to the limit.
  void count_all(std::uint64_t entries) {
    result->count += std::min(entries, limit - result->count);
    if (result->count == limit) drop_all();
  }
  /// Whether all entries below a node of that box are answers, and nothing but their number is
  /// wanted.
  bool only_counts(const Box<D>& bounds) const {
    bool covers = shape == ResultShape::kCount && limits.can_cover;
    for (int d = 0; d < D; ++d) {
      covers = covers && limits.lower[d] <= bounds.min[d] && bounds.max[d] <= limits.upper[d];
    }
    return covers;
  }
  /// Adds entries of a leaf to the result in any shape, up to the limit.
  void keep(const Node<D>& leaf, EntryMask found);
  void drop_all() {
    inner_count = leaf_begin = leaf_end = in_flight = turns_left = 0;
    parent = 0;
  }
  /// Cuts the result to what was found if it is complete; else, if nothing of the present window is
  /// left, turns to the next one.
  void finish_if_done() {
    if (!is_idle()) return;
    if (turns_left != 0) return begin_turn();
    result->ids.resize(shape == ResultShape::kCount ? 0 : result->count);
  }
  void begin_at_root(WantedNode from);
  /// A search of degrees: the windows that it comes to (windows_of), the first of them now.
  void begin_turns(const RangeQuery<D>& query, WantedNode from);
  void begin_turn();
  /// Leaves out windows that lie beside the whole tree, whose box is that of its root.
  void drop_turns_beside(const Box<D>& bounds);
  /// Keeps the entries that the present window finds and that no earlier one has found.
  EntryMask not_found_before(const Node<D>& leaf, EntryMask found) const;

  RangeLimits<D> limits{};
  ResultShape shape = ResultShape::kIds;
  std::uint64_t limit = 0;
  RangeResult<D>* result = nullptr;
  std::size_t in_flight = 0;     ///< nodes taken and not yet fed
  std::vector<InnerNode> inner;  ///< a stack: the first inner_count
  std::size_t inner_count = 0;
  std::vector<WantedLeaf> leaves;  ///< a queue: from leaf_begin to leaf_end
  std::size_t leaf_begin = 0;
  std::size_t leaf_end = 0;
  /// A node of level 1 whose directories walks() have prefetched and not looked at: its name, or 0;
  /// and its children that may hold answers.
  std::uint64_t parent = 0;
  EntryMask wanted;
  // Searches that count degrees: one window after the other, each from the root.
  WantedNode root{};
  std::uint32_t turn = 0;     ///< which window is looked for
  bool knows_bounds = false;  ///< those of the tree: drop_turns_beside() was called
  std::uint32_t turns_left = 0;
  Predicate predicate = Predicate::kIntersects;
  Windows windows{};
};

/// A range search (see RangeQuery). Takes inner nodes first as long as few leaves are known, so
/// that leaves of several parents can be on their way together; leaves in the order found.
template <int D>
class RangeCursor {
 public:
  RangeCursor() : kernels_(&kernels<D>()) {}

  /// Begins a search. `result` must outlive it; it is overwritten, and of use once done(). The
  /// query must have been checked (check_box). A root of any level may be given, kAnyLevel too.
  void start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result);

  /// The next node to fetch, or nothing if none is known to be needed now.
  std::optional<WantedNode> take() {
    if (state_.wants_inner()) {
      ++state_.in_flight;
      const auto& inner = state_.inner[--state_.inner_count];
      return WantedNode{NodeRef::from_word(inner.word), inner.level};
    }
    if (!state_.has_leaves()) return std::nullopt;
    ++state_.in_flight;
    const WantedLeaf& leaf = state_.leaves[state_.leaf_begin++];
    const bool counts = leaf.is_covered && state_.shape == ResultShape::kCount;
    return WantedNode{NodeRef::from_word(leaf.word), 0, counts ? GroupMask{0} : leaf.groups};
  }
  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node);
  /// Gives it the groups that were wanted of a leaf that was taken, or its header (0). `leaf`:
  /// those groups at their places, or the header, and anything else.
  void feed_groups(const Node<D>& leaf, GroupMask groups);

  /// Whether the result is complete: nothing left to take, nothing taken but not fed, or the limit
  /// is reached (nodes still in flight may then be dropped).
  bool done() const { return state_.done(); }

  /// How many entries were found since the last drain().
  std::uint64_t found() const { return state_.result->count; }
  /// Goes on into another result, to which the caller has moved the one so far.
  void redirect(RangeResult<D>& result) { state_.result = &result; }
  /// Hands over, in mid-search too, what was found since the last drain(): for answers that are
  /// sent piece by piece. `found` is overwritten.
  void drain(RangeResult<D>& found);

  /// For walks() alone, which look at nodes in place of take() and feed().
  RangeState<D>& state() { return state_; }
  const RangeState<D>& state() const { return state_; }

 private:
  void feed_leaf(const Node<D>& leaf, const EntryMask& found);

  const Kernels<D>* kernels_;
  RangeState<D> state_;
};

/// A k-nearest-neighbours search (see NearestQuery): best first (Hjaltason and Samet, "Distance
/// browsing in spatial databases", TODS 1999, section 3), pruned by the k-th distance known. An
/// answer in which squares of distances leave the range of double is found a second time, from the
/// root, by WideNearestCursor.
template <int D>
class NearestCursor {
 public:
  NearestCursor() : kernels_(&kernels<D>()) {}

  /// Begins a search. `result` must outlive it; it is overwritten, and of use once done(). The
  /// query must have been checked (check_point; k at least 1). A root of any level may be given,
  /// kAnyLevel too. `by_groups`: where the groups of a leaf are known, each is a node of its own to
  /// the search, so that those too far away are never fetched.
  void start(const NearestQuery<D>& query, WantedNode root, NearestResult& result,
             bool by_groups = false);

  /// The nearest node not yet taken that may still hold an answer. Taking several at once trades
  /// round trips against nodes that turn out not to be needed.
  std::optional<WantedNode> take();

  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node);
  /// Gives it the groups that were wanted of a leaf that was taken. `leaf`: those groups at their
  /// places, and anything else.
  void feed_groups(const Node<D>& leaf, GroupMask groups);

  /// Whether nothing that is known and not fed can change the answer; the result is then in its
  /// final order. Nodes still in flight count as such until they are fed.
  bool done() const { return is_wide_ ? wide_.done() : finished_; }

  /// Goes on into another result, to which the caller has moved the one so far.
  void redirect(NearestResult& result) {
    result_ = &result;
    wide_.redirect(result);
  }

 private:
  /// Neighbours up to which the bound is tightened after each leaf.
  static constexpr std::size_t kFewNeighbors = 32;

  enum class Kind : std::uint8_t {
    kNodes,   ///< refs: names
    kLeaves,  ///< refs: places in a parent that is kept for their groups
    kGroups,  ///< refs: numbers of groups of one leaf
  };
  /// The children of one node, or the groups of a leaf. One by one they are taken, the nearest
  /// first; only that one is in the heap, so that a node costs one place there and not as many as
  /// it has children.
  struct ChildQueue {
    alignas(64) double distances[kMaxFanout];  ///< squared, or keys
    std::uint64_t refs[kInnerFanout<D>];
    std::uint32_t count;    ///< children that were not taken
    std::uint32_t nearest;  ///< index
    std::uint32_t level;    ///< level of the children
    Kind kind;
    std::uint32_t parent;  ///< index in parents_, if the children are leaves
    std::uint64_t leaf;    ///< whose groups they are: its name
  };
  /// A family in the heap, by its nearest child.
  struct Known {
    double squared_distance;
    std::uint32_t family;
  };

  /// Its index: of one that has no more children, if there is any.
  std::uint32_t new_family();
  void add_family(std::uint32_t index);
  std::uint64_t take_nearest(std::uint32_t index);
  void keep_parent(const Node<D>& parent, ChildQueue& family);
  void add_groups(const Node<D>& parent, std::uint32_t child);
  void feed_leaf(const Node<D>& leaf);
  void make_room();
  void add_candidate(const Node<D>& leaf, std::uint32_t index, double squared_distance);
  void tighten();
  void keep_best();
  void keep_exactly();
  void finish_if_done();
  bool squares_are_exact() const;
  void sort_result();

  const Kernels<D>* kernels_;
  double distance_of(const Box<D>& box) const;
  double greatest_like(double distance) const;
  double first_bound() const;
  void sort_squares();
  void sort_metres();

  NearestQuery<D> query_;
  SpherePoint from_;  ///< the point, if it is of degrees
  WantedNode root_;
  std::size_t k_ = 0;
  /// Nothing of a greater squared distance can belong to the answer. Of degrees, here and below,
  /// the key of a distance (arc_key) stands in the place of its square.
  double bound_ = 0;
  bool has_kth_ = false;  ///< the bound is that of the k-th distance of some
  NearestResult* result_ = nullptr;
  /// Entries that may belong to the answer, in no order: at least the best k of those seen.
  std::vector<double> distances_;  ///< squared
  std::vector<std::uint64_t> ids_;
  std::size_t candidates_ = 0;  ///< how many of both are in use
  /// What the worst of k entries was (its distance squared) when there were many at its distance:
  /// of others at that distance only those of lower ids can belong to the answer.
  Neighbor worst_{};
  bool has_worst_ = false;
  std::size_t in_flight_ = 0;
  bool finished_ = true;
  std::vector<std::unique_ptr<ChildQueue>> families_;  ///< the first ones are in use
  std::uint32_t family_count_ = 0;
  std::vector<std::uint32_t> free_families_;  ///< indices of families without children
  bool by_groups_ = false;
  std::vector<std::unique_ptr<Node<D>>> parents_;  ///< nodes of level 1, if by groups
  std::size_t parent_count_ = 0;                   ///< the first are in use
  std::vector<Known> known_;                       ///< a heap, the nearest on top
  bool has_tiny_gaps_ = false;  ///< candidates of squares below kLeastSquare, but not 0
  bool is_wide_ = false;        ///< wide_ goes on with the search
  WideNearestCursor<D> wide_;
};

}  // namespace silurus::rtree
