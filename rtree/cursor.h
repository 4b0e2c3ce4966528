#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"

// One traversal, many sources of nodes. A cursor is a state machine of one search: it says which
// nodes it needs, is fed them, and writes what it finds into a result. It doesn't know where nodes
// come from: Tree feeds cursors from its arena, the client from RDMA reads and its cache, a test
// from a map. Not thread-safe; reusable (start() again keeps its memory).
//
//   cursor.start(query, root, root_level, result);
//   while (!cursor.done()) {
//     while (auto wanted = cursor.take()) fetch(*wanted);           // all at once: multi-issue
//     cursor.feed(*some_fetched_node);                               // in any order
//   }

namespace silurus::rtree {

/// A node that a cursor needs. Level 0 is a leaf; the level tells how many bytes to fetch.
struct WantedNode {
  NodeRef ref;
  std::uint32_t level;
};

/// A range search (see RangeQuery). Takes nodes in depth-first order.
template <int D>
class RangeCursor {
 public:
  /// Begins a search. `result` must outlive it and is cleared. The query must have been checked
  /// (check_box). A root of any level may be given.
  void start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result);
  /// The next node to fetch, or nothing if none is known to be needed now.
  std::optional<WantedNode> take();
  /// Gives it the content of a node that was taken; checked by the caller (check_node).
  void feed(const Node<D>& node);
  /// Whether the result is complete: nothing left to take, nothing taken but not fed, or the limit
  /// is reached (nodes still in flight may then be dropped).
  bool done() const;
};

/// A k-nearest-neighbours search (see NearestQuery): best first (Hjaltason and Samet, "Distance
/// browsing in spatial databases", TODS 1999, section 3), pruned by the k-th distance known.
template <int D>
class NearestCursor {
 public:
  void start(const NearestQuery<D>& query, WantedNode root, NearestResult& result);
  /// The nearest node not yet taken that may still hold an answer. Taking several at once trades
  /// round trips against nodes that turn out not to be needed.
  std::optional<WantedNode> take();
  void feed(const Node<D>& node);
  /// Whether no node that is known and not fed can change the answer; the result is then in its
  /// final order.
  bool done() const;
};

}  // namespace silurus::rtree
