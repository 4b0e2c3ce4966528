// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "rtree/id_index.h"
#include "rtree/records.h"
#include "rtree/tree.h"

// The id index of a keyed tree: a B+-tree of copy-on-write nodes beside the R-tree's, in the same
// batch (docs/decisions/0153). A full node is halved, but the last one of its level stays as it is,
// so that ids that follow each other fill their nodes. A node that is nearly empty is joined with a
// neighbour.

namespace silurus::rtree {
namespace {

/// What a join fills at most: so no insert and erasure in turn split and join again and again.
constexpr std::size_t three_quarters(std::size_t all) { return all * 3 / 4; }

template <int D>
bool is_nearly_empty(const Node<D>& node) {
  if (!node.is_bottom()) return node.count() < kInnerFanout<D> / 4;
  if (node.level() == kPageLevel) return RecordPage<D>(node).bytes() < kPageBytes<D> / 4;
  std::size_t bytes = 0;
  for (const std::uint8_t width : node.keyed.widths) bytes += width;
  return node.count() < kIndexLeafFanout / 4 && bytes * node.count() < kIndexRowBytes<D> / 4;
}

template <int D>
void remove_index_child(Node<D>& inner, std::uint32_t at) {
  InnerBody<D>& body = inner.inner;
  const std::uint32_t count = inner.header.count--;
  std::copy(body.least + at + 1, body.least + count, body.least + at);
  std::copy(body.children + at + 1, body.children + count, body.children + at);
}

template <int D>
std::optional<KeyedEntry<D>> find_below(const Arena<D>& arena, NodeRef index, std::uint64_t id) {
  const Node<D>* node = &arena.node(index.chunk());
  while (!node->is_bottom()) node = &arena.node(node->child(index_child(*node, id)).chunk());
  return IndexLeaf<D>(*node).find(id);
}

/// How entries, in the order of their ids, are parted among leaves that are full: how many each
/// gets.
template <int D>
std::vector<std::uint32_t> part_among_leaves(std::span<const Entry<D>> entries, Version version) {
  std::vector<std::uint32_t> counts;
  IndexRowSizes<D> sizes;
  for (const Entry<D>& entry : entries) {
    IndexRowSizes<D> with = sizes;
    with.add({entry.id, entry.box, version});
    if (!with.fits()) {
      counts.push_back(sizes.count());
      with = {};
      with.add({entry.id, entry.box, version});
    }
    sizes = with;
  }
  if (sizes.count() != 0) counts.push_back(sizes.count());
  return counts;
}

}  // namespace

template <int D>
std::optional<KeyedEntry<D>> Tree<D>::find_id(std::uint64_t id) const {
  return is_keyed_ ? find_below(forest_->arena, index_, id) : std::nullopt;
}

template <int D>
std::optional<KeyedEntry<D>> Snapshot<D>::find_id(std::uint64_t id) const {
  return index_ ? find_below(forest_->arena, id_root(), id) : std::nullopt;
}

/// The root of the id index, whether or not there are records beside it.
template <int D>
NodeRef Snapshot<D>::id_root() const {
  return node(index_).level() == kPairLevel ? node(index_).child(0) : index_;
}

/// Nodes of what is beside an empty tree.
template <int D>
NodeCounts Tree<D>::nodes_beside(TreeKind kind) {
  return {(kind.is_keyed ? 1u : 0u) + (kind.has_records ? 2u : 0u), 0};
}

/// Makes what lies beside a tree without entries.
template <int D>
void Tree<D>::make_index() {
  if (is_keyed_) index_ = new_node(kIndexLevel);
  if (!has_records_) return;
  pages_ = new_node(kPageLevel);
  pair_ = new_node(kPairLevel);
  note_pair();
}

template <int D>
void Tree<D>::drop_index() {
  if (is_keyed_) drop_below(batch_index());
}

/// The batch is empty: what lies beside the tree is as it was published.
template <int D>
void Tree<D>::take_published_index(NodeRef index) {
  published_index_ = index;
  index_ = index;
  if (!has_records_) return;
  pair_ = index;
  index_ = index ? node(index).child(0) : NodeRef();
  pages_ = index ? node(index).child(1) : NodeRef();
}

/// Nodes that an operation may need for the index, at worst.
template <int D>
NodeCounts Tree<D>::index_nodes() const {
  if (!is_keyed_) return {};
  return {2 * (node(index_).level() - kIndexLevel + 1) + kMostIndexParts + (has_records_ ? 1 : 0),
          0};
}

template <int D>
Status Tree<D>::check_absent(std::uint64_t id) const {
  if (!find_id(id)) return {};
  return fail(ErrorCode::kConflict, "there is an entry with id " + std::to_string(id) + " already");
}

template <int D>
Version Tree<D>::version_of_writes() const {
  return forest_->version_of_writes != 0 ? forest_->version_of_writes : forest_->pending;
}

/// Adds an entry, or puts it in the place of that of the same id.
template <int D>
void Tree<D>::put_in_index(std::uint64_t id, const Box<D>& box) {
  if (!is_keyed_) return;
  put_below_root(index_, KeyedEntry<D>{id, box, version_of_writes()});
  note_pair();
}

/// Puts an entry, or a record, into the B+-tree of that root, which may get another one.
template <int D>
template <typename Item>
void Tree<D>::put_below_root(NodeRef& root, const Item& item) {
  root = own(root);
  bool is_new = false;
  const IndexSiblings made = put_below(root, item, true, is_new);
  if (made.count == 0) return;
  const NodeRef old = root;
  root = new_node(node(old).level() + 1);
  Node<D>& above = own_node(root);
  add_index_child(above, {0, old.word()}, node(old).header.entries);
  for (std::uint32_t i = 0; i < made.count; ++i) {
    const IndexChild& child = made.children[i];
    add_index_child(above, child, node(NodeRef::from_word(child.word)).header.entries);
  }
}

/// The same below a node of the batch; the nodes that it was split into besides. `is_last`: the
/// node is the last one of its level.
template <int D>
template <typename Item>
auto Tree<D>::put_below(NodeRef ref, const Item& item, bool is_last, bool& is_new)
    -> IndexSiblings {
  Node<D>& here = own_node(ref);
  if (here.is_bottom()) return put_in_leaf(here, item, is_last, is_new);
  const std::uint32_t at = index_child(here, item.id);
  const NodeRef child = own(here.child(at));
  here.inner.children[at] = child.word();
  here.inner.least[at] = std::min(here.inner.least[at], item.id);  // lowers the first alone
  is_last = is_last && at + 1 == here.count();
  const IndexSiblings made = put_below(child, item, is_last, is_new);
  here.header.entries += is_new ? 1 : 0;
  return made.count == 0 ? made : add_index_children(here, at + 1, made, is_last);
}

template <int D>
auto Tree<D>::put_in_leaf(Node<D>& leaf, const KeyedEntry<D>& entry, bool is_last, bool& is_new)
    -> IndexSiblings {
  const IndexLeaf<D> view(leaf);
  const std::uint32_t at = view.lower_bound(entry.id);
  is_new = at == leaf.count() || view.id(at) != entry.id;
  if (put_in_index_leaf(leaf, entry)) return {};
  std::array<KeyedEntry<D>, kIndexLeafFanout + 1> all;
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < at; ++i) all[count++] = view.entry(i);
  all[count++] = entry;
  for (std::uint32_t i = is_new ? at : at + 1; i < leaf.count(); ++i) all[count++] = view.entry(i);
  const std::span<const KeyedEntry<D>> entries(all.data(), count);
  if (pack_index_leaf(leaf, entries)) return {};
  forest_->add(forest_->counters.split, 1);
  IndexSiblings made;
  const bool is_behind = is_last && is_new && at + 1 == count;
  const std::uint32_t kept = is_behind ? count - 1 : count / 2;
  pack_parts(&leaf, entries.first(kept), made);
  pack_parts(nullptr, entries.subspan(kept), made);
  return made;
}

/// Packs entries into a leaf, or into new ones, halves of halves if need be.
template <int D>
void Tree<D>::pack_parts(Node<D>* leaf, std::span<const KeyedEntry<D>> entries,
                         IndexSiblings& made) {
  IndexRowSizes<D> sizes;
  for (const KeyedEntry<D>& entry : entries) sizes.add(entry);
  if (!sizes.fits()) {
    const std::size_t half = entries.size() / 2;
    pack_parts(leaf, entries.first(half), made);
    pack_parts(nullptr, entries.subspan(half), made);
    return;
  }
  if (leaf == nullptr) {
    const NodeRef ref = new_node(kIndexLevel);
    leaf = &own_node(ref);
    made.children[made.count++] = {entries.front().id, ref.word()};
  }
  pack_index_leaf(*leaf, entries);
}

/// Adds children to an inner node, from place `at` on; what it was split into besides.
template <int D>
auto Tree<D>::add_index_children(Node<D>& inner, std::uint32_t at, const IndexSiblings& added,
                                 bool is_last) -> IndexSiblings {
  std::array<IndexChild, kInnerFanout<D> + kMostIndexParts> all;
  std::uint32_t count = 0;
  const auto take = [&](std::uint32_t first, std::uint32_t last) {
    for (std::uint32_t i = first; i < last; ++i) {
      all[count++] = {inner.inner.least[i], inner.inner.children[i]};
    }
  };
  take(0, at);
  for (std::uint32_t i = 0; i < added.count; ++i) all[count++] = added.children[i];
  take(at, inner.count());
  const auto fill = [&](Node<D>& to, std::uint32_t first, std::uint32_t last) {
    to.header.count = 0;
    to.header.entries = 0;
    for (std::uint32_t i = first; i < last; ++i) {
      add_index_child(to, all[i], node(NodeRef::from_word(all[i].word)).header.entries);
    }
  };
  if (count <= kInnerFanout<D>) {
    fill(inner, 0, count);
    return {};
  }
  forest_->add(forest_->counters.split, 1);
  const std::uint32_t kept = is_last ? kInnerFanout<D> : count / 2;
  const NodeRef right = new_node(inner.level());
  fill(inner, 0, kept);
  fill(own_node(right), kept, count);
  IndexSiblings made;
  made.children[made.count++] = {all[kept].least, right.word()};
  return made;
}

// --- taking out

template <int D>
void Tree<D>::erase_from_index(std::uint64_t id) {
  if (!is_keyed_) return;
  erase_below_root(index_, kIndexLevel, id);
  note_pair();
}

/// Takes what has that id, which is there, out of the B+-tree of that root, whose bottom level that
/// is.
template <int D>
void Tree<D>::erase_below_root(NodeRef& root, std::uint32_t bottom, std::uint64_t id) {
  root = own(root);
  erase_below(root, id);
  if (!node(root).is_bottom() && node(root).header.entries == 0) {
    drop(std::exchange(root, NodeRef()));
    root = new_node(bottom);
  }
  while (!node(root).is_bottom() && node(root).count() == 1) {
    const NodeRef old = std::exchange(root, node(root).child(0));
    drop(old);
  }
}

/// Below a node of the batch, which may have no entries left after it.
template <int D>
void Tree<D>::erase_below(NodeRef ref, std::uint64_t id) {
  Node<D>& here = own_node(ref);
  if (here.level() == kPageLevel) return erase_from_page(here, id);
  if (here.is_bottom()) {
    const std::uint32_t at = IndexLeaf<D>(here).lower_bound(id);
    SILURUS_CHECK(at < here.count() && IndexLeaf<D>(here).id(at) == id);
    erase_from_index_leaf(here, at);
    return;
  }
  const std::uint32_t at = index_child(here, id);
  const NodeRef child = own(here.child(at));
  here.inner.children[at] = child.word();
  erase_below(child, id);
  --here.header.entries;
  if (node(child).header.entries == 0) {
    drop(child);
    remove_index_child(here, at);
  } else if (is_nearly_empty(node(child)) && here.count() > 1) {
    join_index_children(here, at + 1 < here.count() ? at : at - 1);
  }
}

/// Makes one of two neighbours, if that leaves room in it.
template <int D>
void Tree<D>::join_index_children(Node<D>& parent, std::uint32_t at) {
  const NodeRef right = parent.child(at + 1);
  const Node<D>& from = node(right);
  if (from.level() == kPageLevel) {
    if (!join_pages(parent, at)) return;
  } else if (from.is_bottom()) {
    if (!join_index_leaves(parent, at)) return;
  } else {
    const std::uint32_t count = node(parent.child(at)).count() + from.count();
    if (count > three_quarters(kInnerFanout<D>)) return;
    const NodeRef left = own(parent.child(at));
    parent.inner.children[at] = left.word();
    for (std::uint32_t i = 0; i < from.count(); ++i) {
      const NodeRef moved = from.child(i);
      add_index_child(own_node(left), {from.inner.least[i], moved.word()},
                      node(moved).header.entries);
    }
  }
  drop(right);
  remove_index_child(parent, at + 1);
  forest_->add(forest_->counters.joined, 1);
}

/// Gives the left one of two neighbours what the right one has, if that leaves room in it.
template <int D>
bool Tree<D>::join_index_leaves(Node<D>& parent, std::uint32_t at) {
  const Node<D>* const both[] = {&node(parent.child(at)), &node(parent.child(at + 1))};
  if (both[0]->count() + both[1]->count() > three_quarters(kIndexLeafFanout)) return false;
  std::array<KeyedEntry<D>, kIndexLeafFanout> all;
  IndexRowSizes<D> sizes;
  std::uint32_t taken = 0;
  for (const Node<D>* leaf : both) {
    const IndexLeaf<D> view(*leaf);
    for (std::uint32_t i = 0; i < leaf->count(); ++i) sizes.add(all[taken++] = view.entry(i));
  }
  if (sizes.bytes() > three_quarters(kIndexRowBytes<D>)) return false;
  const NodeRef left = own(parent.child(at));
  parent.inner.children[at] = left.word();
  pack_index_leaf(own_node(left), std::span<const KeyedEntry<D>>(all.data(), taken));
  return true;
}

// --- bulk loading

/// Makes the index of a tree that is empty. `entries`: in the order of their ids. kOutOfMemory.
template <int D>
Status Tree<D>::build_index(std::span<const Entry<D>> entries) {
  const Version version = version_of_writes();
  const std::vector<std::uint32_t> counts = part_among_leaves<D>(entries, version);
  std::uint64_t nodes = 0;
  std::uint32_t height = 1;
  for (std::uint64_t level = counts.size();;
       level = (level + kInnerFanout<D> - 1) / kInnerFanout<D>) {
    nodes += level;
    if (level == 1) break;
    ++height;
  }
  if (height > kMaxLevel) return fail(ErrorCode::kTooLarge, "the index of ids would be too high");
  if (Status room = reserve({nodes + (has_records_ ? 1 : 0), 0}, reserved()); !room) return room;
  std::vector<IndexChild> level;
  std::vector<KeyedEntry<D>> some;
  for (const std::uint32_t count : counts) {
    const NodeRef ref = new_node(kIndexLevel);
    level.push_back({entries.front().id, ref.word()});
    some.clear();
    for (const Entry<D>& entry : entries.first(count)) {
      some.push_back({entry.id, entry.box, version});
    }
    pack_index_leaf(own_node(ref), std::span<const KeyedEntry<D>>(some));
    entries = entries.subspan(count);
  }
  for (std::uint32_t of = kIndexLevel + 1; level.size() > 1; ++of) {
    std::vector<IndexChild> above;
    const std::size_t parents = (level.size() + kInnerFanout<D> - 1) / kInnerFanout<D>;
    for (std::size_t i = 0; i < parents; ++i) {
      const NodeRef ref = new_node(of);
      const std::size_t first = level.size() * i / parents;
      const std::size_t last = level.size() * (i + 1) / parents;
      for (std::size_t c = first; c < last; ++c) {
        add_index_child(own_node(ref), level[c],
                        node(NodeRef::from_word(level[c].word)).header.entries);
      }
      above.push_back({level[first].least, ref.word()});
    }
    level = std::move(above);
  }
  index_ = NodeRef::from_word(level.front().word);
  return {};
}

#define SILURUS_KEYED(D)                                                           \
  template std::optional<KeyedEntry<D>> Tree<D>::find_id(std::uint64_t) const;     \
  template std::optional<KeyedEntry<D>> Snapshot<D>::find_id(std::uint64_t) const; \
  template NodeCounts Tree<D>::nodes_beside(TreeKind);                             \
  template void Tree<D>::make_index();                                             \
  template void Tree<D>::drop_index();                                             \
  template void Tree<D>::take_published_index(NodeRef);                            \
  template NodeRef Snapshot<D>::id_root() const;                                   \
  template void Tree<D>::put_below_root(NodeRef&, const PageItem&);                \
  template void Tree<D>::erase_below_root(NodeRef&, std::uint32_t, std::uint64_t); \
  template NodeCounts Tree<D>::index_nodes() const;                                \
  template Status Tree<D>::check_absent(std::uint64_t) const;                      \
  template void Tree<D>::put_in_index(std::uint64_t, const Box<D>&);               \
  template void Tree<D>::erase_from_index(std::uint64_t);                          \
  template Status Tree<D>::build_index(std::span<const Entry<D>>)
SILURUS_KEYED(2);
SILURUS_KEYED(3);
#undef SILURUS_KEYED

}  // namespace silurus::rtree
