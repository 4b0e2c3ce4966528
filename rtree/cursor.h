#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/kernels.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"
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

namespace silurus::rtree {

/// A range search (see RangeQuery). Takes inner nodes first as long as few leaves are known, so
/// that leaves of several parents can be on their way together; leaves in the order found.
template <int D>
class RangeCursor {
 public:
  /// How leaves are scanned: see Kernels. The answers are the same.
  enum class LeafScan : std::uint8_t { kWhole, kByDimension };
  explicit RangeCursor(LeafScan scan = LeafScan::kWhole)
      : kernels_(&kernels<D>()),
        scan_leaf_(scan == LeafScan::kWhole ? kernels_->scan_leaf
                                            : kernels_->scan_leaf_by_dimension) {}

  /// Begins a search. `result` must outlive it; it is overwritten, and of use once done(). The
  /// query must have been checked (check_box). A root of any level may be given, kAnyLevel too.
  void start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result);

  /// The next node to fetch, or nothing if none is known to be needed now.
  std::optional<WantedNode> take() {
    const auto next = take_next();
    return next ? std::optional(next->node) : std::nullopt;
  }
  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node) {
    feed(Next{{NodeRef(), node.level()}}, node, [](const Next&) {});
  }

  /// What take_next() tells a source near at hand, which feeds a node along with it.
  struct Next {
    WantedNode node;
    std::uint32_t hints = kAlone;
    /// Bit d of `hints`: the window covers the leaf in dimension d.
    static constexpr std::uint32_t kCovered = (1 << D) - 1;
    /// Of its parent's children this one or another one more are wanted: a small window.
    static constexpr std::uint32_t kAlone = kAloneHint;
  };
  /// As take(), for a source near at hand.
  std::optional<Next> take_next() {
    if (inner_count_ != 0 && leaf_end_ - leaf_begin_ < kEnoughLeaves) {
      ++in_flight_;
      const InnerNode& inner = inner_[--inner_count_];
      return Next{{NodeRef::from_word(inner.word), inner.level}, inner.hints};
    }
    if (leaf_begin_ == leaf_end_) return std::nullopt;
    ++in_flight_;
    const std::size_t at = leaf_begin_++;
    return Next{{NodeRef::from_word(leaves_[at]), 0}, leaf_hints_[at]};
  }
  /// As feed(), with what take_next() said of it, so that nothing waits for the node's header and
  /// what the window covers isn't looked at. announce(Next) is called for each node that is found
  /// to be needed: time to prefetch it.
  template <typename Announce>
  void feed(const Next& taken, const Node<D>& node, Announce&& announce) {
    --in_flight_;
    if (taken.node.level == 0) {
      take_entries(node, taken.hints & Next::kCovered);
    } else if (taken.node.level == 1) {
      make_room_for_leaves();
      const std::size_t first = leaf_end_;
      leaf_end_ +=
          kernels_->gather_inner(node, limits_, leaves_.data() + first, leaf_hints_.data() + first);
      for (std::size_t i = first; i < leaf_end_; ++i) {
        announce(Next{{NodeRef::from_word(leaves_[i]), 0}, leaf_hints_[i]});
      }
      finish_if_done();
    } else {
      std::uint64_t words[kRoom];
      std::uint8_t hints[kRoom];
      const std::uint32_t count = kernels_->gather_inner(node, limits_, words, hints);
      if (inner_.size() < inner_count_ + count) inner_.resize(2 * (inner_count_ + count));
      for (std::uint32_t i = 0; i < count; ++i) {
        inner_[inner_count_++] = {words[i], taken.node.level - 1, hints[i]};
        announce(Next{{NodeRef::from_word(words[i]), taken.node.level - 1}, hints[i]});
      }
      finish_if_done();
    }
  }

  /// Whether the result is complete: nothing left to take, nothing taken but not fed, or the limit
  /// is reached (nodes still in flight may then be dropped).
  bool done() const { return inner_count_ == 0 && leaf_begin_ == leaf_end_ && in_flight_ == 0; }

  /// How many entries were found since the last drain().
  std::uint64_t found() const { return result_->count; }
  /// Goes on into another result, to which the caller has moved the one so far.
  void redirect(RangeResult<D>& result) { result_ = &result; }
  /// Hands over, in mid-search too, what was found since the last drain(): for answers that are
  /// sent piece by piece. `found` is overwritten.
  void drain(RangeResult<D>& found);

 private:
  struct InnerNode {
    std::uint64_t word;
    std::uint32_t level;
    std::uint32_t hints;
  };
  /// Leaves that are known when no more inner nodes are taken.
  static constexpr std::size_t kEnoughLeaves = 24;
  static constexpr std::size_t kRoom = kInnerFanout<D> + 8;
  static constexpr std::size_t kLeafRoom = kLeafFanout<D> + 8;

  void take_entries(const Node<D>& leaf, std::uint32_t covered) {
    if (shape_ == ResultShape::kIds && limit_ - result_->count >= kLeafFanout<D>) {
      const EntryMask found = scan_leaf_(leaf, limits_, covered);
      if (!found.empty()) {
        // Written in place; what lies beyond the count is cut off in the end.
        std::vector<std::uint64_t>& ids = result_->ids;
        if (ids.size() < result_->count + kLeafRoom) ids.resize(2 * result_->count + kLeafRoom);
        result_->count += kernels_->gather(leaf.leaf.ids, found, ids.data() + result_->count);
      }
    } else {
      take_entries_slowly(leaf, covered);
    }
    finish_if_done();
  }
  void take_entries_slowly(const Node<D>& leaf, std::uint32_t covered);
  void make_room_for_leaves() {
    if (leaf_begin_ == leaf_end_) leaf_begin_ = leaf_end_ = 0;
    if (leaves_.size() < leaf_end_ + kRoom) move_leaves();
  }
  void move_leaves();
  void drop_all() { inner_count_ = leaf_begin_ = leaf_end_ = in_flight_ = 0; }
  void finish_if_done() {
    if (done()) result_->ids.resize(shape_ == ResultShape::kCount ? 0 : result_->count);
  }

  const Kernels<D>* kernels_;
  EntryMask (*scan_leaf_)(const Node<D>&, const RangeLimits<D>&, std::uint32_t);
  RangeLimits<D> limits_{};
  ResultShape shape_ = ResultShape::kIds;
  std::uint64_t limit_ = 0;
  RangeResult<D>* result_ = nullptr;
  std::size_t in_flight_ = 0;
  std::vector<InnerNode> inner_;  ///< a stack: the first so many
  std::size_t inner_count_ = 0;
  std::vector<std::uint64_t> leaves_;  ///< a queue: from begin to end
  std::vector<std::uint8_t> leaf_hints_;
  std::size_t leaf_begin_ = 0;
  std::size_t leaf_end_ = 0;
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
  /// kAnyLevel too.
  void start(const NearestQuery<D>& query, WantedNode root, NearestResult& result);

  /// The nearest node not yet taken that may still hold an answer. Taking several at once trades
  /// round trips against nodes that turn out not to be needed.
  std::optional<WantedNode> take();

  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node);

  /// Whether nothing that is known and not fed can change the answer; the result is then in its
  /// final order. Nodes still in flight count as such until they are fed.
  bool done() const { return is_wide_ ? wide_.done() : finished_; }

  /// Goes on into another result, to which the caller has moved the one so far.
  void redirect(NearestResult& result) {
    result_ = &result;
    wide_.redirect(result);
  }

 private:
  /// Up to so many neighbours the bound is tightened after each leaf.
  static constexpr std::size_t kFewNeighbors = 32;

  /// The children of one node. One by one they are taken, the nearest first; only that one is in
  /// the heap, so that a node costs one place there and not as many as it has children.
  struct Family {
    alignas(64) double distances[kMaxFanout];  ///< squared
    std::uint64_t refs[kInnerFanout<D>];
    std::uint32_t count;    ///< of children not taken
    std::uint32_t nearest;  ///< index
    std::uint32_t level;    ///< of the children
  };
  /// A family in the heap, by its nearest child.
  struct Known {
    double squared_distance;
    std::uint32_t family;
  };

  Family& new_family();
  void add_family(std::uint32_t index);
  void feed_leaf(const Node<D>& leaf);
  void keep_best();
  void keep_exactly();
  void finish_if_done();
  bool squares_are_exact() const;
  void sort_result();

  const Kernels<D>* kernels_;
  NearestQuery<D> query_;
  WantedNode root_;
  std::size_t k_ = 0;
  /// Nothing of a greater squared distance can belong to the answer.
  double bound_ = 0;
  NearestResult* result_ = nullptr;
  /// Entries that may belong to the answer, in no order: at least the best k of those seen.
  std::vector<double> distances_;  ///< squared
  std::vector<std::uint64_t> ids_;
  std::size_t candidates_ = 0;  ///< the first so many of both
  /// What the worst of k entries was (its distance squared) when there were many at its distance:
  /// of others at that distance only those of lower ids can belong to the answer.
  Neighbor worst_{};
  bool has_worst_ = false;
  std::size_t in_flight_ = 0;
  bool finished_ = true;
  std::vector<std::unique_ptr<Family>> families_;  ///< the first so many are in use
  std::size_t family_count_ = 0;
  std::vector<Known> known_;    ///< a heap, the nearest on top
  bool has_tiny_gaps_ = false;  ///< candidates of squares below kLeastSquare, but not 0
  bool is_wide_ = false;        ///< wide_ goes on with the search
  WideNearestCursor<D> wide_;
};

}  // namespace silurus::rtree
