// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rtree/id_index.h"
#include "rtree/node.h"

// Nodes of records: bytes that entries of a keyed tree carry (docs/decisions/0157). They lie in the
// same memory as the tree's nodes, and are born, retired, checked and stored as those are. A
// B+-tree leads from an id to the page that holds the record of that id; a long record lies in
// pieces instead, of which the page names the root. What is here is of one node each; Tree makes a
// tree of them (recorded.cc).

namespace silurus::rtree {

/// The longest record of an entry, in bytes.
inline constexpr std::size_t kMostRecordBytes = (std::size_t{1} << 20) + 64;

/// What a page says of one record. The slots of a page lie side by side, in the order of their ids;
/// what they hold lies behind them, in the same order.
struct RecordSlot {
  std::uint64_t id;
  std::uint32_t bytes;  ///< length of the record, at least 1
  std::uint32_t begin;  ///< where in the page its bytes lie; of a long one: its root's word()
};
static_assert(sizeof(RecordSlot) == 16);

template <int D>
inline constexpr std::size_t kPageBytes = sizeof(BytesBody<D>);
/// A record of no more bytes lies in a page: two such slots fit into one in any case.
template <int D>
inline constexpr std::size_t kMostInPage = kPageBytes<D> / 2 - sizeof(RecordSlot);
template <int D>
inline constexpr std::size_t kPieceBytes = sizeof(BytesBody<D>);

/// Bytes that a page holds of a record beside its slot.
template <int D>
constexpr std::size_t held_bytes(std::size_t record_bytes) {
  return record_bytes <= kMostInPage<D> ? record_bytes : sizeof(std::uint64_t);
}

/// The level of the root of a long record's pieces.
template <int D>
constexpr std::uint32_t level_of_pieces(std::size_t record_bytes) {
  std::uint32_t level = kPieceLevel;
  for (std::size_t bytes = kPieceBytes<D>; bytes < record_bytes; bytes *= kInnerFanout<D>) ++level;
  return level;
}
static_assert(level_of_pieces<2>(kMostRecordBytes) <= kMaxPieceLevel &&
              level_of_pieces<3>(kMostRecordBytes) <= kMaxPieceLevel);

/// Nodes of which the pieces of a record consist: none of one that lies in a page.
template <int D>
std::uint64_t nodes_of_pieces(std::size_t record_bytes);

/// A record as a page holds it.
struct PageItem {
  std::uint64_t id;
  std::uint32_t bytes;              ///< length of the record
  std::span<const std::byte> held;  ///< the record, or word() of the root of its pieces
};

/// Looks into a page, which must be sound (check_node).
template <int D>
class RecordPage {
 public:
  explicit RecordPage(const Node<D>& page) : page_(page) {}

  std::uint32_t count() const { return page_.count(); }
  RecordSlot slot(std::uint32_t index) const;
  std::uint64_t id(std::uint32_t index) const { return slot(index).id; }
  PageItem item(std::uint32_t index) const;
  /// The root of the pieces of a record; none if it lies in the page.
  std::optional<WantedNode> pieces(std::uint32_t index) const;
  /// The first record whose id is not less: count() if there is none.
  std::uint32_t lower_bound(std::uint64_t id) const;
  /// Bytes that are in use.
  std::size_t bytes() const;

 private:
  const Node<D>& page_;
};

/// Makes these, in the order of their ids, what a page holds; false, and nothing has changed, if
/// they don't fit. They may lie in this page itself.
template <int D>
bool pack_page(Node<D>& page, std::span<const PageItem> items);
/// The number of items, the first ones, that go to the first of the two pages into which one that
/// is too full is split.
template <int D>
std::size_t split_place(std::span<const PageItem> items);

/// What is sound about a node of records by itself, beside its header's name: see check_node().
template <int D>
bool is_sound_record_node(const Node<D>& node, std::uint64_t chunk_count);

/// Calls each(WantedNode) for the nodes that a sound node names.
template <int D, typename Each>
void for_each_child(const Node<D>& node, Each&& each) {
  const std::uint32_t level = node.level();
  if (is_childless(level)) return;
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    if (level == kPageLevel) {
      if (const auto pieces = RecordPage<D>(node).pieces(i)) each(*pieces);
    } else if (level == kPairLevel) {
      each(WantedNode{node.child(i), static_cast<std::uint32_t>(node.inner.least[i])});
    } else {
      each(WantedNode{node.child(i), level - 1});
    }
  }
}

}  // namespace silurus::rtree
