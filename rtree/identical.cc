// SPDX-License-Identifier: Apache-2.0

#include <optional>

#include "rtree/tree.h"

// Children of a node that have exactly the same box, as the nodes of a million entries at one spot
// do: their boxes say nothing about where an entry is, so they are kept in the order of their ids
// (docs/decisions/0016).

namespace silurus::rtree {
namespace {

/// Whether two children of a node have the same cells: those of the same box do.
template <int D>
bool has_cells_of(const Node<D>& parent, std::uint32_t index, std::uint32_t other) {
  for (const auto& row : parent.inner.cells) {
    if (row[index] != row[other]) return false;
  }
  return true;
}

}  // namespace

/// Neighbours by id among the children with the box of child `index`, but for `left_out`: the last
/// one that is not behind the id, and the first one that is. An id of each tells their order, if
/// their ranges have one.
template <int D>
auto Tree<D>::neighbors_by_id(const Node<D>& parent, std::uint32_t index, std::uint64_t id,
                              std::uint32_t left_out) const -> IdNeighbors {
  const Box<D>& box = node(parent.child(index)).bounds;
  IdNeighbors neighbors;
  std::uint64_t below = 0;
  std::uint64_t above = UINT64_MAX;
  for (std::uint32_t i = 0; i < parent.count(); ++i) {
    if (i == left_out || !has_cells_of(parent, index, i)) continue;
    const Node<D>& child = node(parent.child(i));
    if (child.bounds != box) continue;
    const std::uint64_t here = child.some_id();
    if (here <= id && (!neighbors.below || here > below)) {
      neighbors.below = i;
      below = here;
    } else if (here > id && (!neighbors.above || here < above)) {
      neighbors.above = i;
      above = here;
    }
  }
  return neighbors;
}

/// The child with the box of child `index` whose ids hold that id, or else are nearest to it. So
/// ranges that are apart stay apart.
template <int D>
std::uint32_t Tree<D>::choose_by_id(const Node<D>& parent, std::uint32_t index,
                                    std::uint64_t id) const {
  const IdNeighbors neighbors = neighbors_by_id(parent, index, id, parent.count());
  if (!neighbors.above) return neighbors.below.value_or(index);
  if (!neighbors.below) return *neighbors.above;
  const std::uint64_t below = node(parent.child(*neighbors.below)).ids().greatest;
  if (id <= below) return *neighbors.below;
  const std::uint64_t above = node(parent.child(*neighbors.above)).ids().least;
  return id >= above || above - id < id - below ? *neighbors.above : *neighbors.below;
}

/// Finds, among the children with the box of child `index`, the emptier one of the two beside it in
/// the order of ids; none if no other child has its box.
template <int D>
std::optional<std::uint32_t> Tree<D>::next_by_id(const Node<D>& parent, std::uint32_t index) const {
  const Node<D>& here = node(parent.child(index));
  if (here.count() == 0) return std::nullopt;
  const IdNeighbors neighbors = neighbors_by_id(parent, index, here.some_id(), index);
  if (!neighbors.below || !neighbors.above) {
    return neighbors.below ? neighbors.below : neighbors.above;
  }
  const std::uint32_t below = node(parent.child(*neighbors.below)).count();
  const std::uint32_t above = node(parent.child(*neighbors.above)).count();
  return below <= above ? neighbors.below : neighbors.above;
}

template std::uint32_t Tree<2>::choose_by_id(const Node<2>&, std::uint32_t, std::uint64_t) const;
template std::uint32_t Tree<3>::choose_by_id(const Node<3>&, std::uint32_t, std::uint64_t) const;
template std::optional<std::uint32_t> Tree<2>::next_by_id(const Node<2>&, std::uint32_t) const;
template std::optional<std::uint32_t> Tree<3>::next_by_id(const Node<3>&, std::uint32_t) const;

}  // namespace silurus::rtree
