// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>

#include "rtree/kernels.h"
#include "rtree/split.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

/// Nodes that an erasure needs at worst: a copy of each node on the path and of a sibling of each,
/// and of the children that take the place of roots.
NodeCounts nodes_to_erase(NodeCounts path) { return path * 3; }

template <int D>
std::uint32_t minimum_of(const Node<D>& node) {
  return node.is_leaf() ? kLeafMinimum<D> : kInnerMinimum<D>;
}

template <int D>
std::optional<std::uint32_t> index_of(const Node<D>& leaf, const Entry<D>& entry) {
  for (std::uint32_t i = 0; i < leaf.count(); ++i) {
    if (leaf.id(i) == entry.id && leaf.entry_box(i) == entry.box) return i;
  }
  return std::nullopt;
}

/// A join never fills a node further. A pair that a split has made must lose an eighth of a node
/// before it is joined, and what was joined must gain that before it is split: so no insert and
/// erasure in turn split and join again and again.
template <int D>
std::uint32_t join_limit(const Node<D>& node) {
  return (node.is_leaf() ? kLeafFanout<D> : kInnerFanout<D>)*7 / 8;
}

/// Whether a box that lies within another one shares an edge with it.
template <int D>
bool touches_an_edge(const Box<D>& box, const Box<D>& outer) {
  for (int d = 0; d < D; ++d) {
    if (box.min[d] == outer.min[d] || box.max[d] == outer.max[d]) return true;
  }
  return false;
}

/// Siblings that are looked at for a join, since each costs a line of memory.
constexpr std::uint32_t kSiblingsLookedAt = 8;

/// A join that is not forced makes the sum of half margins smaller, by a quarter at least of that
/// of the node that goes: boxes that lie beside each other do, those that meet at a corner or not
/// at all don't, and would cost searches more than the node that is saved.
constexpr double kMostGrowth = 0.75;

/// A child of a node, and how far its box would grow by taking in another one's.
struct Sibling {
  double growth;
  std::uint32_t index;
  friend bool operator<(const Sibling& a, const Sibling& b) {
    return a.growth != b.growth ? a.growth < b.growth : a.index < b.index;
  }
};

template <int D>
double half_margin(const Box<D>& box) {
  double sum = 0;
  for (int d = 0; d < D; ++d) sum += box.max[d] - box.min[d];
  return sum;
}

/// The other children of a node that would grow least by taking the place of child `index` too, the
/// best first; returns how many.
template <int D>
std::uint32_t best_siblings(const Node<D>& parent, std::uint32_t index,
                            std::array<Sibling, kInnerFanout<D>>& siblings) {
  const Box<D> box = parent.child_box(index);
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < parent.count(); ++i) {
    if (i == index) continue;
    const Box<D> other = parent.child_box(i);
    double growth = 0;  // infinite where differences are more than double can hold
    for (int d = 0; d < D; ++d) {
      growth += std::max(other.min[d] - box.min[d], 0.0) + std::max(box.max[d] - other.max[d], 0.0);
    }
    siblings[count++] = {growth, i};
  }
  const std::uint32_t best = std::min(count, kSiblingsLookedAt);
  std::partial_sort(siblings.begin(), siblings.begin() + best, siblings.begin() + count);
  return best;
}

}  // namespace

template <int D>
Status Tree<D>::erase(const Entry<D>& entry) {
  if (Status checked = check_box(entry.box); !checked) return checked;
  std::optional<Found> found = find(entry);
  if (!found) {
    return fail(ErrorCode::kNotFound,
                "no entry with id " + std::to_string(entry.id) + " and that box");
  }
  const NodeCounts nodes = nodes_to_erase(path()) + index_nodes() + record_nodes(0);
  if (Status room = reserve(nodes, {}); !room) return room;
  erase_found(*found);
  erase_from_index(entry.id);
  erase_record(entry.id);
  return {};
}

template <int D>
Status Tree<D>::update(std::uint64_t id, const Box<D>& from, const Box<D>& to, Room room,
                       std::optional<RecordBytes> record) {
  if (Status checked = check_box(from, "from"); !checked) return checked;
  if (Status checked = check_box(to, "to"); !checked) return checked;
  if (record) {
    if (Status checked = check_record(*record); !checked) return checked;
  }
  std::optional<Found> found = find({id, from});
  if (!found) {
    return fail(ErrorCode::kNotFound, "no entry with id " + std::to_string(id) + " and that box");
  }
  NodeCounts nodes = nodes_to_erase(path()) + path() * 2 + NodeCounts{0, 1} + index_nodes();
  if (record) nodes = nodes + record_nodes(record->size());
  const bool is_tight = !reserve(nodes, reserved());
  // The leaves beside the new place may be packed into these nodes, if there are as many, and no
  // other operation counts on them.
  const bool may_pack = is_tight && room != Room::kAdmitted &&
                        reserve(nodes + NodeCounts{kInnerFanout<D>, 0}, reserved() / 4);
  if (is_tight && !may_pack) {
    const NodeCounts spare = room == Room::kBudget ? reserved() / 4 : NodeCounts{};
    if (Status enough = reserve(nodes, spare); !enough) return enough;
  }
  erase_found(*found);
  if (may_pack) pack_beside({id, to});
  insert_reserved({id, to});
  put_in_index(id, to);
  if (record) record->empty() ? erase_record(id) : put_record(id, *record);
  return {};
}

template <int D>
bool Tree<D>::look_for(const Entry<D>& entry, std::uint32_t& nodes) {
  if (!check_box(entry.box)) return true;  // erase() says why
  if (!lookup_ || lookup_->entry != entry) lookup_ = begin_lookup(entry);
  go_on(*lookup_, nodes);
  return lookup_->is_at_end;
}

template <int D>
auto Tree<D>::find(const Entry<D>& entry) -> std::optional<Found> {
  std::uint32_t nodes = UINT32_MAX;  // more than a tree can have
  look_for(entry, nodes);
  return lookup_->has_found ? std::optional(lookup_->found) : std::nullopt;
}

template <int D>
auto Tree<D>::begin_lookup(const Entry<D>& entry) const -> Lookup {
  Lookup lookup{
      .entry = entry, .found = {}, .rest = {}, .level = node(root_).level(), .is_fresh = true};
  lookup.found.path.nodes[lookup.level] = root_;
  return lookup;
}

template <int D>
void Tree<D>::go_on(Lookup& lookup, std::uint32_t& nodes) const {
  const Entry<D>& entry = lookup.entry;
  const auto limits = RangeLimits<D>::of(entry.box, Predicate::kContains);
  const Kernels<D>& scan = kernels<D>();
  Path& path = lookup.found.path;
  const std::uint32_t top = node(root_).level();
  while (!lookup.is_at_end) {
    std::uint32_t& level = lookup.level;
    const Node<D>& here = node(path.nodes[level]);
    if (lookup.is_fresh) {
      if (nodes == 0) return;
      --nodes;
      lookup.is_fresh = false;
      if (level != 0) {
        const bool may_hold = here.ids().holds(entry.id);
        lookup.rest[level] = may_hold ? scan.scan_inner(here, limits) : EntryMask{};
      } else if (const auto index = index_of(here, entry)) {
        lookup.found.index = *index;
        lookup.is_at_end = lookup.has_found = true;
        return;
      }
    }
    if (const auto next = level == 0 ? std::nullopt : lookup.rest[level].pop()) {
      path.child[level] = *next;
      path.nodes[--level] = here.child(*next);
      lookup.is_fresh = true;
    } else if (level == top) {
      lookup.is_at_end = true;
    } else {
      ++level;
    }
  }
}

template <int D>
void Tree<D>::erase_found(Found& found) {
  own_path(found.path, 0);
  Node<D>& leaf = own_node(found.path.nodes[0]);
  const Box<D> before = leaf.bounds;
  const Box<D> erased = leaf.entry_box(found.index);
  --leaf.header.count;
  --leaf.header.entries;
  if (found.index != leaf.count()) leaf.copy_entry(found.index, leaf.count());
  leaf.clear_entry(leaf.count());
  if (leaf.count() != 0 && touches_an_edge(erased, before)) leaf.bounds = bounds_of_entries(leaf);
  const std::uint32_t top = root_node().level();
  for (std::uint32_t level = 1; level <= top; ++level) {
    --own_node(found.path.nodes[level]).header.entries;
  }
  if (top != 0) {
    Node<D>& parent = own_node(found.path.nodes[1]);
    if (leaf.count() % kGroupFanout == 0 || leaf.bounds != before) {
      parent.forget_directory(found.path.child[1]);
    } else if (found.index != leaf.count()) {  // another entry has come there
      parent.add_to_directory(found.path.child[1], found.index / kGroupFanout,
                              leaf.entry_box(found.index));
    }
  }
  repair_underflow(found.path, before);
  shrink_root();
}

/// From the leaf up, whose box was `before`: makes the parents' boxes tight, and joins what has too
/// few.
template <int D>
void Tree<D>::repair_underflow(Path& path, Box<D> before) {
  const std::uint32_t top = root_node().level();
  for (std::uint32_t level = 0; level < top; ++level) {
    Node<D>& parent = own_node(path.nodes[level + 1]);
    const std::uint32_t index = path.child[level + 1];
    const Box<D> parents = parent.bounds;
    if (own_node(path.nodes[level]).bounds != before) tighten(parent, index, before);
    before = parents;
    if (const auto sibling = partner_of(parent, index)) join(parent, index, *sibling);
  }
}

/// A child's box, which was `before`, has shrunk: so may its parent's.
template <int D>
void Tree<D>::tighten(Node<D>& parent, std::uint32_t index, const Box<D>& before) {
  if (touches_an_edge(before, parent.bounds)) {
    const Box<D> bounds = bounds_of_children(parent);
    if (bounds != parent.bounds) return refit(parent, bounds);
  }
  parent.set_child_box(index, node(parent.child(index)).bounds);
}

/// The sibling that a child is to be joined with: the best one with which it fits into one node; if
/// there is none, the best one, provided that the child has too few to be left alone. Where others
/// have the same box, only the next ones by id are good: else no order of their ids would be left.
template <int D>
std::optional<std::uint32_t> Tree<D>::partner_of(const Node<D>& parent, std::uint32_t index) const {
  const Node<D>& here = node(parent.child(index));
  const std::uint32_t limit = join_limit(here);
  if (here.count() > limit / 2 || parent.count() == 1) return std::nullopt;
  if (const auto sibling = next_by_id(parent, index)) {
    const bool fits = here.count() + node(parent.child(*sibling)).count() <= limit;
    return fits || here.count() < minimum_of(here) ? sibling : std::nullopt;
  }
  std::array<Sibling, kInnerFanout<D>> siblings;
  const std::uint32_t count = best_siblings(parent, index, siblings);
  const double most = kMostGrowth * half_margin(parent.child_box(index));
  for (std::uint32_t i = 0; i < count && siblings[i].growth <= most; ++i) {
    const std::uint32_t sibling = siblings[i].index;
    if (here.count() + node(parent.child(sibling)).count() <= limit) return sibling;
  }
  return here.count() < minimum_of(here) ? std::optional(siblings[0].index) : std::nullopt;
}

/// Moves all that a child holds to a sibling; if that is too much, splits it between them.
template <int D>
void Tree<D>::join(Node<D>& parent, std::uint32_t index, std::uint32_t sibling) {
  parent.inner.children[sibling] = own(parent.child(sibling)).word();
  Node<D>& poor = own_node(parent.child(index));
  Node<D>& rich = own_node(parent.child(sibling));
  const bool is_leaf = poor.is_leaf();
  std::array<SplitItem<D>, kMaxSplitItems<D>> items;
  std::uint32_t count = 0;
  for (const Node<D>* from : {&rich, &poor}) {
    for (std::uint32_t i = 0; i < from->count(); ++i) items[count++] = item_of(*from, i);
  }
  const std::uint32_t fanout = is_leaf ? kLeafFanout<D> : kInnerFanout<D>;
  const std::span<SplitItem<D>> all(items.data(), count);
  const std::uint32_t kept =
      count <= fanout ? count : split_items<D>(all, fanout * 2 / 5, fanout, false);
  set_items(rich, all.first(kept));
  parent.set_child_box(sibling, rich.bounds);
  parent.forget_directory(sibling);
  if (kept == count) {
    drop(parent.child(index));
    remove_child(parent, index);
    forest_->add(forest_->counters.joined, 1);
  } else {
    set_items(poor, all.subspan(kept));
    parent.set_child_box(index, poor.bounds);
    parent.forget_directory(index);
  }
}

template <int D>
void Tree<D>::remove_child(Node<D>& parent, std::uint32_t index) {
  const std::uint32_t last = --parent.header.count;
  if (index != last) parent.copy_child(index, last);
}

/// A root with one child gives way to it; an empty one to an empty leaf.
template <int D>
void Tree<D>::shrink_root() {
  while (!root_node().is_leaf() && root_node().count() == 1) {
    const NodeRef child = own(root_node().child(0));
    drop(root_);
    root_ = child;
  }
}

template void Tree<2>::shrink_root();
template void Tree<3>::shrink_root();

template bool Tree<2>::look_for(const Entry<2>&, std::uint32_t&);
template bool Tree<3>::look_for(const Entry<3>&, std::uint32_t&);
template Status Tree<2>::erase(const Entry<2>&);
template Status Tree<3>::erase(const Entry<3>&);
template Status Tree<2>::update(std::uint64_t, const Box<2>&, const Box<2>&, Room,
                                std::optional<RecordBytes>);
template Status Tree<3>::update(std::uint64_t, const Box<3>&, const Box<3>&, Room,
                                std::optional<RecordBytes>);

}  // namespace silurus::rtree
