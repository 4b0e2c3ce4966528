// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "rtree/split.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

std::string name_of(NodeRef ref) {
  return "node {chunk " + std::to_string(ref.chunk()) + ", birth " + std::to_string(ref.birth()) +
         "}";
}

Status broken(NodeRef ref, const std::string& what) {
  return fail(ErrorCode::kProtocol, name_of(ref) + ": " + what);
}

/// What must be true of a node by itself.
template <int D>
Status check_alone(const Node<D>& node, NodeRef ref, bool is_root, Version version,
                   bool checksums) {
  if (!ref.is_born_in(node.birth())) {
    return broken(ref, "says it was born in " + std::to_string(node.birth()));
  }
  if (node.birth() > version) return broken(ref, "is younger than the version");
  if (is_root && node.birth() != version) return broken(ref, "is a root older than its version");
  const std::uint32_t fanout = node.is_leaf() ? kLeafFanout<D> : kInnerFanout<D>;
  const std::uint32_t minimum =
      node.is_leaf() ? (is_root ? 0 : kLeafMinimum<D>) : (is_root ? 2 : kInnerMinimum<D>);
  if (node.count() > fanout || node.level() > kMaxLevel) {
    return broken(ref, "has a count of " + std::to_string(node.count()) + " at level " +
                           std::to_string(node.level()));
  }
  if (node.count() < minimum) {
    return broken(ref, "has " + std::to_string(node.count()) + " entries, fewer than " +
                           std::to_string(minimum));
  }
  if (checksums && node.header.checksum != node_checksum(node)) {
    return broken(ref, "has a wrong checksum");
  }
  if (!node.is_leaf()) {
    for (int d = 0; d < D; ++d) {
      if (node.inner.scale[d] != cell_scale(node.bounds.min[d], node.bounds.max[d])) {
        return broken(ref, "has a grid that is not that of its box");
      }
    }
    return {};
  }
  if (node.header.entries != node.count()) return broken(ref, "counts its entries wrongly");
  if (node.count() != 0 && node.bounds != bounds_of_entries(node)) {
    return broken(ref, "has a box that is not that of its entries");
  }
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    if (Status checked = check_box(node.entry_box(i)); !checked) {
      return broken(ref, "entry " + std::to_string(i) + ": " + checked.error().message);
    }
  }
  for (std::uint32_t i = node.count(); i < kLeafFanout<D>; ++i) {
    for (const auto& row : node.leaf.groups[i / kGroupFanout].high) {
      if (row[i % kGroupFanout] != kNoEntry) return broken(ref, "has words where no entry is");
    }
  }
  return {};
}

/// Whether a parent's directory of a leaf covers all entries.
template <int D>
bool covers(const Node<D>& parent, std::uint32_t index, const Node<D>& leaf) {
  const LeafDirectory<D>& held = parent.inner.directories[index];
  for (std::uint32_t i = 0; i < leaf.count(); ++i) {
    const std::uint32_t g = i / kGroupFanout;
    const Box<D> box = leaf.entry_box(i);
    for (int d = 0; d < D; ++d) {
      // A leaf is looked at before it is checked: its entries may be anything.
      if (!std::isfinite(box.min[d]) || !std::isfinite(box.max[d])) return false;
      const GroupGrid grid = parent.group_grid(index, d);
      const auto cell_of = [&](double x) {
        return group_cell_of(steps_of(x, parent.bounds.min[d], parent.inner.scale[d]), grid);
      };
      if (held.cells[2 * d][g] > cell_of(box.min[d])) return false;
      if (held.cells[2 * d + 1][g] < cell_of(box.max[d])) return false;
    }
  }
  return true;
}

/// What must be true between a node and its child.
template <int D>
Status check_child(const Node<D>& parent, NodeRef ref, std::uint32_t index, const Node<D>& child) {
  const std::string which = "child " + std::to_string(index);
  if (child.level() + 1 != parent.level()) {
    return broken(ref, which + " is of level " + std::to_string(child.level()) + " below level " +
                           std::to_string(parent.level()));
  }
  if (child.birth() > parent.birth()) return broken(ref, which + " is younger than it");
  for (int d = 0; d < D; ++d) {
    const auto is_cell = [&](int row, double x) {
      // A child is looked at before it is checked: its box may hold anything.
      return std::isfinite(x) && parent.inner.cells[row][index] ==
                                     cell_of(x, parent.bounds.min[d], parent.inner.scale[d]);
    };
    if (!is_cell(2 * d, child.bounds.min[d]) || !is_cell(2 * d + 1, child.bounds.max[d])) {
      return broken(ref, which + "'s cells are not those of its box");
    }
  }
  const bool is_bad_leaf = child.is_leaf() && child.count() > kLeafFanout<D>;  // told later
  if (!is_bad_leaf && !parent.ids().covers(child.ids())) {
    return broken(ref, which + " has ids beyond those that it says are below it");
  }
  if (child.is_leaf() && !is_bad_leaf && !covers(parent, index, child)) {
    return broken(ref, which + "'s groups reach beyond its directory");
  }
  return {};
}

}  // namespace

template <int D>
Status Snapshot<D>::validate() const {
  const Version version = this->version();
  std::vector<bool> seen;  // by chunk
  std::vector<NodeRef> stack{root_};
  std::uint64_t entries = 0;
  while (!stack.empty()) {
    const NodeRef ref = stack.back();
    stack.pop_back();
    const Node<D>& here = node(ref);
    const std::size_t end = std::size_t{ref.chunk()} + chunks_of<D>(here.level());
    if (seen.size() < end) seen.resize(end * 2);
    for (std::size_t chunk = ref.chunk(); chunk < end; ++chunk) {
      if (seen[chunk]) return broken(ref, "lies in a chunk that is used twice");
      seen[chunk] = true;
    }
    const bool checksums = forest_->options.checksums;
    if (Status alone = check_alone(here, ref, ref == root_, version, checksums); !alone) {
      return alone;
    }
    if (here.is_leaf()) {
      entries += here.count();
      continue;
    }
    std::uint64_t below = 0;
    Box<D> bounds;
    for (std::uint32_t i = 0; i < here.count(); ++i) {
      const NodeRef child = here.child(i);
      const std::uint32_t chunks = chunks_of<D>(here.level() - 1);
      if (child.chunk() < kRootChunks<D> || kChunkShape<D>.spans_slabs(child.chunk(), chunks) ||
          std::uint64_t{child.chunk()} + chunks > forest_->arena.max_chunks()) {
        return broken(child, "lies outside the chunks for nodes");
      }
      if (Status fits = check_child(here, ref, i, node(child)); !fits) return fits;
      below += node(child).header.entries;
      if (i == 0) bounds = node(child).bounds;
      extend(bounds, node(child).bounds);
      stack.push_back(child);
    }
    if (bounds != here.bounds) return broken(ref, "has a box that is not that of its children");
    if (below != here.header.entries) return broken(ref, "counts the entries below it wrongly");
  }
  if (entries != size()) return broken(root_, "counts the tree's entries wrongly");
  if (!index_) return {};
  if (Status index = validate_index(); !index) return index;
  return page_root() ? validate_records() : Status();
}

/// Checks that the index of ids has all entries of the tree, and no others.
template <int D>
Status Snapshot<D>::validate_index() const {
  std::vector<Entry<D>> in_tree;
  std::vector<NodeRef> stack{root_};
  while (!stack.empty()) {
    const Node<D>& here = node(stack.back());
    stack.pop_back();
    for (std::uint32_t i = 0; i < here.count(); ++i) {
      if (here.is_leaf()) {
        in_tree.push_back(here.entry(i));
      } else {
        stack.push_back(here.child(i));
      }
    }
  }
  std::ranges::sort(in_tree, {}, &Entry<D>::id);
  const auto size_of = [&](NodeRef ref) { return node(ref).header.entries; };
  if (size_of(id_root()) != in_tree.size())
    return broken(id_root(), "counts the index's entries wrongly");
  std::size_t next = 0;
  stack.push_back(id_root());
  while (!stack.empty()) {
    const NodeRef ref = stack.back();
    stack.pop_back();
    const Node<D>& here = node(ref);
    const std::span bytes(reinterpret_cast<const std::byte*>(&here), node_bytes<D>(here.level()));
    const WantedNode itself{ref, here.level()};
    const bool checksums = forest_->options.checksums;
    if (!is_index_level(here.level()) || here.birth() > version() ||
        check_node<D>(bytes, itself, forest_->arena.max_chunks(), checksums) == nullptr) {
      return broken(ref, "is no sound node of an index");
    }
    std::uint64_t below = 0;
    for (std::uint32_t i = here.count(); !here.is_bottom() && i-- > 0;) {
      const Node<D>& child = node(here.child(i));
      if (child.level() + 1 != here.level()) return broken(ref, "has a child of another level");
      below += child.header.entries;
      stack.push_back(here.child(i));
    }
    if (!here.is_bottom()) {
      if (below != here.header.entries) return broken(ref, "counts the entries below it wrongly");
      continue;
    }
    for (std::uint32_t i = 0; i < here.count(); ++i, ++next) {
      const KeyedEntry<D> entry = IndexLeaf<D>(here).entry(i);
      if (next == in_tree.size() || Entry<D>{entry.id, entry.box} != in_tree[next]) {
        return broken(ref, "has an entry that the tree does not have");
      }
      const bool is_found = find_id(entry.id) == entry;
      if (!is_found || entry.version > version()) {
        return broken(ref, "has an entry that is not found");
      }
    }
  }
  return {};
}

template Status Snapshot<2>::validate() const;
template Status Snapshot<3>::validate() const;

}  // namespace silurus::rtree
