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

/// Chunks that an erasure needs at worst: a copy of each node on the path and of a sibling of each,
/// and of the children that take the place of roots.
std::uint64_t chunks_to_erase(std::uint64_t height) { return 3 * height; }

template <int D>
std::uint32_t minimum_of(const Node<D>& node) {
  return node.is_leaf() ? kLeafMinimum<D> : kInnerMinimum<D>;
}

template <int D>
std::optional<std::uint32_t> index_of(const Node<D>& leaf, const Entry<D>& entry) {
  for (std::uint32_t i = 0; i < leaf.count(); ++i) {
    if (leaf.leaf.ids[i] == entry.id && leaf.entry_box(i) == entry.box) return i;
  }
  return std::nullopt;
}

/// The other child of a node that would grow least by taking the place of child `index` too.
template <int D>
std::uint32_t best_sibling(const Node<D>& parent, std::uint32_t index) {
  const FloatBox<D> box = parent.child_box(index);
  std::uint32_t best = index == 0 ? 1 : 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::uint32_t i = 0; i < parent.count(); ++i) {
    if (i == index) continue;
    double growth = 0;
    for (int d = 0; d < D; ++d) {
      const double min = parent.inner.bounds[2 * d][i];
      const double max = parent.inner.bounds[2 * d + 1][i];
      growth += std::max(min - box.min[d], 0.0) + std::max(box.max[d] - max, 0.0);
    }
    if (growth < least) {
      best = i;
      least = growth;
    }
  }
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
  if (Status reserved = reserve(chunks_to_erase(node(root_).level() + 1), 0); !reserved) {
    return reserved;
  }
  erase_found(*found);
  return {};
}

template <int D>
Status Tree<D>::update(std::uint64_t id, const Box<D>& from, const Box<D>& to) {
  if (Status checked = check_box(from, "from"); !checked) return checked;
  if (Status checked = check_box(to, "to"); !checked) return checked;
  std::optional<Found> found = find({id, from});
  if (!found) {
    return fail(ErrorCode::kNotFound, "no entry with id " + std::to_string(id) + " and that box");
  }
  const std::uint64_t height = node(root_).level() + 1;
  const std::uint64_t chunks = chunks_to_erase(height) + 2 * height + 1;
  if (Status reserved = reserve(chunks, kSpareChunks); !reserved) return reserved;
  erase_found(*found);
  insert_reserved({id, to});
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
        lookup.rest[level] = scan.scan_inner(here, limits);
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
  --leaf.header.count;
  --leaf.header.entries;
  leaf.copy_entry(found.index, leaf.count());
  const std::uint32_t top = root_node().level();
  for (std::uint32_t level = 1; level <= top; ++level) {
    --own_node(found.path.nodes[level]).header.entries;
  }
  repair_underflow(found.path);
  shrink_root();
}

/// From the leaf up: joins what has too few, and makes the parents' boxes tight.
template <int D>
void Tree<D>::repair_underflow(Path& path) {
  const std::uint32_t top = root_node().level();
  for (std::uint32_t level = 0; level < top; ++level) {
    const Node<D>& here = own_node(path.nodes[level]);
    Node<D>& parent = own_node(path.nodes[level + 1]);
    const std::uint32_t index = path.child[level + 1];
    if (here.count() < minimum_of(here) && parent.count() > 1) {
      join_with_sibling(parent, index);
    } else {
      parent.set_child_box(index, node_bounds(here));
    }
  }
}

/// Moves all that a child holds to its best sibling; if that is too much, splits it between them.
template <int D>
void Tree<D>::join_with_sibling(Node<D>& parent, std::uint32_t index) {
  const std::uint32_t sibling = best_sibling(parent, index);
  parent.inner.children[sibling] = own(parent.child(sibling)).word();
  Node<D>& poor = own_node(parent.child(index));
  Node<D>& rich = own_node(parent.child(sibling));
  const bool is_leaf = poor.is_leaf();
  std::array<SplitItem<D>, kMaxSplitItems<D>> items;
  std::uint32_t count = 0;
  for (const Node<D>* from : {&rich, &poor}) {
    for (std::uint32_t i = 0; i < from->count(); ++i) {
      items[count++] = is_leaf ? SplitItem<D>{from->entry_box(i), from->leaf.ids[i]}
                               : SplitItem<D>{widen(from->child_box(i)), from->inner.children[i]};
    }
  }
  const std::uint32_t fanout = is_leaf ? kLeafFanout<D> : kInnerFanout<D>;
  const std::span<SplitItem<D>> all(items.data(), count);
  const std::uint32_t kept = count <= fanout ? count : split_items<D>(all, fanout * 2 / 5, fanout);
  set_items(rich, all.first(kept));
  parent.set_child_box(sibling, node_bounds(rich));
  if (kept == count) {
    drop(parent.child(index));
    remove_child(parent, index);
  } else {
    set_items(poor, all.subspan(kept));
    parent.set_child_box(index, node_bounds(poor));
  }
}

template <int D>
void Tree<D>::remove_child(Node<D>& parent, std::uint32_t index) {
  const std::uint32_t last = --parent.header.count;
  if (index != last) parent.set_child(index, parent.child(last), parent.child_box(last));
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

template bool Tree<2>::look_for(const Entry<2>&, std::uint32_t&);
template bool Tree<3>::look_for(const Entry<3>&, std::uint32_t&);
template Status Tree<2>::erase(const Entry<2>&);
template Status Tree<3>::erase(const Entry<3>&);
template Status Tree<2>::update(std::uint64_t, const Box<2>&, const Box<2>&);
template Status Tree<3>::update(std::uint64_t, const Box<3>&, const Box<3>&);

}  // namespace silurus::rtree
