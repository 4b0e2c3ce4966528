#include "rtree/cursor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "rtree/neighbors.h"

namespace silurus::rtree {

template <int D>
void RangeCursor<D>::start(const RangeQuery<D>& query, WantedNode root, RangeResult<D>& result) {
  state_.limits = RangeLimits<D>::of(query.window, query.predicate);
  state_.shape = query.shape;
  state_.limit = query.limit;
  state_.result = &result;
  result.count = 0;  // the ids stay, as room that is written already
  result.boxes.clear();
  state_.drop_all();
  if (query.limit == 0) return state_.finish_if_done();
  if (root.level == 0) {
    state_.make_room_for_leaves();
    state_.leaves[0] = {root.ref.word(), kAllGroups, false};
    state_.leaf_end = 1;
  } else {
    state_.make_room_for_inner();
    state_.inner[0] = {root.ref.word(), root.level};
    state_.inner_count = 1;
  }
}

template <int D>
void RangeCursor<D>::feed(const Node<D>& node) {
  const std::uint32_t level = node.level();
  if (level == 0) {
    EntryMask found = kernels_->scan_leaf(node, state_.limits, kAllGroups);
    found.words[0] &= (std::uint64_t{1} << node.count()) - 1;  // whatever lies behind them
    return feed_leaf(node, found);
  }
  --state_.in_flight;
  if (level == 1) {
    state_.make_room_for_leaves();
    state_.leaf_end +=
        kernels_->gather_leaves(node, state_.limits, state_.leaves.data() + state_.leaf_end);
  } else {
    std::uint64_t words[RangeState<D>::kRoom];
    const std::uint32_t count = kernels_->gather_inner(node, state_.limits, words);
    state_.make_room_for_inner();
    for (std::uint32_t i = 0; i < count; ++i) {
      state_.inner[state_.inner_count++] = {words[i], level - 1};
    }
  }
  state_.finish_if_done();
}

template <int D>
void RangeCursor<D>::feed_groups(const Node<D>& leaf, GroupMask groups) {
  feed_leaf(leaf, kernels_->scan_leaf(leaf, state_.limits, groups));
}

template <int D>
void RangeCursor<D>::feed_leaf(const Node<D>& leaf, const EntryMask& found) {
  --state_.in_flight;
  if (state_.keeps_ids_alone()) {
    state_.result->count += kernels_->gather_ids(leaf, found, state_.room_for_ids());
  } else {
    state_.keep(leaf, found);
  }
  state_.finish_if_done();
}

/// Moves the leaves to the front, or gets more room if that gains too little.
template <int D>
void RangeState<D>::move_leaves() {
  const auto begin = static_cast<std::ptrdiff_t>(leaf_begin);
  const auto end = static_cast<std::ptrdiff_t>(leaf_end);
  std::copy(leaves.begin() + begin, leaves.begin() + end, leaves.begin());
  leaf_end -= leaf_begin;
  leaf_begin = 0;
  if (leaves.size() >= 2 * (leaf_end + kRoom)) return;
  leaves.resize(4 * (leaf_end + kRoom));
}

template <int D>
void RangeState<D>::keep(const Node<D>& leaf, EntryMask found) {
  if (shape == ResultShape::kCount) {
    result->count += std::min<std::uint64_t>(found.count(), limit - result->count);
  } else {
    found.for_each([&](std::uint32_t i) {
      if (result->count == limit) return;
      *room_for_ids() = leaf.id(i);
      ++result->count;
      if (shape == ResultShape::kEntries) result->boxes.push_back(leaf.entry_box(i));
    });
  }
  if (result->count == limit) drop_all();
}

template <int D>
void RangeCursor<D>::drain(RangeResult<D>& found) {
  RangeResult<D>& result = *state_.result;
  found.clear();
  found.count = std::exchange(result.count, 0);
  state_.limit -= found.count;
  if (state_.shape == ResultShape::kCount) return;
  result.ids.resize(found.count);
  found.ids.swap(result.ids);
  found.boxes.swap(result.boxes);
}

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Orders a heap with the nearest on top.
struct Farther {
  template <typename Known>
  bool operator()(const Known& a, const Known& b) const {
    return a.squared_distance > b.squared_distance;
  }
};

}  // namespace

template <int D>
void NearestCursor<D>::start(const NearestQuery<D>& query, WantedNode root, NearestResult& result) {
  query_ = query;
  root_ = root;
  k_ = query.k;
  has_tiny_gaps_ = false;
  has_worst_ = false;
  is_wide_ = false;
  bound_ = kInfinity;
  result_ = &result;
  result.clear();
  in_flight_ = 0;
  finished_ = k_ == 0;
  candidates_ = 0;
  known_.clear();
  family_count_ = 0;
  if (k_ == 0) return;
  Family& family = new_family();
  family.distances[0] = 0;
  family.refs[0] = root.ref.word();
  family.count = 1;
  family.level = root.level;
  add_family(0);
}

template <int D>
auto NearestCursor<D>::new_family() -> Family& {
  if (family_count_ == families_.size()) families_.push_back(std::make_unique<Family>());
  return *families_[family_count_++];
}

template <int D>
void NearestCursor<D>::add_family(std::uint32_t index) {
  Family& family = *families_[index];
  family.nearest = kernels_->least(family.distances, family.count);
  const double distance = family.distances[family.nearest];
  if (distance > bound_) return;
  known_.push_back({distance, index});
  std::push_heap(known_.begin(), known_.end(), Farther());
}

template <int D>
std::optional<WantedNode> NearestCursor<D>::take() {
  if (is_wide_) return wide_.take();
  if (known_.empty() || known_.front().squared_distance > bound_) return std::nullopt;
  const std::uint32_t index = known_.front().family;
  std::pop_heap(known_.begin(), known_.end(), Farther());
  known_.pop_back();
  Family& family = *families_[index];
  const WantedNode next{NodeRef::from_word(family.refs[family.nearest]), family.level};
  if (--family.count != 0) {
    family.distances[family.nearest] = family.distances[family.count];
    family.refs[family.nearest] = family.refs[family.count];
    add_family(index);
  }
  ++in_flight_;
  return next;
}

template <int D>
void NearestCursor<D>::feed(const Node<D>& node) {
  if (is_wide_) return wide_.feed(node);
  --in_flight_;
  if (node.is_leaf()) {
    feed_leaf(node);
  } else {
    const auto index = static_cast<std::uint32_t>(family_count_);
    Family& family = new_family();
    kernels_->inner_distances(node, query_.point, family.distances);
    family.count = node.count();
    family.level = node.level() - 1;
    std::copy_n(node.inner.children, family.count, family.refs);
    add_family(index);
  }
  finish_if_done();
}

template <int D>
void NearestCursor<D>::feed_leaf(const Node<D>& leaf) {
  alignas(64) double distances[kMaxFanout];
  kernels_->leaf_distances(leaf, query_.point, distances);
  const EntryMask near = kernels_->within(distances, leaf.count(), bound_);
  if (near.empty()) return;
  const std::size_t room = candidates_ + kLeafFanout<D> + 4;
  if (ids_.size() < room) {
    ids_.resize(2 * room);
    distances_.resize(2 * room);
  }
  const std::size_t before = candidates_;
  near.for_each([&](std::uint32_t i) {
    if (has_worst_ && distances[i] == worst_.distance && leaf.id(i) >= worst_.id) return;
    ids_[candidates_] = leaf.id(i);
    distances_[candidates_++] = distances[i];
    if (distances[i] < kLeastSquare && distance(query_.point, leaf.entry_box(i)) != 0) {
      has_tiny_gaps_ = true;
    }
  });
  if (candidates_ == before) return;
  // For large k the bound is found less often, so that an entry costs no more.
  const std::size_t spare = k_ <= kFewNeighbors ? 0 : k_;
  if (candidates_ > k_ + spare || (candidates_ >= k_ && bound_ == kInfinity)) keep_best();
}

/// Finds the k-th distance, and drops what lies beyond it.
template <int D>
void NearestCursor<D>::keep_best() {
  double kth = 0;
  if (candidates_ <= kMaxRanked) {
    kth = kernels_->kth_least(distances_.data(), static_cast<std::uint32_t>(candidates_),
                              static_cast<std::uint32_t>(k_));
  } else {
    std::vector<double> sorted(distances_.begin(), distances_.begin() + candidates_);
    std::nth_element(sorted.begin(), sorted.begin() + k_ - 1, sorted.end());
    kth = sorted[k_ - 1];
  }
  bound_ = greatest_equal(kth);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates_; ++i) {
    ids_[kept] = ids_[i];
    distances_[kept] = distances_[i];
    kept += distances_[i] <= bound_ ? 1 : 0;
  }
  candidates_ = kept;
  if (kept > 2 * k_ + kFewNeighbors) keep_exactly();
}

/// Of more candidates at the k-th distance than is good, keeps k.
template <int D>
void NearestCursor<D>::keep_exactly() {
  NearestResult all(candidates_);
  for (std::size_t i = 0; i < candidates_; ++i) all[i] = {ids_[i], distances_[i]};
  std::nth_element(all.begin(), all.begin() + k_ - 1, all.end(), Better());
  worst_ = all[k_ - 1];
  has_worst_ = true;
  for (std::size_t i = 0; i < k_; ++i) {
    ids_[i] = all[i].id;
    distances_[i] = all[i].distance;
  }
  candidates_ = k_;
}

template <int D>
void NearestCursor<D>::finish_if_done() {
  if (in_flight_ != 0) return;
  if (!known_.empty() && known_.front().squared_distance <= bound_) return;
  if (candidates_ > k_) keep_best();
  if (squares_are_exact()) {
    sort_result();
    finished_ = true;
  } else {
    is_wide_ = true;
    wide_.start(query_, root_, *result_);
  }
}

/// Whether all candidates' squares are; those of what was dropped are greater.
template <int D>
bool NearestCursor<D>::squares_are_exact() const {
  const auto last = distances_.begin() + static_cast<std::ptrdiff_t>(candidates_);
  return !has_tiny_gaps_ && std::none_of(distances_.begin(), last,
                                         [](double square) { return square > kGreatestSquare; });
}

template <int D>
void NearestCursor<D>::sort_result() {
  result_->resize(candidates_);
  bool distinct = candidates_ <= kMaxRanked / 2;
  if (distinct) {
    // Few, as is usual, at different distances: each goes straight to its place.
    std::uint64_t ranks[kMaxRanked];
    distances_.resize(std::max<std::size_t>(distances_.size(), kMaxRanked));
    kernels_->rank(distances_.data(), static_cast<std::uint32_t>(candidates_), ranks);
    std::uint64_t taken = 0;
    for (std::size_t i = 0; i < candidates_; ++i) {
      (*result_)[ranks[i]] = {ids_[i], distances_[i]};
      taken |= std::uint64_t{1} << ranks[i];
    }
    distinct = candidates_ == 0 || taken == ~std::uint64_t{0} >> (64 - candidates_);
    for (std::size_t i = 1; i < candidates_; ++i) {
      distinct &= (*result_)[i].distance > greatest_equal((*result_)[i - 1].distance);
    }
  }
  if (!distinct) {
    for (std::size_t i = 0; i < candidates_; ++i) (*result_)[i] = {ids_[i], distances_[i]};
    std::sort(result_->begin(), result_->end(), Better());
  }
  result_->resize(std::min(candidates_, k_));
  for (Neighbor& neighbor : *result_) neighbor.distance = std::sqrt(neighbor.distance);
}

template struct RangeState<2>;
template struct RangeState<3>;
template class RangeCursor<2>;
template class RangeCursor<3>;
template class NearestCursor<2>;
template class NearestCursor<3>;

}  // namespace silurus::rtree
