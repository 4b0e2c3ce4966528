// SPDX-License-Identifier: Apache-2.0

#include "rtree/wide_nearest.h"

#include <algorithm>
#include <limits>

namespace silurus::rtree {
namespace {

/// Which of two belongs further in front: a heap by it has the worst on top.
bool is_better(const Neighbor& a, const Neighbor& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

}  // namespace

template <int D>
void WideNearestCursor<D>::start(const NearestQuery<D>& query, WantedNode root,
                                 NearestResult& result) {
  query_ = query;
  result_ = &result;
  result.clear();
  bound_ = query.max_distance;
  known_.assign(1, Known{0, root});
  in_flight_ = 0;
  finished_ = false;
}

template <int D>
std::optional<WantedNode> WideNearestCursor<D>::take() {
  if (known_.empty() || known_.front().least > bound_) return std::nullopt;
  std::pop_heap(known_.begin(), known_.end(),
                [](const Known& a, const Known& b) { return a.least > b.least; });
  const WantedNode node = known_.back().node;
  known_.pop_back();
  ++in_flight_;
  return node;
}

template <int D>
void WideNearestCursor<D>::feed(const Node<D>& node) {
  --in_flight_;
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    if (node.is_leaf()) {
      keep({node.id(i), distance(query_.point, node.entry_box(i))});
      continue;
    }
    known_.push_back(
        {distance(query_.point, node.child_box(i)), {node.child(i), node.level() - 1}});
    std::push_heap(known_.begin(), known_.end(),
                   [](const Known& a, const Known& b) { return a.least > b.least; });
  }
  if (in_flight_ != 0) return;
  if (!known_.empty() && known_.front().least <= bound_) return;
  std::sort_heap(result_->begin(), result_->end(), is_better);
  finished_ = true;
}

template <int D>
void WideNearestCursor<D>::keep(const Neighbor& neighbor) {
  NearestResult& best = *result_;
  if (neighbor.distance > query_.max_distance) return;
  if (best.size() == query_.k) {
    if (!is_better(neighbor, best.front())) return;
    std::pop_heap(best.begin(), best.end(), is_better);
    best.back() = neighbor;
  } else {
    best.push_back(neighbor);
  }
  std::push_heap(best.begin(), best.end(), is_better);
  if (best.size() == query_.k) bound_ = best.front().distance;
}

template class WideNearestCursor<2>;
template class WideNearestCursor<3>;

}  // namespace silurus::rtree
