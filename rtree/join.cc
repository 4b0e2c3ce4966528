// SPDX-License-Identifier: Apache-2.0

#include "rtree/join.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace silurus::rtree {
template <int D>
void JoinCursor<D>::start(const JoinQuery& query, WantedNode first, WantedNode second) {
  within_ = query.within;
  waiting_.clear();
  waiting_.push_back({first.ref.word(), second.ref.word(), first.level, second.level});
}

/// The box and all points that are as near to it in each dimension, rounded outward.
template <int D>
Box<D> JoinCursor<D>::widened(const Box<D>& box) const {
  if (within_ == 0) return box;
  constexpr double kGreatest = std::numeric_limits<double>::max();
  Box<D> wide = box;
  for (int d = 0; d < D; ++d) {
    wide.min[d] = std::nextafter(std::max(box.min[d] - within_, -kGreatest), -kGreatest);
    wide.max[d] = std::nextafter(std::min(box.max[d] + within_, kGreatest), kGreatest);
  }
  return wide;
}

template <int D>
bool JoinCursor<D>::are_near(const Box<D>& a, const Box<D>& b) const {
  double gaps[D];
  for (int d = 0; d < D; ++d) {
    gaps[d] = std::max({0.0, a.min[d] - b.max[d], b.min[d] - a.max[d]});
  }
  if constexpr (D == 2) {
    return std::hypot(gaps[0], gaps[1]) <= within_;
  } else {
    return std::hypot(gaps[0], gaps[1], gaps[2]) <= within_;
  }
}

template <int D>
bool JoinCursor<D>::go_on(const Snapshot<D>& first, const Snapshot<D>& second,
                          std::uint32_t most_nodes, std::size_t enough,
                          std::vector<IdPair>& found) {
  const std::size_t before = found.size();
  for (; most_nodes != 0 && !waiting_.empty() && found.size() - before < enough; --most_nodes) {
    const NodePair pair = waiting_.back();
    waiting_.pop_back();
    const Node<D>& a = first.node(NodeRef::from_word(pair.first));
    const Node<D>& b = second.node(NodeRef::from_word(pair.second));
    if (a.is_leaf() && b.is_leaf()) {
      join_leaves(a, b, found);
    } else if (pair.first_level > pair.second_level) {
      descend_first(pair, a, b.bounds);
    } else if (pair.first_level < pair.second_level) {
      descend_second(pair, a.bounds, b);
    } else {
      join_inner(pair, a, b);
    }
  }
  return done();
}

template <int D>
void JoinCursor<D>::descend_first(const NodePair& pair, const Node<D>& first,
                                  const Box<D>& second) {
  const auto limits = RangeLimits<D>::of(widened(second), Predicate::kIntersects);
  kernels_->scan_inner(first, limits).for_each([&](std::uint32_t i) {
    waiting_.push_back(
        {first.child(i).word(), pair.second, pair.first_level - 1, pair.second_level});
  });
}

template <int D>
void JoinCursor<D>::descend_second(const NodePair& pair, const Box<D>& first,
                                   const Node<D>& second) {
  const auto limits = RangeLimits<D>::of(widened(first), Predicate::kIntersects);
  kernels_->scan_inner(second, limits).for_each([&](std::uint32_t i) {
    waiting_.push_back(
        {pair.first, second.child(i).word(), pair.first_level, pair.second_level - 1});
  });
}

template <int D>
void JoinCursor<D>::join_inner(const NodePair& pair, const Node<D>& first, const Node<D>& second) {
  const auto limits = RangeLimits<D>::of(widened(second.bounds), Predicate::kIntersects);
  kernels_->scan_inner(first, limits).for_each([&](std::uint32_t i) {
    const auto of_child = RangeLimits<D>::of(widened(first.child_box(i)), Predicate::kIntersects);
    kernels_->scan_inner(second, of_child).for_each([&](std::uint32_t j) {
      waiting_.push_back({first.child(i).word(), second.child(j).word(), pair.first_level - 1,
                          pair.second_level - 1});
    });
  });
}

template <int D>
void JoinCursor<D>::join_leaves(const Node<D>& first, const Node<D>& second,
                                std::vector<IdPair>& found) const {
  const Box<D> space = widened(second.bounds);
  for (std::uint32_t i = 0; i < first.count(); ++i) {
    const Box<D> box = first.entry_box(i);
    if (!intersects(box, space)) continue;
    const auto limits = RangeLimits<D>::of(widened(box), Predicate::kIntersects);
    kernels_->scan_leaf(second, limits, kAllGroups).for_each([&](std::uint32_t j) {
      if (within_ != 0 && !are_near(box, second.entry_box(j))) return;
      found.push_back({first.id(i), second.id(j)});
    });
  }
}

template class JoinCursor<2>;
template class JoinCursor<3>;

}  // namespace silurus::rtree
