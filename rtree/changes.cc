// SPDX-License-Identifier: Apache-2.0

#include "rtree/changes.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "rtree/grouping.h"

namespace silurus::rtree {
namespace {

/// The children at which two nodes differ, in bits, up to the count of `after`.
template <int D>
std::uint64_t changed_children(const Node<D>& before, const Node<D>& after) {
  std::uint64_t changed = words_that_differ(before.inner.children, after.inner.children);
  if (after.is_of_index()) changed |= words_that_differ(before.inner.least, after.inner.least);
  const auto first = [](std::uint32_t count) {
    return count == 0 ? 0 : ~std::uint64_t{0} >> (64 - count);
  };
  const std::uint64_t there = first(after.count());
  return (changed & there) | (there & ~first(before.count()));
}

/// Calls each(i) for the children that a record tells of.
template <typename Each>
void for_each_child(const NodeChange& change, Each&& each) {
  for (std::uint64_t rest = change.children; rest != 0; rest &= rest - 1) {
    each(static_cast<std::uint32_t>(std::countr_zero(rest)));
  }
}

/// The next part of a record; moves on behind it.
template <typename Part>
Part take(const std::byte*& from) {
  Part part;
  std::memcpy(&part, from, sizeof part);
  from += sizeof part;
  return part;
}

template <typename Part>
void append(std::span<std::byte> room, std::uint16_t& at, const Part& part) {
  std::memcpy(room.data() + at, &part, sizeof part);
  at = static_cast<std::uint16_t>(at + sizeof part);
}

template <int D>
bool is_sound_child(NodeRef child, std::uint32_t level) {
  const std::uint32_t chunks = chunks_of<D>(level);
  return child && std::uint64_t{child.chunk()} + chunks <= NodeRef::kMaxChunks &&
         !kChunkShape<D>.spans_slabs(child.chunk(), chunks);
}

}  // namespace

template <int D>
ChangeWriter<D>::ChangeWriter(std::span<std::byte> room, Version version, Version before,
                              NodeRef index)
    : room_(room),
      header_{.checksum = 0,
              .version = version,
              .versions = static_cast<std::uint32_t>(version - before),
              .bytes = sizeof(ChangeHeader),
              .nodes = 0,
              .keyed = index ? std::uint8_t{1} : std::uint8_t{0}} {
  SILURUS_CHECK(room.size() >= kMostChangeBytes && before < version);
  if (header_.versions != version - before) header_.versions = 0;
  if (index) append(room_, header_.bytes, index.word());
}

template <int D>
void ChangeWriter<D>::add(NodeRef before_ref, const Node<D>& before, NodeRef after_ref,
                          const Node<D>& after) {
  if (before.is_bottom() || before.level() != after.level()) return;
  // With another box all cells are others. The same box has the same grid, hence children that are
  // the same have the same cells, and their directories are good in it.
  if (before.bounds != after.bounds) return;
  const std::uint64_t more_entries = after.header.entries - before.header.entries;
  const auto few_more = static_cast<std::int16_t>(more_entries);
  if (static_cast<std::uint64_t>(few_more) != more_entries) return;
  NodeChange change{.before = before_ref.word(),
                    .children = changed_children(before, after),
                    .chunk = after_ref.chunk(),
                    .level = static_cast<std::uint8_t>(after.level()),
                    .count = static_cast<std::uint8_t>(after.count()),
                    .more_entries = few_more};
  if (header_.bytes + node_change_bytes<D>(change) > kMostChangeBytes) return;
  append(room_, header_.bytes, change);
  if (after.is_of_index()) {
    add_index_children(change, after);
  } else {
    add_children(change, after);
  }
  ++header_.nodes;
}

template <int D>
void ChangeWriter<D>::add_children(const NodeChange& change, const Node<D>& after) {
  for_each_child(change, [&](std::uint32_t i) {
    ChildChange<D> child{.word = after.inner.children[i], .cells = {}};
    for (int row = 0; row < 2 * D; ++row) child.cells[row] = after.inner.cells[row][i];
    append(room_, header_.bytes, child);
  });
  if (change.level != 1) return;
  for_each_child(
      change, [&](std::uint32_t i) { append(room_, header_.bytes, after.inner.directories[i]); });
}

template <int D>
void ChangeWriter<D>::add_index_children(const NodeChange& change, const Node<D>& after) {
  for_each_child(change, [&](std::uint32_t i) {
    append(room_, header_.bytes,
           IndexChildChange{.word = after.inner.children[i], .least = after.inner.least[i]});
  });
}

template <int D>
std::size_t ChangeWriter<D>::finish() {
  std::memcpy(room_.data(), &header_, sizeof header_);
  constexpr std::size_t kSkipped = sizeof header_.checksum;
  header_.checksum = bytes_checksum(room_.subspan(kSkipped, header_.bytes - kSkipped));
  std::memcpy(room_.data(), &header_.checksum, kSkipped);
  return header_.bytes;
}

template <int D>
bool ChangedNode<D>::fits(const Node<D>& node) const {
  if (node.level() != change_.level) return false;
  // All children that it has more are told of.
  const std::uint64_t added =
      node.count() >= change_.count
          ? 0
          : (~std::uint64_t{0} >> (64 - change_.count)) & ~std::uint64_t{0} << node.count();
  if ((added & ~change_.children) != 0) return false;
  return !is_of_index() || keeps_order(node);
}

/// Whether the ids of the children of a node of an index will be in their order.
template <int D>
bool ChangedNode<D>::keeps_order(const Node<D>& node) const {
  const std::byte* told = children_;
  std::uint64_t before = 0;
  for (std::uint32_t i = 0; i < change_.count; ++i) {
    const bool is_told = (change_.children >> i & 1) != 0;
    const std::uint64_t least = is_told ? take<IndexChildChange>(told).least : node.inner.least[i];
    if (i > 0 && least <= before) return false;
    before = least;
  }
  return true;
}

template <int D>
void ChangedNode<D>::apply(Node<D>& node) const {
  const std::uint64_t entries =
      node.header.entries + static_cast<std::uint64_t>(change_.more_entries);
  node.header = {.checksum = 0,
                 .birth = version_,
                 .entries = std::max<std::uint64_t>(entries, change_.count),
                 .level = change_.level,
                 .count = change_.count};
  node.inner.ids_birth = 0;
  if (is_of_index()) {
    apply_to_index_children(node);
  } else {
    apply_to_children(node);
  }
}

template <int D>
void ChangedNode<D>::apply_to_children(Node<D>& node) const {
  const std::byte* children = children_;
  for_each_child(change_, [&](std::uint32_t i) {
    const auto child = take<ChildChange<D>>(children);
    node.inner.children[i] = child.word;
    for (int row = 0; row < 2 * D; ++row) node.inner.cells[row][i] = child.cells[row];
  });
  if (change_.level != 1) return;
  for_each_child(change_, [&](std::uint32_t i) {
    node.inner.directories[i] = take<LeafDirectory<D>>(children);
  });
}

template <int D>
void ChangedNode<D>::apply_to_index_children(Node<D>& node) const {
  const std::byte* children = children_;
  for_each_child(change_, [&](std::uint32_t i) {
    const auto child = take<IndexChildChange>(children);
    node.inner.children[i] = child.word;
    node.inner.least[i] = child.least;
  });
}

template <int D>
std::size_t ChangeRecord<D>::expected_bytes(std::span<const std::byte> bytes, Version before) {
  if (bytes.size() < sizeof(ChangeHeader)) return 0;
  ChangeHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.versions == 0 || header.versions > header.version) return 0;
  const bool is_it = NodeRef(0, header.version - header.versions).birth() == before &&
                     header.bytes >= sizeof header && header.bytes <= kMostChangeBytes;
  return is_it ? header.bytes : 0;
}

template <int D>
auto ChangeRecord<D>::read(std::span<const std::byte> bytes, Version before)
    -> std::optional<ChangeRecord> {
  const std::size_t size = expected_bytes(bytes, before);
  if (size == 0 || size > bytes.size()) return std::nullopt;
  ChangeHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  constexpr std::size_t kSkipped = sizeof header.checksum;
  // A record is written while others read, in any order: that the bytes are of one record, the
  // checksum says.
  if (header.checksum != bytes_checksum(bytes.subspan(kSkipped, size - kSkipped))) {
    return std::nullopt;
  }
  if (header.keyed > 1) return std::nullopt;
  const ChangeRecord record(bytes.first(size), header);
  return record.is_sound(header.nodes) ? std::optional(record) : std::nullopt;
}

template <int D>
NodeRef ChangeRecord<D>::index() const {
  if (!is_keyed_) return {};
  std::uint64_t word = 0;
  std::memcpy(&word, bytes_.data() + sizeof(ChangeHeader), sizeof word);
  return NodeRef::from_word(word);
}

template <int D>
NodeChange ChangeRecord<D>::node_change(std::size_t at) const {
  NodeChange change;
  std::memcpy(&change, bytes_.data() + at, sizeof change);
  return change;
}

/// Whether nothing in it leads a reader astray that knows no more of it than that it has arrived as
/// it was written.
template <int D>
bool ChangeRecord<D>::is_sound(std::uint32_t nodes) const {
  std::size_t at = first_node();
  if (at > bytes_.size()) return false;
  if (is_keyed_ && !is_sound_child<D>(index(), kIndexLevel)) return false;
  for (std::uint32_t i = 0; i < nodes; ++i) {
    if (bytes_.size() - at < sizeof(NodeChange)) return false;
    const NodeChange change = node_change(at);
    if (bytes_.size() - at < node_change_bytes<D>(change)) return false;
    if (is_bottom(change.level)) return false;
    if (change.level > kMaxLevel && !is_index_level(change.level)) return false;
    if (change.count == 0 || change.count > kInnerFanout<D>) return false;
    if ((change.children & ~(~std::uint64_t{0} >> (64 - change.count))) != 0) return false;
    if (!NodeRef::from_word(change.before)) return false;
    if (!is_sound_child<D>(NodeRef(change.chunk, version_), change.level)) return false;
    for (int child = 0; child < std::popcount(change.children); ++child) {
      std::uint64_t word = 0;
      std::memcpy(&word,
                  bytes_.data() + at + sizeof change + child * child_change_bytes<D>(change.level),
                  sizeof word);
      if (!is_sound_child<D>(NodeRef::from_word(word), change.level - 1u)) return false;
    }
    at += node_change_bytes<D>(change);
  }
  return at == bytes_.size();
}

template class ChangeWriter<2>;
template class ChangeWriter<3>;
template class ChangedNode<2>;
template class ChangedNode<3>;
template class ChangeRecord<2>;
template class ChangeRecord<3>;

}  // namespace silurus::rtree
