// SPDX-License-Identifier: Apache-2.0

#include "rtree/records.h"

#include <cstring>

namespace silurus::rtree {

template <int D>
std::uint64_t nodes_of_pieces(std::size_t record_bytes) {
  if (record_bytes <= kMostInPage<D>) return 0;
  std::uint64_t level = (record_bytes + kPieceBytes<D> - 1) / kPieceBytes<D>;
  std::uint64_t sum = level;
  while (level > 1) {
    level = (level + kInnerFanout<D> - 1) / kInnerFanout<D>;
    sum += level;
  }
  return sum;
}

// --- looking

template <int D>
RecordSlot RecordPage<D>::slot(std::uint32_t index) const {
  RecordSlot slot;
  std::memcpy(&slot, page_.room.bytes + index * sizeof slot, sizeof slot);
  return slot;
}

template <int D>
PageItem RecordPage<D>::item(std::uint32_t index) const {
  const RecordSlot at = slot(index);
  return {at.id, at.bytes, {page_.room.bytes + at.begin, held_bytes<D>(at.bytes)}};
}

template <int D>
std::optional<WantedNode> RecordPage<D>::pieces(std::uint32_t index) const {
  const PageItem held = item(index);
  if (held.bytes <= kMostInPage<D>) return std::nullopt;
  std::uint64_t word = 0;
  std::memcpy(&word, held.held.data(), sizeof word);
  return WantedNode{NodeRef::from_word(word), level_of_pieces<D>(held.bytes)};
}

template <int D>
std::uint32_t RecordPage<D>::lower_bound(std::uint64_t id) const {
  std::uint32_t first = 0;
  std::uint32_t last = count();
  while (first < last) {
    const std::uint32_t middle = first + (last - first) / 2;
    if (this->id(middle) < id) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

template <int D>
std::size_t RecordPage<D>::bytes() const {
  if (count() == 0) return 0;
  const RecordSlot last = slot(count() - 1);
  return last.begin + held_bytes<D>(last.bytes);
}

// --- packing

namespace {

template <int D>
std::size_t bytes_of(const PageItem& item) {
  return sizeof(RecordSlot) + held_bytes<D>(item.bytes);
}

}  // namespace

template <int D>
bool pack_page(Node<D>& page, std::span<const PageItem> items) {
  std::size_t bytes = 0;
  for (const PageItem& item : items) bytes += bytes_of<D>(item);
  if (bytes > kPageBytes<D>) return false;
  BytesBody<D> made{};  // what is not used is zeros
  std::size_t begin = items.size() * sizeof(RecordSlot);
  std::byte* to = made.bytes;
  for (const PageItem& item : items) {
    const RecordSlot slot{item.id, item.bytes, static_cast<std::uint32_t>(begin)};
    std::memcpy(to, &slot, sizeof slot);
    std::memcpy(made.bytes + begin, item.held.data(), item.held.size());
    to += sizeof slot;
    begin += item.held.size();
  }
  page.room = made;
  page.header.count = static_cast<std::uint32_t>(items.size());
  page.header.entries = items.size();
  return true;
}

template <int D>
std::size_t split_place(std::span<const PageItem> items) {
  std::size_t all = 0;
  for (const PageItem& item : items) all += bytes_of<D>(item);
  std::size_t before = 0;
  std::size_t count = 0;
  while (before < all - before) before += bytes_of<D>(items[count++]);
  // An item takes half a page at most, and all of them one and a half: so both parts fit.
  return before <= kPageBytes<D> ? count : count - 1;
}

// --- checking

namespace {

bool is_child(NodeRef ref, std::uint64_t chunk_count) { return ref && ref.chunk() < chunk_count; }

template <int D>
bool is_sound_page(const Node<D>& page, std::uint64_t chunk_count) {
  const std::uint32_t count = page.count();
  if (count > kPageBytes<D> / sizeof(RecordSlot) || page.header.entries != count) return false;
  const RecordPage<D> view(page);
  std::size_t begin = count * sizeof(RecordSlot);
  for (std::uint32_t i = 0; i < count; ++i) {
    const RecordSlot slot = view.slot(i);
    if (slot.bytes == 0 || slot.bytes > kMostRecordBytes || slot.begin != begin) return false;
    begin += held_bytes<D>(slot.bytes);
    if (begin > kPageBytes<D>) return false;
    if (i > 0 && view.id(i - 1) >= slot.id) return false;
    const auto pieces = view.pieces(i);
    if (pieces && !is_child(pieces->ref, chunk_count)) return false;
  }
  return true;
}

template <int D>
bool is_sound_pair(const Node<D>& pair, std::uint64_t chunk_count) {
  if (pair.count() != 2 || pair.inner.least[0] > kMaxIndexLevel ||
      !is_index_level(static_cast<std::uint32_t>(pair.inner.least[0]))) {
    return false;
  }
  return pair.inner.least[1] >= kPageLevel && pair.inner.least[1] <= kMaxPageLevel &&
         is_child(pair.child(0), chunk_count) && is_child(pair.child(1), chunk_count);
}

/// An inner node of pieces counts the bytes below it, and is full, or the last one of its level.
template <int D>
bool is_sound_split(const Node<D>& inner) {
  std::uint64_t whole = kPieceBytes<D>;
  for (std::uint32_t level = kPieceLevel + 1; level < inner.level(); ++level) {
    whole *= kInnerFanout<D>;
  }
  const std::uint64_t bytes = inner.header.entries;
  if ((bytes + whole - 1) / whole != inner.count()) return false;
  for (std::uint32_t i = 0; i < inner.count(); ++i) {
    if (inner.inner.least[i] != i * whole) return false;
  }
  return true;
}

}  // namespace

template <int D>
bool is_sound_record_node(const Node<D>& node, std::uint64_t chunk_count) {
  switch (node.level()) {
    case kPageLevel:
      return is_sound_page(node, chunk_count);
    case kPieceLevel:
      return node.count() != 0 && node.count() <= kPieceBytes<D> &&
             node.header.entries == node.count();
    case kPairLevel:
      return is_sound_pair(node, chunk_count);
    default:
      return is_sound_index_node(node, chunk_count) &&
             (node.level() < kPieceLevel || is_sound_split(node));
  }
}

#define SILURUS_RECORDS(D)                                        \
  template std::uint64_t nodes_of_pieces<D>(std::size_t);         \
  template class RecordPage<D>;                                   \
  template bool pack_page(Node<D>&, std::span<const PageItem>);   \
  template std::size_t split_place<D>(std::span<const PageItem>); \
  template bool is_sound_record_node(const Node<D>&, std::uint64_t)
SILURUS_RECORDS(2);
SILURUS_RECORDS(3);
#undef SILURUS_RECORDS

}  // namespace silurus::rtree
