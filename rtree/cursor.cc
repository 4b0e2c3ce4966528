// SPDX-License-Identifier: Apache-2.0

#include "rtree/cursor.h"

#include <algorithm>
#include <bit>
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
  state_.turn = 0;
  if (query.limit == 0) return state_.finish_if_done();
  if (query.lonlat) state_.begin_turns(query, root);
  state_.begin_at_root(root);
}

template <int D>
void RangeState<D>::begin_at_root(WantedNode from) {
  if (from.level == 0) {
    make_room_for_leaves();
    leaves[0] = {from.ref.word(), kAllGroups, false};
    leaf_begin = 0;
    leaf_end = 1;
  } else {
    make_room_for_inner();
    inner[0] = {from.ref.word(), from.level};
    inner_count = 1;
  }
}

template <int D>
void RangeState<D>::begin_turns([[maybe_unused]] const RangeQuery<D>& query,
                                [[maybe_unused]] WantedNode from) {
  if constexpr (D == 2) {
    root = from;
    knows_bounds = false;
    predicate = query.predicate;
    windows = windows_of(query.window);
    turns_left = windows.count - 1;
    limits = RangeLimits<D>::of(windows.at[0], predicate);
  }
}

template <int D>
void RangeState<D>::begin_turn() {
  if constexpr (D == 2) {
    ++turn;
    --turns_left;
    limits = RangeLimits<D>::of(windows.at[turn], predicate);
    limits.can_cover = false;  // each entry is looked at, whether it was found before
    begin_at_root(root);
  }
}

template <int D>
void RangeState<D>::drop_turns_beside([[maybe_unused]] const Box<D>& bounds) {
  if constexpr (D == 2) {
    knows_bounds = true;
    std::uint32_t kept = 1;
    for (std::uint32_t i = 1; i < windows.count; ++i) {
      if (intersects(windows.at[i], bounds)) windows.at[kept++] = windows.at[i];
    }
    windows.count = kept;
    turns_left = kept - 1;
  }
}

template <int D>
EntryMask RangeState<D>::not_found_before([[maybe_unused]] const Node<D>& leaf,
                                          EntryMask found) const {
  EntryMask fresh;
  if constexpr (D == 2) {
    found.for_each([&](std::uint32_t i) {
      const Box<D> box = leaf.entry_box(i);
      bool is_known = false;
      for (std::uint32_t before = 0; before < turn; ++before) {
        is_known |=
            matches(RangeQuery<D>{.window = windows.at[before], .predicate = predicate}, box);
      }
      if (!is_known) fresh.words[i / 64] |= std::uint64_t{1} << (i % 64);
    });
  }
  return fresh;
}

template <int D>
void RangeCursor<D>::feed(const Node<D>& node) {
  const std::uint32_t level = node.level();
  // So that a search from afar does not come to the root again for nothing.
  if (state_.turns_left != 0 && !state_.knows_bounds) state_.drop_turns_beside(node.bounds);
  if (level == 0) {
    EntryMask found = kernels_->scan_leaf(node, state_.limits, kAllGroups);
    found.words[0] &= (std::uint64_t{1} << node.count()) - 1;  // whatever lies behind them
    return feed_leaf(node, found);
  }
  --state_.in_flight;
  if (state_.only_counts(node.bounds)) {
    state_.count_all(node.header.entries);
  } else if (level == 1) {
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
  if (groups == 0) {
    --state_.in_flight;
    state_.count_all(leaf.count());
    return state_.finish_if_done();
  }
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
  if (turn != 0) found = not_found_before(leaf, found);
  if (shape == ResultShape::kCount) {
    count_all(found.count());
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

/// The square of the distance to a box, or its key.
template <int D>
double NearestCursor<D>::distance_of(const Box<D>& box) const {
  if constexpr (D == 2) {
    if (query_.lonlat) return arc_key(from_, box);
  }
  return squared_distance(query_.point, box);
}

/// No entry at the same distance has a greater square, or key.
template <int D>
double NearestCursor<D>::greatest_like(double distance) const {
  return query_.lonlat ? greatest_equal_arc(distance) : greatest_equal(distance);
}

/// The bound before anything is found.
template <int D>
double NearestCursor<D>::first_bound() const {
  const double most = query_.max_distance;
  if (most == kInfinity) return kInfinity;
  return query_.lonlat ? greatest_key_within(most) : greatest_equal(most * most);
}

template <int D>
void NearestCursor<D>::start(const NearestQuery<D>& query, WantedNode root, NearestResult& result,
                             bool by_groups) {
  query_ = query;
  if constexpr (D == 2) {
    if (query.lonlat) from_ = SpherePoint::of(query.point);
  }
  by_groups_ = by_groups;
  parent_count_ = 0;
  root_ = root;
  k_ = query.k;
  has_tiny_gaps_ = false;
  has_worst_ = false;
  is_wide_ = false;
  bound_ = first_bound();
  has_kth_ = false;
  result_ = &result;
  result.clear();
  in_flight_ = 0;
  finished_ = k_ == 0;
  candidates_ = 0;
  known_.clear();
  family_count_ = 0;
  free_families_.clear();
  if (k_ == 0) return;
  const std::uint32_t index = new_family();
  ChildQueue& family = *families_[index];
  family.distances[0] = 0;
  family.refs[0] = root.ref.word();
  family.count = 1;
  family.level = root.level;
  family.kind = Kind::kNodes;
  add_family(index);
}

template <int D>
std::uint32_t NearestCursor<D>::new_family() {
  if (!free_families_.empty()) {
    const std::uint32_t index = free_families_.back();
    free_families_.pop_back();
    return index;
  }
  if (family_count_ == families_.size()) families_.push_back(std::make_unique<ChildQueue>());
  return family_count_++;
}

template <int D>
void NearestCursor<D>::add_family(std::uint32_t index) {
  ChildQueue& family = *families_[index];
  family.nearest = kernels_->least(family.distances, family.count);
  const double distance = family.distances[family.nearest];
  if (distance > bound_) return free_families_.push_back(index);
  known_.push_back({distance, index});
  std::push_heap(known_.begin(), known_.end(), Farther());
}

/// Takes the nearest child out of a family, which is the first of the heap; returns its ref.
template <int D>
std::uint64_t NearestCursor<D>::take_nearest(std::uint32_t index) {
  std::pop_heap(known_.begin(), known_.end(), Farther());
  known_.pop_back();
  ChildQueue& family = *families_[index];
  const std::uint64_t ref = family.refs[family.nearest];
  if (--family.count != 0) {
    family.distances[family.nearest] = family.distances[family.count];
    family.refs[family.nearest] = family.refs[family.count];
    add_family(index);
  } else {
    free_families_.push_back(index);
  }
  return ref;
}

template <int D>
std::optional<WantedNode> NearestCursor<D>::take() {
  if (is_wide_) return wide_.take();
  while (!known_.empty() && known_.front().squared_distance <= bound_) {
    const std::uint32_t index = known_.front().family;
    const ChildQueue& family = *families_[index];
    const std::uint64_t ref = take_nearest(index);
    if (family.kind == Kind::kLeaves) {
      const Node<D>& parent = *parents_[family.parent];
      const auto child = static_cast<std::uint32_t>(ref);
      if (parent.has_directory(child)) {
        add_groups(parent, child);
        continue;
      }
      ++in_flight_;
      return WantedNode{parent.child(child), 0};
    }
    ++in_flight_;
    if (family.kind == Kind::kNodes) return WantedNode{NodeRef::from_word(ref), family.level};
    return WantedNode{NodeRef::from_word(family.leaf), 0, static_cast<GroupMask>(1u << ref)};
  }
  // The groups of the last leaves may all have been too far away.
  if (by_groups_ && in_flight_ == 0 && !finished_) finish_if_done();
  return is_wide_ ? wide_.take() : std::nullopt;
}

/// Keeps a node of level 1 for its directories: its children are known by their places.
template <int D>
void NearestCursor<D>::keep_parent(const Node<D>& parent, ChildQueue& family) {
  if (parent_count_ == parents_.size()) parents_.push_back(std::make_unique<Node<D>>());
  family.kind = Kind::kLeaves;
  family.parent = static_cast<std::uint32_t>(parent_count_);
  copy_node(*parents_[parent_count_++], parent);
  for (std::uint32_t i = 0; i < family.count; ++i) family.refs[i] = i;
}

template <int D>
void NearestCursor<D>::add_groups(const Node<D>& parent, std::uint32_t child) {
  const std::uint32_t index = new_family();
  ChildQueue& family = *families_[index];
  family.kind = Kind::kGroups;
  family.leaf = parent.child(child).word();
  family.level = 0;
  family.count = 0;
  for (std::uint32_t group = 0; group < kLeafGroups<D>; ++group) {
    if (parent.is_empty_group(child, group)) continue;
    family.refs[family.count] = group;
    const double distance = distance_of(parent.group_box(child, group));
    family.distances[family.count++] = query_.lonlat ? least_arc_within(distance) : distance;
  }
  if (family.count != 0) {
    add_family(index);
  } else {
    free_families_.push_back(index);
  }
}

template <int D>
void NearestCursor<D>::feed(const Node<D>& node) {
  if (is_wide_) return wide_.feed(node);
  --in_flight_;
  if (node.is_leaf()) {
    feed_leaf(node);
  } else {
    const std::uint32_t index = new_family();
    ChildQueue& family = *families_[index];
    if (query_.lonlat) {
      kernels_->inner_arcs(node, from_, family.distances);
    } else {
      kernels_->inner_distances(node, query_.point, family.distances);
    }
    family.count = node.count();
    family.level = node.level() - 1;
    if (by_groups_ && node.level() == 1) {
      keep_parent(node, family);
    } else {
      family.kind = Kind::kNodes;
      std::copy_n(node.inner.children, family.count, family.refs);
    }
    add_family(index);
  }
  finish_if_done();
}

template <int D>
void NearestCursor<D>::feed_leaf(const Node<D>& leaf) {
  alignas(64) double distances[kMaxFanout];
  if (query_.lonlat) {
    kernels_->leaf_arcs(leaf, from_, distances);
  } else {
    kernels_->leaf_distances(leaf, query_.point, distances);
  }
  const EntryMask near = kernels_->within(distances, leaf.count(), bound_);
  if (near.empty()) return;
  make_room();
  const std::size_t before = candidates_;
  near.for_each([&](std::uint32_t i) { add_candidate(leaf, i, distances[i]); });
  if (candidates_ != before) tighten();
}

template <int D>
void NearestCursor<D>::feed_groups(const Node<D>& leaf, GroupMask groups) {
  --in_flight_;
  make_room();
  const std::size_t before = candidates_;
  for (std::uint32_t rest = groups; rest != 0; rest &= rest - 1) {
    const auto group = static_cast<std::uint32_t>(std::countr_zero(rest));
    for (std::uint32_t at = 0; at < kGroupFanout; ++at) {
      if (leaf.leaf.groups[group].high[0][at] == kNoEntry) continue;
      const std::uint32_t index = group * kGroupFanout + at;
      const double square = distance_of(leaf.entry_box(index));
      if (square <= bound_) add_candidate(leaf, index, square);
    }
  }
  if (candidates_ != before) tighten();
  finish_if_done();
}

/// For all entries of a leaf.
template <int D>
void NearestCursor<D>::make_room() {
  const std::size_t room = candidates_ + kLeafFanout<D> + 4;
  if (ids_.size() >= room) return;
  ids_.resize(2 * room);
  distances_.resize(2 * room);
}

template <int D>
void NearestCursor<D>::add_candidate(const Node<D>& leaf, std::uint32_t index, double square) {
  if (has_worst_ && square == worst_.distance && leaf.id(index) >= worst_.id) return;
  ids_[candidates_] = leaf.id(index);
  distances_[candidates_++] = square;
  if (square < kLeastSquare && !query_.lonlat &&
      distance(query_.point, leaf.entry_box(index)) != 0) {
    has_tiny_gaps_ = true;
  }
}

/// Drops candidates that can't belong to the answer any more.
template <int D>
void NearestCursor<D>::tighten() {
  // For large k the bound is found less often, so that an entry costs no more.
  const std::size_t spare = k_ <= kFewNeighbors ? 0 : k_;
  if (candidates_ > k_ + spare || (candidates_ >= k_ && !has_kth_)) keep_best();
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
  bound_ = std::min(bound_, greatest_like(kth));
  has_kth_ = true;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates_; ++i) {
    ids_[kept] = ids_[i];
    distances_[kept] = distances_[i];
    kept += distances_[i] <= bound_ ? 1 : 0;
  }
  candidates_ = kept;
  if (kept > 2 * k_ + kFewNeighbors) keep_exactly();
}

/// Keeps k candidates, if there are more at the k-th distance than is good.
template <int D>
void NearestCursor<D>::keep_exactly() {
  NearestResult all(candidates_);
  for (std::size_t i = 0; i < candidates_; ++i) all[i] = {ids_[i], distances_[i]};
  if (query_.lonlat) {
    std::nth_element(all.begin(), all.begin() + k_ - 1, all.end(), BetterArc());
  } else {
    std::nth_element(all.begin(), all.begin() + k_ - 1, all.end(), Better());
  }
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
  if (query_.lonlat) return true;
  const auto last = distances_.begin() + static_cast<std::ptrdiff_t>(candidates_);
  return !has_tiny_gaps_ && std::none_of(distances_.begin(), last,
                                         [](double square) { return square > kGreatestSquare; });
}

template <int D>
void NearestCursor<D>::sort_result() {
  if (query_.lonlat) {
    sort_metres();
  } else {
    sort_squares();
  }
  NearestResult& result = *result_;
  while (!result.empty() && result.back().distance > query_.max_distance) result.pop_back();
}

template <int D>
void NearestCursor<D>::sort_metres() {
  result_->resize(candidates_);
  for (std::size_t i = 0; i < candidates_; ++i) {
    (*result_)[i] = {ids_[i], metres_of(distances_[i])};
  }
  std::sort(result_->begin(), result_->end(), [](const Neighbor& a, const Neighbor& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  });
  result_->resize(std::min(candidates_, k_));
}

template <int D>
void NearestCursor<D>::sort_squares() {
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
