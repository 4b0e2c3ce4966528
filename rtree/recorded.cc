// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "rtree/id_index.h"
#include "rtree/records.h"
#include "rtree/tree.h"

// The records of a tree's entries: a B+-tree of pages beside the id index, by the same code
// (keyed.cc), in the same batch (docs/decisions/0157). A pair names both roots, so that the
// one name that is published leads to both.

namespace silurus::rtree {
namespace {

/// What a join of two pages fills at most, as that of two leaves of an id index.
template <int D>
constexpr std::size_t kFullEnough = kPageBytes<D> * 3 / 4;

/// A page's items, in a copy of it: so the page itself can be packed anew.
template <int D>
class TakenItems {
 public:
  explicit TakenItems(const Node<D>& page) {
    copy_node(copy_, page);
    const RecordPage<D> view(copy_);
    items_.reserve(view.count() + 1);
    for (std::uint32_t i = 0; i < view.count(); ++i) items_.push_back(view.item(i));
  }
  std::vector<PageItem>& items() { return items_; }

 private:
  Node<D> copy_;
  std::vector<PageItem> items_;
};

template <int D>
void append_pieces(const Arena<D>& arena, NodeRef ref, std::vector<std::byte>& to) {
  const Node<D>& here = arena.node(ref.chunk());
  if (here.is_bottom()) {
    to.insert(to.end(), here.room.bytes, here.room.bytes + here.count());
    return;
  }
  for (std::uint32_t i = 0; i < here.count(); ++i) append_pieces(arena, here.child(i), to);
}

/// The page in which the record of an id is, if there is one.
template <int D>
const Node<D>& page_of(const Arena<D>& arena, NodeRef root, std::uint64_t id) {
  const Node<D>* node = &arena.node(root.chunk());
  while (!node->is_bottom()) node = &arena.node(node->child(index_child(*node, id)).chunk());
  return *node;
}

/// The record's place in a page.
template <int D>
std::optional<std::uint32_t> place_in(const RecordPage<D>& page, std::uint64_t id) {
  const std::uint32_t at = page.lower_bound(id);
  return at < page.count() && page.id(at) == id ? std::optional(at) : std::nullopt;
}

}  // namespace

// --- reading

template <int D>
NodeRef Snapshot<D>::page_root() const {
  const bool has_records = index_ && node(index_).level() == kPairLevel;
  return has_records ? node(index_).child(1) : NodeRef();
}

template <int D>
bool Snapshot<D>::find_record(std::uint64_t id, std::vector<std::byte>& record) const {
  const NodeRef root = page_root();
  if (!root) return false;
  const RecordPage<D> page(page_of(forest_->arena, root, id));
  const auto at = place_in(page, id);
  if (!at) return false;
  if (const auto pieces = page.pieces(*at)) {
    append_pieces(forest_->arena, pieces->ref, record);
  } else {
    const auto held = page.item(*at).held;
    record.insert(record.end(), held.begin(), held.end());
  }
  return true;
}

template <int D>
std::size_t Snapshot<D>::record_bytes(std::uint64_t id) const {
  const NodeRef root = page_root();
  if (!root) return 0;
  const RecordPage<D> page(page_of(forest_->arena, root, id));
  const auto at = place_in(page, id);
  return at ? page.slot(*at).bytes : 0;
}

// --- writing

template <int D>
Status Tree<D>::check_record(RecordBytes record) const {
  if (record.size() > kMostRecordBytes) {
    return fail(ErrorCode::kTooLarge, "a record of " + std::to_string(record.size()) +
                                          " bytes is too long: at most " +
                                          std::to_string(kMostRecordBytes));
  }
  if (record.empty() || has_records_) return {};
  return fail(ErrorCode::kUnsupported, "the collection has no records");
}

/// Nodes that an operation may need to give an entry a record of that length, or to take the one
/// away that it has.
template <int D>
NodeCounts Tree<D>::record_nodes(std::size_t record_bytes) const {
  if (!has_records_) return {};
  const std::uint64_t height = node(pages_).level() - kPageLevel + 1;
  return {2 * height + 1 + nodes_of_pieces<D>(record_bytes), 0};
}

/// The roots beside the tree have changed: so has the pair that names them.
template <int D>
void Tree<D>::note_pair() {
  if (!has_records_) return;
  pair_ = own(pair_);
  Node<D>& pair = own_node(pair_);
  pair.header.count = 0;
  pair.header.entries = 0;
  add_index_child(pair, {node(index_).level(), index_.word()}, node(index_).header.entries);
  add_index_child(pair, {node(pages_).level(), pages_.word()}, 0);
}

template <int D>
void Tree<D>::put_record(std::uint64_t id, RecordBytes record) {
  PageItem item{id, static_cast<std::uint32_t>(record.size()), record};
  std::uint64_t word = 0;
  if (record.size() > kMostInPage<D>) {
    word = build_pieces(record).word();
    item.held = std::as_bytes(std::span(&word, 1));
  }
  put_below_root(pages_, item);
  note_pair();
}

/// The pieces of a long record, each full but for the last one, and what leads to them.
template <int D>
NodeRef Tree<D>::build_pieces(RecordBytes record) {
  std::vector<NodeRef> level;
  for (std::size_t at = 0; at < record.size(); at += kPieceBytes<D>) {
    const std::size_t bytes = std::min(kPieceBytes<D>, record.size() - at);
    level.push_back(new_node(kPieceLevel));
    Node<D>& piece = own_node(level.back());
    std::memcpy(piece.room.bytes, record.data() + at, bytes);
    piece.header.count = static_cast<std::uint32_t>(bytes);
    piece.header.entries = bytes;
  }
  for (std::uint32_t of = kPieceLevel + 1; level.size() > 1; ++of) {
    std::vector<NodeRef> above;
    for (std::size_t i = 0; i < level.size(); ++i) {
      if (i % kInnerFanout<D> == 0) above.push_back(new_node(of));
      Node<D>& parent = own_node(above.back());
      add_index_child(parent, {parent.header.entries, level[i].word()},
                      node(level[i]).header.entries);
    }
    level = std::move(above);
  }
  return level.front();
}

template <int D>
auto Tree<D>::put_in_leaf(Node<D>& page, const PageItem& item, bool is_last, bool& is_new)
    -> IndexSiblings {
  TakenItems<D> taken(page);
  std::vector<PageItem>& items = taken.items();
  const RecordPage<D> view(page);
  const std::uint32_t at = view.lower_bound(item.id);
  is_new = at == items.size() || items[at].id != item.id;
  if (is_new) {
    items.insert(items.begin() + at, item);
  } else {
    if (const auto pieces = view.pieces(at)) drop_below(pieces->ref);
    items[at] = item;
  }
  if (pack_page<D>(page, items)) return {};
  forest_->add(forest_->counters.split, 1);
  const bool is_behind = is_last && is_new && at + 1 == items.size();
  const std::size_t kept = is_behind ? items.size() - 1 : split_place<D>(items);
  const std::span<const PageItem> all(items);
  const NodeRef right = new_node(kPageLevel);
  SILURUS_CHECK(pack_page<D>(page, all.first(kept)) &&
                pack_page<D>(own_node(right), all.subspan(kept)));
  IndexSiblings made;
  made.children[made.count++] = {items[kept].id, right.word()};
  return made;
}

/// Takes away the record of an entry, if it has one.
template <int D>
void Tree<D>::erase_record(std::uint64_t id) {
  if (!has_records_) return;
  if (!place_in(RecordPage<D>(page_of(forest_->arena, pages_, id)), id)) return;
  erase_below_root(pages_, kPageLevel, id);
  note_pair();
}

template <int D>
void Tree<D>::erase_from_page(Node<D>& page, std::uint64_t id) {
  TakenItems<D> taken(page);
  const RecordPage<D> view(page);
  const auto at = place_in(view, id);
  SILURUS_CHECK(at.has_value());
  if (const auto pieces = view.pieces(*at)) drop_below(pieces->ref);
  taken.items().erase(taken.items().begin() + *at);
  pack_page<D>(page, taken.items());
}

/// Gives the left one of two neighbours what the right one has, if that leaves room in it.
template <int D>
bool Tree<D>::join_pages(Node<D>& parent, std::uint32_t at) {
  TakenItems<D> left(node(parent.child(at)));
  TakenItems<D> right(node(parent.child(at + 1)));
  const std::size_t bytes = RecordPage<D>(node(parent.child(at))).bytes() +
                            RecordPage<D>(node(parent.child(at + 1))).bytes();
  if (bytes > kFullEnough<D>) return false;
  std::vector<PageItem>& items = left.items();
  items.insert(items.end(), right.items().begin(), right.items().end());
  const NodeRef made = own(parent.child(at));
  parent.inner.children[at] = made.word();
  return pack_page<D>(own_node(made), items);
}

// --- checking

/// Checks that records are of entries that are there, and that the pieces of long ones are whole.
template <int D>
Status Snapshot<D>::validate_records() const {
  const auto broken = [](NodeRef ref, const std::string& how) {
    return fail(ErrorCode::kProtocol, "node " + std::to_string(ref.chunk()) + " " + how);
  };
  std::vector<WantedNode> stack{{page_root(), node(page_root()).level()}};
  std::uint64_t records = 0;
  std::uint64_t last = 0;
  while (!stack.empty()) {
    const WantedNode wanted = stack.back();
    stack.pop_back();
    const Node<D>& here = node(wanted.ref);
    const std::span bytes(reinterpret_cast<const std::byte*>(&here), node_bytes<D>(here.level()));
    if (here.birth() > version() || check_node<D>(bytes, wanted, forest_->arena.max_chunks(),
                                                  forest_->options.checksums) == nullptr) {
      return broken(wanted.ref, "is no sound node of records");
    }
    std::vector<WantedNode> children;
    for_each_child(here, [&](WantedNode child) { children.push_back(child); });
    if (!here.is_bottom()) {
      std::uint64_t below = 0;
      for (const WantedNode& child : children) below += node(child.ref).header.entries;
      if (below != here.header.entries)
        return broken(wanted.ref, "counts what is below it wrongly");
    }
    if (here.level() == kPageLevel) {
      const RecordPage<D> page(here);
      std::size_t child = 0;
      for (std::uint32_t i = 0; i < page.count(); ++i) {
        const RecordSlot slot = page.slot(i);
        if (records++ != 0 && slot.id <= last) return broken(wanted.ref, "is not in order");
        last = slot.id;
        if (!find_id(slot.id)) return broken(wanted.ref, "has a record without an entry");
        if (record_bytes(slot.id) != slot.bytes) return broken(wanted.ref, "is not found");
        if (page.pieces(i) && node(children[child++].ref).header.entries != slot.bytes) {
          return broken(wanted.ref, "has a record of another length");
        }
      }
    }
    stack.insert(stack.end(), children.rbegin(), children.rend());
  }
  return {};
}

#define SILURUS_RECORDED(D)                                                                  \
  template NodeRef Snapshot<D>::page_root() const;                                           \
  template bool Snapshot<D>::find_record(std::uint64_t, std::vector<std::byte>&) const;      \
  template std::size_t Snapshot<D>::record_bytes(std::uint64_t) const;                       \
  template Status Snapshot<D>::validate_records() const;                                     \
  template Status Tree<D>::check_record(RecordBytes) const;                                  \
  template NodeCounts Tree<D>::record_nodes(std::size_t) const;                              \
  template void Tree<D>::note_pair();                                                        \
  template void Tree<D>::put_record(std::uint64_t, RecordBytes);                             \
  template auto Tree<D>::put_in_leaf(Node<D>&, const PageItem&, bool, bool&)->IndexSiblings; \
  template void Tree<D>::erase_record(std::uint64_t);                                        \
  template void Tree<D>::erase_from_page(Node<D>&, std::uint64_t);                           \
  template bool Tree<D>::join_pages(Node<D>&, std::uint32_t)
SILURUS_RECORDED(2);
SILURUS_RECORDED(3);
#undef SILURUS_RECORDED

}  // namespace silurus::rtree
