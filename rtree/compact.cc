// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <vector>

#include "rtree/pack.h"
#include "rtree/split.h"
#include "rtree/tree.h"

// A compaction goes over the tree node by node and packs the children of each: first those of inner
// nodes, from the root down, so that what holds leaves holds many; then the leaves; then the inner
// nodes again, from below, for they hold fewer leaves now. Where it is says a rank, the number of
// entries before the node: that stays meaningful however much others change in between.

namespace silurus::rtree {
namespace compaction {

enum class Pass : std::uint8_t { kInner = 0, kLeaves = 1, kInnerAgain = 2, kDone = 3 };

constexpr std::uint32_t kPassShift = 62;
constexpr std::uint32_t kLevelShift = 56;
constexpr std::uint64_t kRankMask = (std::uint64_t{1} << kLevelShift) - 1;
constexpr std::uint64_t kLevelMask = (std::uint64_t{1} << (kPassShift - kLevelShift)) - 1;
/// The share of the work that each of the passes over inner nodes is taken for.
constexpr double kInnerShare = 0.05;
/// Nodes are packed if that saves one of as many.
constexpr std::uint32_t kWorthwhile = 16;

/// Where a compaction is: the children of nodes of `level` come next, behind `rank` entries.
struct Place {
  Pass pass;
  std::uint32_t level;
  std::uint64_t rank;

  /// Takes any word, even one that a stranger sent.
  static Place of(std::uint64_t cursor) {
    const auto pass = static_cast<Pass>(cursor >> kPassShift);
    const auto level = static_cast<std::uint32_t>(cursor >> kLevelShift & kLevelMask);
    return {pass, pass == Pass::kLeaves ? 1 : level, cursor & kRankMask};
  }
  std::uint64_t cursor() const {
    if (pass == Pass::kDone) return kCompacted;
    return static_cast<std::uint64_t>(pass) << kPassShift | std::uint64_t{level} << kLevelShift |
           rank;
  }
  /// How much lies behind this place, of a tree of such a root.
  template <int D>
  double share(const Node<D>& root) const {
    if (pass == Pass::kDone) return 1;
    const double entries = static_cast<double>(std::max<std::uint64_t>(root.header.entries, 1));
    const double passed = std::min(1.0, static_cast<double>(rank) / entries);
    if (pass == Pass::kLeaves) return kInnerShare + (1 - 2 * kInnerShare) * passed;
    const double levels = root.level() - 1;  // at least 1, for this place was settled
    if (pass == Pass::kInner) return (root.level() - level + passed) / levels * kInnerShare;
    return 1 - kInnerShare + (level - 2 + passed) / levels * kInnerShare;
  }
  /// Goes on until there is something at this place of a tree of such a root.
  template <int D>
  void settle(const Node<D>& root) {
    const std::uint32_t top = root.level();
    if (pass == Pass::kInner && (level < 2 || level > top)) {  // the beginning, or the root shrank
      level = top;
      rank = 0;
    }
    if (pass == Pass::kInnerAgain && level < 2) level = 2;
    while (pass != Pass::kDone &&
           !(level <= top && level >= first_level() && rank < root.header.entries)) {
      rank = 0;
      if (pass == Pass::kInner && level > 2) {
        --level;
      } else if (pass == Pass::kInnerAgain && level < top) {
        ++level;
      } else {
        pass = static_cast<Pass>(static_cast<std::uint8_t>(pass) + 1);
        level = first_level();
      }
    }
  }
  std::uint32_t first_level() const { return pass == Pass::kLeaves ? 1 : 2; }
};

/// How many nodes that many items of the children of a node of `level` are to be packed into, so
/// that each is as full as that: `count`, as they are now, if fewer are not worthwhile.
template <int D>
std::uint32_t parts_of(std::uint32_t items, std::uint32_t count, std::uint32_t level, bool is_root,
                       double fill) {
  const double fanout = level == 1 ? kLeafFanout<D> : kInnerFanout<D>;
  const auto capacity = std::max(1u, static_cast<std::uint32_t>(std::round(fill * fanout)));
  const std::uint32_t least = is_root ? 1 : kInnerMinimum<D>;
  const std::uint32_t parts = std::max((items + capacity - 1) / capacity, least);
  return parts < count && (count - parts) * kWorthwhile >= count ? parts : count;
}

}  // namespace compaction

template <int D>
struct Tree<D>::Packing {
  compaction::Place place;
  double fill;
  std::uint32_t work = 0;
  CompactStep step = {};
  Path path = {};            ///< to the node at the place
  std::uint64_t before = 0;  ///< entries before that node
};

template <int D>
Result<CompactStep> Tree<D>::compact(std::uint64_t cursor, double fill) {
  using compaction::Pass;
  using compaction::Place;
  if (!(fill >= 0 && fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "the fill of a compaction is not in (0, 1], nor 0 for the default");
  }
  if (Status room = reserve({1, 1}, {}); !room) return fail(room.error());
  note_change();
  root_ = own(root_);
  Packing packing{.place = Place::of(cursor), .fill = fill == 0 ? kCompactFill : fill};
  packing.place.settle(root_node());
  while (packing.place.pass != Pass::kDone && packing.work < kWorkOfACompaction &&
         pack_next(packing)) {
    packing.place.settle(root_node());
  }
  packing.step.next = packing.place.cursor();
  packing.step.share = packing.place.share(root_node());
  return packing.step;
}

/// Packs the children of the node at the place if that is worthwhile, and goes on behind it. False:
/// there is no memory for it.
template <int D>
bool Tree<D>::pack_next(Packing& packing) {
  using namespace compaction;
  find_place(packing);
  const std::uint32_t level = packing.place.level;
  const std::uint32_t top = root_node().level();
  const Node<D>& parent = node(packing.path.nodes[level]);
  const std::uint64_t end = packing.before + parent.header.entries;
  const std::uint32_t count = parent.count();
  std::uint32_t items = 0;
  for (std::uint32_t i = 0; i < count; ++i) items += node(parent.child(i)).count();
  packing.work += count;
  const std::uint32_t parts = parts_of<D>(items, count, level, level == top, packing.fill);
  if (parts < count) {
    // The copies of the path, the new nodes, and what takes the place of a root.
    NodeCounts wanted{1, top - level + 2};
    (level == 1 ? wanted.leaves : wanted.inners) += parts;
    if (!reserve(wanted, reserved() / 4)) {
      packing.step.is_short = true;
      return false;
    }
    packing.work += items + parts;  // an item takes as long as a look at a node
    packing.step.saved_nodes += count - parts;
    packing.step.saved_bytes +=
        std::uint64_t{count - parts} * chunks_of<D>(level - 1) * kChunkBytes<D>;
    pack_children(packing.path, level, parts);
    shrink_root();
  }
  packing.place.rank = end;
  return true;
}

/// Packs the leaves beside the one that the entry would go to.
template <int D>
void Tree<D>::pack_beside(const Entry<D>& entry) {
  const std::uint32_t top = node(root_).level();
  if (top == 0) return;
  Path path = choose_leaf(entry);
  const Node<D>& parent = node(path.nodes[1]);
  std::uint32_t entries = 0;
  for (std::uint32_t i = 0; i < parent.count(); ++i) entries += node(parent.child(i)).count();
  const std::uint32_t count = parent.count();
  const std::uint32_t parts = compaction::parts_of<D>(entries, count, 1, top == 1, kCompactFill);
  if (parts == count) return;
  pack_children(path, 1, parts);
  shrink_root();
}

/// Finds the node of the place's level that has the entry of its rank below it.
template <int D>
void Tree<D>::find_place(Packing& packing) const {
  Path& path = packing.path;
  std::uint32_t level = node(root_).level();
  path.nodes[level] = root_;
  packing.before = 0;
  while (level > packing.place.level) {
    const Node<D>& here = node(path.nodes[level]);
    std::uint32_t index = 0;
    for (; index + 1 < here.count(); ++index) {
      const std::uint64_t entries = node(here.child(index)).header.entries;
      if (packing.before + entries > packing.place.rank) break;
      packing.before += entries;
    }
    packing.work += index + 1;
    path.child[level] = index;
    path.nodes[--level] = here.child(index);
  }
}

/// Replaces the children of a node by `parts` new ones that hold the same.
template <int D>
void Tree<D>::pack_children(Path& path, std::uint32_t level, std::uint32_t parts) {
  own_path(path, level);
  Node<D>& parent = own_node(path.nodes[level]);
  std::vector<SplitItem<D>> items;
  items.reserve(std::size_t{parent.count()} * kInnerFanout<D>);
  for (std::uint32_t c = 0; c < parent.count(); ++c) {
    const Node<D>& child = node(parent.child(c));
    for (std::uint32_t i = 0; i < child.count(); ++i) items.push_back(item_of(child, i));
  }
  std::array<NodeRef, kInnerFanout<D>> made;
  for (std::uint32_t i = 0; i < parts; ++i) made[i] = new_node(level - 1);
  for (std::uint32_t c = 0; c < parent.count(); ++c) drop(parent.child(c));
  const auto divide = [&](const auto& self, std::size_t first, std::size_t last) -> void {
    const std::size_t begin = part_begin(items.size(), parts, first);
    const std::size_t end = part_begin(items.size(), parts, last);
    const std::span<SplitItem<D>> here(items.data() + begin, end - begin);
    if (last - first == 1) return set_items(own_node(made[first]), here);
    const std::size_t middle = first + (last - first) / 2;
    halve<D>(here, part_begin(items.size(), parts, middle) - begin);
    self(self, first, middle);
    self(self, middle, last);
  };
  divide(divide, 0, parts);
  forest_->add(forest_->counters.joined, parent.header.count - parts);
  parent.header.count = parts;
  for (std::uint32_t i = 0; i < parts; ++i) {
    parent.set_child(i, made[i], node(made[i]).bounds);
  }
}

template void Tree<2>::pack_beside(const Entry<2>&);
template void Tree<3>::pack_beside(const Entry<3>&);
template Result<CompactStep> Tree<2>::compact(std::uint64_t, double);
template Result<CompactStep> Tree<3>::compact(std::uint64_t, double);

}  // namespace silurus::rtree
