// SPDX-License-Identifier: Apache-2.0

#include "rtree/id_cursor.h"

#include <algorithm>

#include "common/check.h"

namespace silurus::rtree {
namespace {

constexpr std::uint32_t kNowhere = UINT32_MAX;

}  // namespace

template <int D>
void IdCursor<D>::start(std::span<const std::uint64_t> ids, WantedNode root,
                        std::vector<KeyedEntry<D>>& found) {
  ids_.assign(ids.begin(), ids.end());
  sorted_ = ids_;
  std::ranges::sort(sorted_);
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  entries_.clear();
  places_.assign(sorted_.size(), kNowhere);
  found_ = &found;
  found.clear();
  known_.clear();
  in_flight_.clear();
  if (sorted_.empty()) return;
  known_.push_back({root.ref.word(), root.level, 0, static_cast<std::uint32_t>(sorted_.size())});
}

template <int D>
std::optional<WantedNode> IdCursor<D>::take() {
  if (known_.empty()) return std::nullopt;
  const Part part = known_.back();
  known_.pop_back();
  in_flight_.push_back(part);
  return WantedNode{NodeRef::from_word(part.word), part.level};
}

template <int D>
void IdCursor<D>::feed(NodeRef ref, const Node<D>& node) {
  const auto at = std::ranges::find(in_flight_, ref.word(), &Part::word);
  SILURUS_CHECK(at != in_flight_.end());
  const Part part = *at;
  *at = in_flight_.back();
  in_flight_.pop_back();
  if (node.is_bottom()) {
    look_into_leaf(part, node);
  } else {
    look_into_inner(part, node);
  }
  if (done()) tell();
}

template <int D>
void IdCursor<D>::look_into_leaf(const Part& part, const Node<D>& leaf) {
  const IndexLeaf<D> view(leaf);
  for (std::uint32_t i = part.first; i < part.last; ++i) {
    const auto entry = view.find(sorted_[i]);
    if (!entry) continue;
    places_[i] = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back(*entry);
  }
}

/// Each child has those of the ids that are less than all of the child behind it.
template <int D>
void IdCursor<D>::look_into_inner(const Part& part, const Node<D>& inner) {
  if (inner.level() == kPairLevel) {  // with records beside it
    const auto level = static_cast<std::uint32_t>(inner.inner.least[0]);
    known_.push_back({inner.inner.children[0], level, part.first, part.last});
    return;
  }
  for (std::uint32_t first = part.first; first < part.last;) {
    const std::uint32_t child = index_child(inner, sorted_[first]);
    std::uint32_t last = part.last;
    if (child + 1 < inner.count()) {
      const auto begin = sorted_.begin();
      const auto end =
          std::lower_bound(begin + first, begin + part.last, inner.inner.least[child + 1]);
      last = static_cast<std::uint32_t>(end - begin);
    }
    known_.push_back({inner.inner.children[child], inner.level() - 1, first, last});
    first = last;
  }
}

template <int D>
void IdCursor<D>::tell() {
  const auto tell_one = [&](std::size_t place) {
    if (places_[place] != kNowhere) found_->push_back(entries_[places_[place]]);
  };
  if (sorted_ == ids_) {
    for (std::size_t i = 0; i < places_.size(); ++i) tell_one(i);
    return;
  }
  for (const std::uint64_t id : ids_) {
    tell_one(static_cast<std::size_t>(std::ranges::lower_bound(sorted_, id) - sorted_.begin()));
  }
}

template class IdCursor<2>;
template class IdCursor<3>;

}  // namespace silurus::rtree
