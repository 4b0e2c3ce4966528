#include "rtree/cursor.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace silurus::rtree {

template <int D>
void RangeCursor<D>::start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result) {
  limits_ = RangeLimits<D>::of(query.window, query.predicate);
  shape_ = query.shape;
  limit_ = query.limit;
  result_ = &result;
  result.clear();
  in_flight_ = 0;
  wanted_.clear();
  if (limit_ > 0) wanted_.push_back(root);
}

template <int D>
void RangeCursor<D>::take_entries(const Node<D>& leaf) {
  const EntryMask found = kernels_->scan_leaf(leaf, limits_);
  const std::uint64_t room = limit_ - result_->count;
  const std::uint64_t count = std::min<std::uint64_t>(found.count(), room);
  if (shape_ != ResultShape::kCount && count != 0) {
    const std::size_t before = result_->ids.size();
    result_->ids.resize(before + count);
    std::uint64_t* ids = result_->ids.data() + before;
    std::uint64_t rest = count;
    found.for_each([&](std::uint32_t i) {
      if (rest == 0) return;
      --rest;
      *ids++ = leaf.leaf.ids[i];
      if (shape_ == ResultShape::kEntries) result_->boxes.push_back(leaf.entry_box(i));
    });
  }
  result_->count += count;
  if (count == room) {
    wanted_.clear();
    in_flight_ = 0;
  }
}

namespace {

/// Orders a heap with the nearest on top; of nodes at equal distance the lower ones first.
struct Farther {
  template <typename Known>
  bool operator()(const Known& a, const Known& b) const {
    if (a.squared_distance != b.squared_distance) return a.squared_distance > b.squared_distance;
    return a.node.level > b.node.level;
  }
};

/// Orders a heap with the worst answer on top, and the answers from best to worst.
struct Better {
  bool operator()(const Neighbor& a, const Neighbor& b) const {
    if (a.distance != b.distance) return a.distance < b.distance;
    return a.id < b.id;
  }
};

/// No number greater than this has a square root that rounds to `distance` or less.
double greatest_square(double distance) {
  return distance * distance * (1 + 8 * std::numeric_limits<double>::epsilon()) +
         8 * std::numeric_limits<double>::denorm_min();
}

}  // namespace

template <int D>
void NearestCursor<D>::start(const NearestQuery<D>& query, WantedNode root, NearestResult& result) {
  point_ = query.point;
  k_ = query.k;
  bound_ = std::numeric_limits<double>::infinity();
  result_ = &result;
  result.clear();
  in_flight_ = 0;
  finished_ = k_ == 0;
  known_.clear();
  if (k_ != 0) known_.push_back({0, root});
}

template <int D>
std::optional<WantedNode> NearestCursor<D>::take() {
  if (known_.empty() || known_.front().squared_distance > bound_) return std::nullopt;
  std::pop_heap(known_.begin(), known_.end(), Farther());
  const WantedNode next = known_.back().node;
  known_.pop_back();
  ++in_flight_;
  return next;
}

template <int D>
void NearestCursor<D>::push(double squared_distance, WantedNode node) {
  known_.push_back({squared_distance, node});
  std::push_heap(known_.begin(), known_.end(), Farther());
}

template <int D>
void NearestCursor<D>::take_entries(const Node<D>& leaf, const double* distances) {
  for (std::uint32_t i = 0; i < leaf.count(); ++i) {
    if (distances[i] <= bound_) add(leaf.leaf.ids[i], distances[i]);
  }
}

template <int D>
void NearestCursor<D>::add(std::uint64_t id, double squared_distance) {
  const Neighbor neighbor{id, std::sqrt(squared_distance)};
  if (result_->size() < k_) {
    result_->push_back(neighbor);
    std::push_heap(result_->begin(), result_->end(), Better());
  } else if (Better()(neighbor, result_->front())) {
    std::pop_heap(result_->begin(), result_->end(), Better());
    result_->back() = neighbor;
    std::push_heap(result_->begin(), result_->end(), Better());
  } else {
    return;
  }
  if (result_->size() == k_) bound_ = greatest_square(result_->front().distance);
}

template <int D>
void NearestCursor<D>::finish_if_done() {
  if (in_flight_ != 0) return;
  if (!known_.empty() && known_.front().squared_distance <= bound_) return;
  std::sort_heap(result_->begin(), result_->end(), Better());
  finished_ = true;
}

template class RangeCursor<2>;
template class RangeCursor<3>;
template class NearestCursor<2>;
template class NearestCursor<3>;

}  // namespace silurus::rtree
