// SPDX-License-Identifier: Apache-2.0

#include "rtree/id_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "rtree/geometry.h"

namespace silurus::rtree {
namespace {

constexpr std::uint64_t kSign = std::uint64_t{1} << 63;

/// An entry as its numbers, which order as what they stand for. Differences wrap.
template <int D>
void to_numbers(const KeyedEntry<D>& entry, std::uint64_t (&numbers)[kIndexRows<D>]) {
  numbers[0] = entry.id;
  numbers[1] = entry.version;
  for (int d = 0; d < D; ++d) {
    const auto min = static_cast<std::uint64_t>(order_key(entry.box.min[d]));
    numbers[2 + d] = min ^ kSign;
    numbers[2 + D + d] = static_cast<std::uint64_t>(order_key(entry.box.max[d])) - min;
  }
}

template <int D>
KeyedEntry<D> from_numbers(const std::uint64_t (&numbers)[kIndexRows<D>]) {
  KeyedEntry<D> entry{.id = numbers[0], .box = {}, .version = numbers[1]};
  for (int d = 0; d < D; ++d) {
    const std::uint64_t min = numbers[2 + d] ^ kSign;
    entry.box.min[d] = from_order_key(static_cast<std::int64_t>(min));
    entry.box.max[d] = from_order_key(static_cast<std::int64_t>(min + numbers[2 + D + d]));
  }
  return entry;
}

constexpr std::uint8_t width_of(std::uint64_t number) {
  return static_cast<std::uint8_t>((std::bit_width(number) + 7) / 8);
}

/// The greatest number of that many bytes: a mask of their bits.
constexpr std::uint64_t greatest_of_width(std::uint8_t width) {
  return width == 0 ? 0 : ~std::uint64_t{0} >> (64 - 8 * width);
}

template <int D>
std::size_t entry_bytes(const IndexLeafBody<D>& body) {
  std::size_t sum = 0;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) sum += body.widths[row];
  return sum;
}

}  // namespace

// --- looking

template <int D>
IndexLeaf<D>::IndexLeaf(const Node<D>& leaf) : leaf_(leaf) {
  std::size_t begin = 0;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    begins_[row] = begin;
    begin += std::size_t{leaf.keyed.widths[row]} * leaf.count();
  }
}

template <int D>
std::uint64_t IndexLeaf<D>::number(std::size_t row, std::uint32_t index) const {
  const std::uint8_t width = leaf_.keyed.widths[row];
  if (width == 0) return leaf_.keyed.least[row];
  std::uint64_t word = 0;
  std::memcpy(&word, leaf_.keyed.rows + begins_[row] + std::size_t{width} * index, sizeof word);
  return leaf_.keyed.least[row] + (word & greatest_of_width(width));
}

template <int D>
KeyedEntry<D> IndexLeaf<D>::entry(std::uint32_t index) const {
  std::uint64_t numbers[kIndexRows<D>];
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) numbers[row] = number(row, index);
  return from_numbers<D>(numbers);
}

template <int D>
std::uint32_t IndexLeaf<D>::lower_bound(std::uint64_t id) const {
  std::uint32_t first = 0;
  std::uint32_t last = leaf_.count();
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
std::optional<KeyedEntry<D>> IndexLeaf<D>::find(std::uint64_t id) const {
  const std::uint32_t at = lower_bound(id);
  if (at == leaf_.count() || this->id(at) != id) return std::nullopt;
  return entry(at);
}

template <int D>
std::uint32_t index_child(const Node<D>& inner, std::uint64_t id) {
  const std::uint64_t* least = inner.inner.least;
  const auto* above = std::upper_bound(least + 1, least + inner.count(), id);
  return static_cast<std::uint32_t>(above - least) - 1;
}

// --- packing

template <int D>
void IndexRowSizes<D>::add(const KeyedEntry<D>& entry) {
  std::uint64_t numbers[kIndexRows<D>];
  to_numbers<D>(entry, numbers);
  const bool is_first = count_++ == 0;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    least_[row] = is_first ? numbers[row] : std::min(least_[row], numbers[row]);
    greatest_[row] = is_first ? numbers[row] : std::max(greatest_[row], numbers[row]);
  }
}

template <int D>
std::uint8_t IndexRowSizes<D>::width(std::size_t row) const {
  return width_of(greatest_[row] - least_[row]);
}

template <int D>
std::size_t IndexRowSizes<D>::bytes() const {
  std::size_t sum = 0;
  for (std::size_t row = 0; count_ != 0 && row < kIndexRows<D>; ++row) sum += width(row);
  return sum * count_;
}

template <int D>
bool pack_index_leaf(Node<D>& leaf, std::span<const KeyedEntry<D>> entries) {
  IndexRowSizes<D> sizes;
  for (const KeyedEntry<D>& entry : entries) sizes.add(entry);
  if (!sizes.fits()) return false;
  IndexLeafBody<D>& body = leaf.keyed;
  std::byte* to[kIndexRows<D>];
  std::size_t begin = 0;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    body.least[row] = entries.empty() ? 0 : sizes.least(row);
    body.widths[row] = entries.empty() ? 0 : sizes.width(row);
    to[row] = body.rows + begin;
    begin += body.widths[row] * entries.size();
  }
  for (const KeyedEntry<D>& entry : entries) {
    std::uint64_t numbers[kIndexRows<D>];
    to_numbers<D>(entry, numbers);
    for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
      const std::uint64_t more = numbers[row] - body.least[row];
      std::memcpy(to[row], &more, body.widths[row]);
      to[row] += body.widths[row];
    }
  }
  leaf.header.count = static_cast<std::uint32_t>(entries.size());
  leaf.header.entries = entries.size();
  return true;
}

template <int D>
bool put_in_index_leaf(Node<D>& leaf, const KeyedEntry<D>& entry) {
  IndexLeafBody<D>& body = leaf.keyed;
  const std::uint32_t count = leaf.count();
  if (count == 0) return false;
  std::uint64_t numbers[kIndexRows<D>];
  to_numbers<D>(entry, numbers);
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    const bool has_place = numbers[row] >= body.least[row] &&
                           numbers[row] - body.least[row] <= greatest_of_width(body.widths[row]);
    if (!has_place) return false;
  }
  const IndexLeaf<D> view(leaf);
  const std::uint32_t at = view.lower_bound(entry.id);
  const bool is_there = at < count && view.id(at) == entry.id;
  if (!is_there &&
      (count == kIndexLeafFanout || entry_bytes<D>(body) * (count + 1) > kIndexRowBytes<D>)) {
    return false;
  }
  const std::uint32_t after = is_there ? count : count + 1;
  // From the last row backwards, since each moves up by what the rows before it grow.
  std::size_t from = entry_bytes<D>(body) * count;
  std::size_t to = entry_bytes<D>(body) * after;
  for (std::size_t row = kIndexRows<D>; row-- > 0;) {
    const std::size_t width = body.widths[row];
    from -= width * count;
    to -= width * after;
    if (!is_there) {
      std::memmove(body.rows + to + width * (at + 1), body.rows + from + width * at,
                   width * (count - at));
      std::memmove(body.rows + to, body.rows + from, width * at);
    }
    const std::uint64_t more = numbers[row] - body.least[row];
    std::memcpy(body.rows + to + width * at, &more, width);
  }
  leaf.header.count = after;
  leaf.header.entries = after;
  return true;
}

template <int D>
void erase_from_index_leaf(Node<D>& leaf, std::uint32_t index) {
  IndexLeafBody<D>& body = leaf.keyed;
  const std::uint32_t count = leaf.count();
  std::size_t from = 0;
  std::size_t to = 0;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    const std::size_t width = body.widths[row];
    std::memmove(body.rows + to, body.rows + from, width * index);
    std::memmove(body.rows + to + width * index, body.rows + from + width * (index + 1),
                 width * (count - 1 - index));
    from += width * count;
    to += width * (count - 1);
  }
  leaf.header.count = count - 1;
  leaf.header.entries = count - 1;
}

// --- checking

namespace {

/// Whether the rows show that every box that they have room for is one of finite numbers, none of
/// which is above its opposite: as is usual, and quicker than a look at each box.
template <int D>
bool rows_prove_boxes(const IndexLeafBody<D>& body) {
  constexpr double kMost = std::numeric_limits<double>::max();
  const std::uint64_t lowest = static_cast<std::uint64_t>(order_key(-kMost)) ^ kSign;
  const std::uint64_t highest = static_cast<std::uint64_t>(order_key(kMost)) ^ kSign;
  for (std::size_t d = 0; d < D; ++d) {
    const std::uint64_t low = body.least[2 + d];
    if (low < lowest || low > highest) return false;
    std::uint64_t room = highest - low;
    for (const std::uint64_t more : {greatest_of_width(body.widths[2 + d]), body.least[2 + D + d],
                                     greatest_of_width(body.widths[2 + D + d])}) {
      if (more > room) return false;
      room -= more;
    }
  }
  return true;
}

template <int D>
bool is_sound_leaf(const Node<D>& leaf) {
  const std::uint32_t count = leaf.count();
  if (count > kIndexLeafFanout || leaf.header.entries != count) return false;
  for (std::size_t row = 0; row < kIndexRows<D>; ++row) {
    if (leaf.keyed.widths[row] > 8) return false;
  }
  if (entry_bytes<D>(leaf.keyed) * count > kIndexRowBytes<D>) return false;
  const IndexLeaf<D> view(leaf);
  std::uint64_t before = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t id = view.id(i);
    if (i > 0 && before >= id) return false;
    before = id;
  }
  if (rows_prove_boxes(leaf.keyed)) return true;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!check_box(view.entry(i).box)) return false;
  }
  return true;
}

}  // namespace

template <int D>
bool is_sound_index_node(const Node<D>& node, std::uint64_t chunk_count) {
  if (node.is_bottom()) return is_sound_leaf(node);
  if (node.count() == 0 || node.count() > kInnerFanout<D> || node.header.entries < node.count()) {
    return false;
  }
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    if (node.inner.children[i] == 0 || node.child(i).chunk() >= chunk_count) return false;
    if (i > 0 && node.inner.least[i - 1] >= node.inner.least[i]) return false;
  }
  return true;
}

#define SILURUS_ID_INDEX(D)                                                \
  template class IndexLeaf<D>;                                             \
  template class IndexRowSizes<D>;                                         \
  template std::uint32_t index_child(const Node<D>&, std::uint64_t);       \
  template bool pack_index_leaf(Node<D>&, std::span<const KeyedEntry<D>>); \
  template bool put_in_index_leaf(Node<D>&, const KeyedEntry<D>&);         \
  template void erase_from_index_leaf(Node<D>&, std::uint32_t);            \
  template bool is_sound_index_node(const Node<D>&, std::uint64_t)
SILURUS_ID_INDEX(2);
SILURUS_ID_INDEX(3);
#undef SILURUS_ID_INDEX

}  // namespace silurus::rtree
