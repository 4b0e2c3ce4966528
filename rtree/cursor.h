#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/kernels.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"

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

/// A range search (see RangeQuery). Takes nodes in depth-first order.
template <int D>
class RangeCursor {
 public:
  RangeCursor() : kernels_(&kernels<D>()) {}

  /// Begins a search. `result` must outlive it and is cleared. The query must have been checked
  /// (check_box). A root of any level may be given, kAnyLevel too.
  void start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result);

  /// The next node to fetch, or nothing if none is known to be needed now.
  std::optional<WantedNode> take() {
    if (wanted_.empty()) return std::nullopt;
    const WantedNode next = wanted_.back();
    wanted_.pop_back();
    ++in_flight_;
    return next;
  }

  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node) {
    feed(node, [](WantedNode) {});
  }
  /// The same; calls announce(WantedNode) for each node that is found to be needed, so that a
  /// source near at hand can prefetch it.
  template <typename Announce>
  void feed(const Node<D>& node, Announce&& announce) {
    --in_flight_;
    if (node.is_leaf()) {
      take_entries(node);
      return;
    }
    kernels_->scan_inner(node, limits_).for_each([&](std::uint32_t i) {
      const WantedNode child{node.child(i), node.level() - 1};
      announce(child);
      wanted_.push_back(child);
    });
  }

  /// Whether the result is complete: nothing left to take, nothing taken but not fed, or the limit
  /// is reached (nodes still in flight may then be dropped).
  bool done() const { return wanted_.empty() && in_flight_ == 0; }

 private:
  void take_entries(const Node<D>& leaf);

  const Kernels<D>* kernels_;
  RangeLimits<D> limits_;
  ResultShape shape_ = ResultShape::kIds;
  std::uint64_t limit_ = 0;
  RangeResult<D>* result_ = nullptr;
  std::size_t in_flight_ = 0;
  std::vector<WantedNode> wanted_;
};

/// A k-nearest-neighbours search (see NearestQuery): best first (Hjaltason and Samet, "Distance
/// browsing in spatial databases", TODS 1999, section 3), pruned by the k-th distance known.
template <int D>
class NearestCursor {
 public:
  NearestCursor() : kernels_(&kernels<D>()) {}

  /// Begins a search. `result` must outlive it and is cleared. The query must have been checked
  /// (check_point; k at least 1).
  void start(const NearestQuery<D>& query, WantedNode root, NearestResult& result);

  /// The nearest node not yet taken that may still hold an answer. Taking several at once trades
  /// round trips against nodes that turn out not to be needed.
  std::optional<WantedNode> take();

  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node) {
    feed(node, [](WantedNode) {});
  }
  /// The same; calls announce(WantedNode) for each node that may be needed.
  template <typename Announce>
  void feed(const Node<D>& node, Announce&& announce) {
    --in_flight_;
    alignas(64) double distances[kMaxFanout];
    if (node.is_leaf()) {
      kernels_->leaf_distances(node, point_, distances);
      take_entries(node, distances);
    } else {
      kernels_->inner_distances(node, point_, distances);
      for (std::uint32_t i = 0; i < node.count(); ++i) {
        if (distances[i] > bound_) continue;
        const WantedNode child{node.child(i), node.level() - 1};
        announce(child);
        push(distances[i], child);
      }
    }
    finish_if_done();
  }

  /// Whether nothing that is known and not fed can change the answer; the result is then in its
  /// final order.
  bool done() const { return finished_; }

 private:
  struct Known {
    double squared_distance;
    WantedNode node;
  };

  void push(double squared_distance, WantedNode node);
  void take_entries(const Node<D>& leaf, const double* distances);
  void add(std::uint64_t id, double squared_distance);
  void finish_if_done();

  const Kernels<D>* kernels_;
  Point<D> point_;
  std::size_t k_ = 0;
  /// Nothing of a greater squared distance can belong to the answer.
  double bound_ = 0;
  NearestResult* result_ = nullptr;  ///< a heap, the worst on top, until finished
  std::size_t in_flight_ = 0;
  bool finished_ = true;
  std::vector<Known> known_;  ///< a heap, the nearest on top
};

}  // namespace silurus::rtree
