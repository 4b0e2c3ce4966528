// SPDX-License-Identifier: Apache-2.0

#include "rtree/root_block.h"

#include <cstring>

#include "rtree/reader_slots.h"

namespace silurus::rtree {
namespace {

/// The checksum of a mirror is that of both, so that a torn copy of either is found.
std::uint64_t mirror_checksum(std::uint64_t of_node, std::uint64_t index) {
  return of_node + index * 0x9e3779b97f4a7c15u;
}

}  // namespace

template <int D>
RootView<D> read_root_block(std::span<const std::byte> bytes, std::uint64_t chunk_count,
                            Node<D>& room, std::uint64_t number) {
  if (bytes.size() < kRootWordBytes) return {NodeRef(), nullptr};
  const auto* block = reinterpret_cast<const RootBlock<D>*>(bytes.data());
  // The copy is the reader's own: no thread writes it, so relaxed loads pair with nothing.
  if (block->owner.load(std::memory_order_relaxed) != 2 * number) return {NodeRef(), nullptr};
  if (block->ended.load(std::memory_order_relaxed) != 0) return {NodeRef(), nullptr};
  const NodeRef root = NodeRef::from_word(block->root.load(std::memory_order_relaxed));
  if (!root || bytes.size() < kRootMirrorBytes<D>) return {root, nullptr};
  const std::size_t which =
      root.is_born_in(block->mirrors[0].version.load(std::memory_order_relaxed)) ? 0 : 1;
  const RootMirror<D>& mirror = block->mirrors[which];
  const Version version = mirror.version.load(std::memory_order_relaxed);
  if (version != mirror.version_again.load(std::memory_order_relaxed) ||
      !root.is_born_in(version)) {
    return {root, nullptr};
  }
  auto* to = reinterpret_cast<std::byte*>(&room);
  std::memcpy(to, mirror.node, kMirroredBytes<D>);
  if (room.header.birth != version) return {root, nullptr};
  std::size_t size = kMirroredBytes<D>;
  if (room.header.level == 1) {
    if (bytes.size() < kAnyRootMirrorBytes<D>) return {root, nullptr};
    size = node_bytes<D>(1);
    std::memcpy(to + node_bytes<D>(2), block->directories[which], size - node_bytes<D>(2));
  }
  const Node<D>* node = check_node<D>({to, size}, {root, kAnyLevel}, chunk_count, false);
  const std::uint64_t index = mirror.index.load(std::memory_order_relaxed);
  if (node == nullptr || mirror.checksum != mirror_checksum(node_checksum(*node), index)) {
    return {root, nullptr};
  }
  // Neither it nor `records` is part of what the checksum covers: a reader believes a record, not a
  // place or a number.
  const bool is_place = mirror.next_change <= kChangeRingBytes - kMostChangeBytes;
  return {root, node, is_place ? static_cast<std::size_t>(mirror.next_change) / 8 * 8 : 0,
          mirror.records, NodeRef::from_word(index)};
}

template <int D>
void publish_root(RootBlock<D>& block, NodeRef root, const Node<D>& node, NodeRef index) {
  const Version version = node.header.birth;
  // The one that is not of the root now. Our own stores: relaxed.
  const auto current = NodeRef::from_word(block.root.load(std::memory_order_relaxed));
  const bool is_first =
      current.is_born_in(block.mirrors[0].version.load(std::memory_order_relaxed));
  const std::size_t which = is_first ? 1 : 0;
  RootMirror<D>& mirror = block.mirrors[which];
  // Release stores in program order, paired with a remote reader's copy of the block, which no
  // order binds: the checksum decides, the versions only find most torn copies at no cost.
  mirror.version.store(0, std::memory_order_release);
  mirror.version_again.store(0, std::memory_order_release);
  const auto* bytes = reinterpret_cast<const std::byte*>(&node);
  const std::size_t size = node_bytes<D>(node.header.level);
  std::memcpy(mirror.node, bytes, std::min(size, kMirroredBytes<D>));
  if (node.header.level == 1) {
    std::memcpy(block.directories[which], bytes + node_bytes<D>(2), size - node_bytes<D>(2));
  }
  mirror.next_change = block.next_change;
  mirror.records = block.records;
  mirror.checksum = mirror_checksum(
      node.header.checksum != 0 ? node.header.checksum : node_checksum(node), index.word());
  // Release: pairs with index_root(), which looks at the version behind it.
  mirror.index.store(index.word(), std::memory_order_release);
  mirror.version.store(version, std::memory_order_release);
  mirror.version_again.store(version, std::memory_order_release);
  block.version.store(version, std::memory_order_relaxed);
  block.level.store(node.header.level, std::memory_order_relaxed);
  name_root(block.root, root.word());
}

template <int D>
NodeRef index_root(const RootBlock<D>& block, NodeRef root) {
  for (const RootMirror<D>& mirror : block.mirrors) {
    // Acquire: pairs with the stores of publish_root(). If the version is the same before and
    // after, the index in between is that version's.
    const Version version = mirror.version.load(std::memory_order_acquire);
    if (!root.is_born_in(version)) continue;
    const std::uint64_t index = mirror.index.load(std::memory_order_acquire);
    if (mirror.version.load(std::memory_order_relaxed) == version) return NodeRef::from_word(index);
  }
  return {};
}

template NodeRef index_root(const RootBlock<2>&, NodeRef);
template NodeRef index_root(const RootBlock<3>&, NodeRef);
template RootView<2> read_root_block(std::span<const std::byte>, std::uint64_t, Node<2>&,
                                     std::uint64_t);
template RootView<3> read_root_block(std::span<const std::byte>, std::uint64_t, Node<3>&,
                                     std::uint64_t);
template void publish_root(RootBlock<2>&, NodeRef, const Node<2>&, NodeRef);
template void publish_root(RootBlock<3>&, NodeRef, const Node<3>&, NodeRef);

}  // namespace silurus::rtree
