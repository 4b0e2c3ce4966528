// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>

#include "rtree/choose.h"
#include "rtree/grouping.h"
#include "rtree/split.h"
#include "rtree/tree.h"

namespace silurus::rtree {
template <int D>
Status Tree<D>::insert(const Entry<D>& entry, Room room, RecordBytes record) {
  if (Status checked = check_box(entry.box); !checked) return checked;
  if (Status checked = check_record(record); !checked) return checked;
  // At worst every node on the path is copied and split, and a new root made.
  const std::uint64_t height = node(root_).level() + 1;
  if (height > kMaxLevel) return fail(ErrorCode::kTooLarge, "the tree is too high");
  if (is_keyed_) {
    if (Status absent = check_absent(entry.id); !absent) return absent;
  }
  const NodeCounts spare = room == Room::kBudget ? reserved() : NodeCounts{};
  const NodeCounts nodes =
      path() * 2 + NodeCounts{0, 1} + index_nodes() + record_nodes(record.size());
  if (Status enough = reserve(nodes, spare); !enough) return enough;
  insert_reserved(entry);
  put_in_index(entry.id, entry.box);
  if (!record.empty()) put_record(entry.id, record);
  return {};
}

template <int D>
auto Tree<D>::choose_leaf(const Entry<D>& entry) const -> Path {
  Path path;
  NodeRef ref = root_;
  for (std::uint32_t level = node(root_).level();; --level) {
    path.nodes[level] = ref;
    if (level == 0) return path;
    const Node<D>& inner = node(ref);
    std::uint32_t& index = path.child[level];
    index = choose_child(inner, entry.box);
    if (node(inner.child(index)).bounds == entry.box) index = choose_by_id(inner, index, entry.id);
    ref = inner.child(index);
  }
}

template <int D>
void Tree<D>::insert_reserved(const Entry<D>& entry) {
  Path path = choose_leaf(entry);
  own_path(path, 0);
  Node<D>& leaf = own_node(path.nodes[0]);
  bool grown = leaf.count() == 0 || extend(leaf.bounds, entry.box);
  const bool has_grown = grown;
  if (leaf.count() == 0) leaf.bounds = entry.box;
  const std::uint32_t top = root_node().level();
  for (std::uint32_t level = 1; level <= top; ++level) {
    Node<D>& inner = own_node(path.nodes[level]);
    ++inner.header.entries;
    inner.extend_ids({entry.id, entry.id});
    if (!grown) continue;  // then nothing has grown further up
    Box<D> box = inner.bounds;
    grown = extend(box, entry.box);
    if (grown) {
      refit(inner, box);
    } else {
      inner.set_child_box(path.child[level], node(path.nodes[level - 1]).bounds);
    }
  }
  if (leaf.count() == kLeafFanout<D>) return add_child(path, 1, split_leaf(leaf, entry));
  const std::uint32_t index = leaf.header.count++;
  leaf.set_entry(index, entry);
  ++leaf.header.entries;
  if (top == 0) return;
  // Grouping takes half as long as the rest of an insert: it waits until the last group is full.
  Node<D>& parent = own_node(path.nodes[1]);
  if (index % kGroupFanout == kGroupFanout - 1) {
    parent.forget_directory(path.child[1]);
  } else if (has_grown) {
    parent.outdate_directory(path.child[1]);
  } else {
    parent.add_to_directory(path.child[1], index / kGroupFanout, entry.box);
  }
}

/// Gives an inner node another box, and its children their cells in it.
template <int D>
void Tree<D>::refit(Node<D>& inner, const Box<D>& box) {
  const std::uint32_t count = inner.count();
  // The boxes are read from the children themselves: cells of cells would grow with each change.
  for (std::uint32_t i = 0; i < count; ++i) __builtin_prefetch(&node(inner.child(i)));
  inner.refit(box, [&](std::uint32_t i) { return node(inner.child(i)).bounds; });
}

/// The box of all children of an inner node.
template <int D>
Box<D> Tree<D>::bounds_of_children(const Node<D>& inner) const {
  Box<D> bounds = node(inner.child(0)).bounds;
  for (std::uint32_t i = 1; i < inner.count(); ++i) extend(bounds, node(inner.child(i)).bounds);
  return bounds;
}

template <int D>
void Tree<D>::add_child(Path& path, std::uint32_t level, NodeRef added) {
  for (;; ++level) {
    const Node<D>& split = own_node(path.nodes[level - 1]);
    if (level > root_node().level()) return grow_root(added);
    Node<D>& parent = own_node(path.nodes[level]);
    parent.set_child_box(path.child[level], split.bounds);
    parent.forget_directory(path.child[level]);
    if (parent.count() < kInnerFanout<D>) {
      parent.set_child(parent.header.count++, added, node(added).bounds);
      return;
    }
    added = split_inner(parent, added);
  }
}

template <int D>
void Tree<D>::grow_root(NodeRef added) {
  const NodeRef old = root_;
  root_ = new_node(node(old).level() + 1);
  Node<D>& root = root_node();
  Box<D> box = node(old).bounds;
  extend(box, node(added).bounds);
  root.fit(box);
  root.set_child(0, old, node(old).bounds);
  root.set_child(1, added, node(added).bounds);
  root.header.count = 2;
  root.header.entries = node(old).header.entries + node(added).header.entries;
  IdRange ids = node(old).ids();
  ids.extend(node(added).ids());
  root.set_ids(ids);
}

template <int D>
NodeRef Tree<D>::split_leaf(Node<D>& leaf, const Entry<D>& entry) {
  std::array<SplitItem<D>, kLeafFanout<D> + 1> items;
  for (std::uint32_t i = 0; i < kLeafFanout<D>; ++i) items[i] = item_of(leaf, i);
  items[kLeafFanout<D>] = {entry.box, {entry.id, entry.id}, 0};
  const std::uint32_t kept = split_items<D>(items, kLeafFanout<D> * 2 / 5, kLeafFanout<D>, true);
  const NodeRef ref = new_node(0);
  set_items(leaf, std::span(items).first(kept));
  set_items(own_node(ref), std::span(items).subspan(kept));
  forest_->add(forest_->counters.split, 1);
  return ref;
}

template <int D>
NodeRef Tree<D>::split_inner(Node<D>& inner, NodeRef added) {
  std::array<SplitItem<D>, kInnerFanout<D> + 1> items;
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) items[i] = item_of(inner, i);
  items[kInnerFanout<D>] = {node(added).bounds, node(added).ids(), added.word()};
  const std::uint32_t kept = split_items<D>(items, kInnerFanout<D> * 2 / 5, kInnerFanout<D>, true);
  const NodeRef ref = new_node(inner.level());
  set_items(inner, std::span(items).first(kept));
  set_items(own_node(ref), std::span(items).subspan(kept));
  forest_->add(forest_->counters.split, 1);
  return ref;
}

/// Entry or child `index` of a node.
template <int D>
SplitItem<D> Tree<D>::item_of(const Node<D>& from, std::uint32_t index) const {
  if (from.is_leaf()) return {from.entry_box(index), {from.id(index), from.id(index)}, 0};
  const Node<D>& child = node(from.child(index));
  return {child.bounds, child.ids(), from.inner.children[index]};
}

template <int D>
void Tree<D>::set_items(Node<D>& made, std::span<const SplitItem<D>> items) {
  made.header.count = static_cast<std::uint32_t>(items.size());
  made.header.entries = made.is_leaf() ? items.size() : 0;
  Box<D> box = items[0].box;
  IdRange ids = kNoIds;
  for (const SplitItem<D>& item : items) {
    extend(box, item.box);
    ids.extend(item.ids);
  }
  if (made.is_leaf()) {
    made.bounds = box;
  } else {
    made.fit(box);
    made.set_ids(ids);
  }
  for (std::uint32_t i = 0; i < items.size(); ++i) {
    if (made.is_leaf()) {
      made.set_entry(i, {items[i].ids.least, items[i].box});
      continue;
    }
    const NodeRef child = NodeRef::from_word(items[i].word);
    made.set_child(i, child, items[i].box);
    if (made.level() == 1 && !is_own(child)) {
      made.inner.directories[i] = directory_of(made, i, node(child));
    }
    made.header.entries += node(child).header.entries;
  }
  for (auto i = made.count(); made.is_leaf() && i < kLeafFanout<D>; ++i) made.clear_entry(i);
}

template Status Tree<2>::insert(const Entry<2>&, Room, RecordBytes);
template Status Tree<3>::insert(const Entry<3>&, Room, RecordBytes);
template Tree<2>::Path Tree<2>::choose_leaf(const Entry<2>&) const;
template Tree<3>::Path Tree<3>::choose_leaf(const Entry<3>&) const;
template void Tree<2>::insert_reserved(const Entry<2>&);
template void Tree<3>::insert_reserved(const Entry<3>&);
template void Tree<2>::refit(Node<2>&, const Box<2>&);
template void Tree<3>::refit(Node<3>&, const Box<3>&);
template Box<2> Tree<2>::bounds_of_children(const Node<2>&) const;
template Box<3> Tree<3>::bounds_of_children(const Node<3>&) const;
template SplitItem<2> Tree<2>::item_of(const Node<2>&, std::uint32_t) const;
template void Tree<2>::set_items(Node<2>&, std::span<const SplitItem<2>>);
template SplitItem<3> Tree<3>::item_of(const Node<3>&, std::uint32_t) const;
template void Tree<3>::set_items(Node<3>&, std::span<const SplitItem<3>>);

}  // namespace silurus::rtree
