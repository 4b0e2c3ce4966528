// SPDX-License-Identifier: Apache-2.0

#include <iterator>
#include <vector>

#include "fuzz/target.h"
#include "rtree/id_cursor.h"
#include "rtree/id_index.h"

// Nodes of an index of ids that a hostile server, or a damaged file, has: what check_node() takes
// is looked into and changed, and holds what it should.
//
// An input: Head, then the image of a node, whose name and level are put right.

namespace silurus::fuzz {
namespace {

using namespace rtree;
constexpr std::uint64_t kChunks = kChunksPerSlab;

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t height;      ///< above the leaves
  std::uint16_t at;         ///< which entry is changed
  std::uint32_t reserved;
  std::uint64_t id;  ///< that is looked for
};
static_assert(sizeof(Head) == 16);

template <int D>
std::vector<KeyedEntry<D>> entries_of(const Node<D>& leaf) {
  std::vector<KeyedEntry<D>> entries;
  const IndexLeaf<D> view(leaf);
  for (std::uint32_t i = 0; i < leaf.count(); ++i) entries.push_back(view.entry(i));
  return entries;
}

template <int D>
void try_leaf(const Head& head, Node<D>& leaf) {
  std::vector<KeyedEntry<D>> entries = entries_of(leaf);
  for (const KeyedEntry<D>& entry : entries) {
    SILURUS_CHECK(check_box(entry.box));
    SILURUS_CHECK(IndexLeaf<D>(leaf).find(entry.id) == entry);
  }
  if (!pack_index_leaf<D>(leaf, entries)) return;  // numbers that have wrapped take more room
  SILURUS_CHECK(entries_of(leaf) == entries);
  if (entries.empty()) return;
  const std::uint32_t at = head.at % leaf.count();
  const KeyedEntry<D> taken = entries[at];
  erase_from_index_leaf(leaf, at);
  entries.erase(entries.begin() + at);
  SILURUS_CHECK(entries_of(leaf) == entries);
  if (entries.empty()) return;
  SILURUS_CHECK(put_in_index_leaf(leaf, taken));
  entries.insert(entries.begin() + at, taken);
  SILURUS_CHECK(entries_of(leaf) == entries);
}

/// Looks up some ids, beginning with that node, whose children it wants as far as they have some.
template <int D>
void try_cursor(const Head& head, const Node<D>& node) {
  const std::uint64_t ids[] = {head.id, head.at, head.id, head.id + 1, UINT64_MAX};
  std::vector<KeyedEntry<D>> found;
  IdCursor<D> cursor;
  cursor.start(ids, {NodeRef(7, 9), kAnyIndexLevel}, found);
  SILURUS_CHECK(cursor.take()->ref == NodeRef(7, 9) && !cursor.take());
  cursor.feed(NodeRef(7, 9), node);
  if (node.is_bottom()) {
    SILURUS_CHECK(cursor.done());
    std::size_t at = 0;
    for (const std::uint64_t id : ids) {
      const auto entry = IndexLeaf<D>(node).find(id);
      if (entry) SILURUS_CHECK(at < found.size() && found[at++] == *entry);
    }
    SILURUS_CHECK(at == found.size());
    return;
  }
  std::vector<WantedNode> wanted;
  while (const auto child = cursor.take()) wanted.push_back(*child);
  SILURUS_CHECK(!wanted.empty() && wanted.size() <= std::size(ids));
  AlignedCopy bytes({}, node_bytes<D>(kIndexLevel));
  auto& empty = *reinterpret_cast<Node<D>*>(bytes.bytes().data());
  empty.header = {.checksum = 0, .birth = 9, .entries = 0, .level = kIndexLevel, .count = 0};
  for (const WantedNode& child : wanted) {
    SILURUS_CHECK(child.level == node.level() - 1 && !cursor.done());
    cursor.feed(child.ref, empty);
  }
  SILURUS_CHECK(cursor.done() && found.empty());
}

template <int D>
void try_dimension(const Head& head, std::span<const std::byte> image) {
  const WantedNode wanted{NodeRef(7, 9), kIndexLevel + head.height % 3};
  const AlignedCopy copy(image, node_bytes<D>(wanted.level));
  auto& node = *reinterpret_cast<Node<D>*>(copy.bytes().data());
  node.header.birth = 9;
  node.header.level = wanted.level;
  if (check_node<D>(copy.bytes(), wanted, kChunks, false) == nullptr) return;
  try_cursor(head, node);
  if (node.is_bottom()) return try_leaf(head, node);
  const std::uint32_t child = index_child(node, head.id);
  SILURUS_CHECK(child < node.count() && node.child(child).chunk() < kChunks);
  SILURUS_CHECK(child == 0 || node.inner.least[child] <= head.id);
  SILURUS_CHECK(child + 1 == node.count() || node.inner.least[child + 1] > head.id);
}

template <int D>
std::string leaf_seed() {
  const Head head{.dimensions = D, .height = 0, .at = 3, .reserved = 0, .id = 5};
  AlignedCopy bytes({}, node_bytes<D>(kIndexLevel));
  auto& leaf = *reinterpret_cast<Node<D>*>(bytes.bytes().data());
  std::vector<KeyedEntry<D>> entries;
  for (std::uint64_t i = 0; i < 20; ++i) {
    Box<D> box;
    box.max.fill(static_cast<double>(i));
    entries.push_back({i * 1000, box, 7 + i});
  }
  leaf.header = {};
  leaf.keyed = {};
  pack_index_leaf<D>(leaf, entries);
  return bytes_of(head) + as_seed(bytes.bytes());
}

template <int D>
std::string inner_seed() {
  const Head head{.dimensions = D, .height = 1, .at = 0, .reserved = 0, .id = 25};
  AlignedCopy bytes({}, node_bytes<D>(kIndexLevel + 1));
  auto& inner = *reinterpret_cast<Node<D>*>(bytes.bytes().data());
  inner.header = {.checksum = 0, .birth = 9, .entries = 99, .level = 0, .count = 5};
  for (std::uint32_t i = 0; i < 5; ++i) {
    inner.inner.least[i] = 10 * i;
    inner.inner.children[i] = NodeRef(100 + i, 9).word();
  }
  return bytes_of(head) + as_seed(bytes.bytes());
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto head = input.take<Head>();
  if (head.dimensions % 2 == 0) {
    try_dimension<2>(head, input.rest());
  } else {
    try_dimension<3>(head, input.rest());
  }
}

std::vector<std::string> seeds() {
  return {leaf_seed<2>(), leaf_seed<3>(), inner_seed<2>(), inner_seed<3>()};
}

}  // namespace silurus::fuzz
