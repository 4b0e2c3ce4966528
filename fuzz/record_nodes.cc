// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <iterator>
#include <vector>

#include "fuzz/target.h"
#include "rtree/records.h"

// Nodes of records that a hostile server, or a damaged file, has: what check_node() takes names
// nodes that may be, and a page holds what it should.
//
// An input: Head, then the image of a node, whose name and level are put right.

namespace silurus::fuzz {
namespace {

using namespace rtree;
constexpr std::uint64_t kChunks = kChunksPerSlab;
constexpr std::uint32_t kLevels[] = {kPageLevel,      kPageLevel + 1,  kPieceLevel,
                                     kPieceLevel + 1, kPieceLevel + 2, kPairLevel};

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t level;       ///< which of kLevels
  std::uint16_t at;         ///< which record is looked for, or taken out
  std::uint32_t reserved;
};
static_assert(sizeof(Head) == 8);

template <int D>
void try_page(const Head& head, const Node<D>& page) {
  const RecordPage<D> view(page);
  std::vector<PageItem> items;
  for (std::uint32_t i = 0; i < view.count(); ++i) items.push_back(view.item(i));
  SILURUS_CHECK(view.bytes() <= kPageBytes<D>);
  Node<D> again;
  again.reset(9, kPageLevel);
  SILURUS_CHECK(pack_page<D>(again, items));
  for (std::uint32_t i = 0; i < view.count(); ++i) {
    const PageItem same = RecordPage<D>(again).item(i);
    SILURUS_CHECK(same.id == items[i].id && same.bytes == items[i].bytes);
    SILURUS_CHECK(std::ranges::equal(same.held, items[i].held));
    SILURUS_CHECK(view.lower_bound(same.id) == i);
  }
  if (items.size() < 2) return;
  items.erase(items.begin() + head.at % static_cast<std::ptrdiff_t>(items.size()));
  SILURUS_CHECK(pack_page<D>(again, items));
}

template <int D>
void try_dimension(const Head& head, std::span<const std::byte> image) {
  const WantedNode wanted{NodeRef(7, 9), kLevels[head.level % std::size(kLevels)]};
  const AlignedCopy copy(image, node_bytes<D>(wanted.level));
  auto& node = *reinterpret_cast<Node<D>*>(copy.bytes().data());
  node.header.birth = 9;
  node.header.level = wanted.level;
  if (check_node<D>(copy.bytes(), wanted, kChunks, false) == nullptr) return;
  for_each_child(node, [](WantedNode child) {
    SILURUS_CHECK(child.ref && child.ref.chunk() < kChunks);
    SILURUS_CHECK(is_record_level(child.level) || is_index_level(child.level));
  });
  if (wanted.level == kPageLevel) try_page(head, node);
}

template <int D>
std::string seed_of(std::uint8_t level, const Node<D>& node) {
  const Head head{.dimensions = D, .level = level, .at = 1, .reserved = 0};
  const std::span bytes(reinterpret_cast<const std::byte*>(&node), node_bytes<D>(node.level()));
  return bytes_of(head) + as_seed(bytes);
}

template <int D>
void add_seeds(std::vector<std::string>& all) {
  const std::vector<std::byte> record(50, std::byte{3});
  const std::uint64_t word = NodeRef(60, 4).word();
  const std::vector<PageItem> items{
      {1, 50, record}, {2, 5000, std::as_bytes(std::span(&word, 1))}, {7, 50, record}};
  Node<D> node;
  node.reset(9, kPageLevel);
  pack_page<D>(node, items);
  all.push_back(seed_of<D>(0, node));
  node.reset(9, kPieceLevel + 1);
  add_index_child(node, {0, NodeRef(60, 4).word()}, kPieceBytes<D>);
  add_index_child(node, {kPieceBytes<D>, NodeRef(61, 4).word()}, 5);
  all.push_back(seed_of<D>(3, node));
  node.reset(9, kPairLevel);
  add_index_child(node, {kIndexLevel + 1, NodeRef(60, 4).word()}, 100);
  add_index_child(node, {kPageLevel, NodeRef(61, 4).word()}, 0);
  all.push_back(seed_of<D>(5, node));
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
  std::vector<std::string> all;
  add_seeds<2>(all);
  add_seeds<3>(all);
  return all;
}

}  // namespace silurus::fuzz
