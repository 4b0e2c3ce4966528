// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "rtree/geometry.h"
#include "rtree/node.h"
#include "rtree/node_ref.h"

namespace silurus::rtree {

/// A k-nearest-neighbours search that compares distances (geometry.h) and not their squares, which
/// double cannot always hold. Slower than NearestCursor, which hands over to it (cursor.h), and of
/// the same interface and answers. Not thread-safe.
template <int D>
class WideNearestCursor {
 public:
  /// As NearestCursor.
  void start(const NearestQuery<D>& query, WantedNode root, NearestResult& result);
  std::optional<WantedNode> take();
  void feed(const Node<D>& node);
  bool done() const { return finished_; }
  void redirect(NearestResult& result) { result_ = &result; }

 private:
  struct Known {
    double least;  ///< no entry below is nearer
    WantedNode node;
  };

  void keep(const Neighbor& neighbor);

  NearestQuery<D> query_;
  NearestResult* result_ = nullptr;  ///< a heap, the farthest on top, until finished
  /// Nothing farther can belong to the answer.
  double bound_ = 0;
  std::vector<Known> known_;  ///< a heap, the nearest on top
  std::size_t in_flight_ = 0;
  bool finished_ = true;
};

}  // namespace silurus::rtree
