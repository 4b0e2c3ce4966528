#include "rtree/root_block.h"

#include <cstring>

namespace silurus::rtree {

template <int D>
RootView<D> read_root_block(std::span<const std::byte> bytes, std::uint64_t chunk_count) {
  if (bytes.size() < kRootWordBytes) return {NodeRef(), nullptr};
  const auto* block = reinterpret_cast<const RootBlock<D>*>(bytes.data());
  // The copy is the reader's own: nobody writes it, so relaxed loads pair with nothing.
  if (block->retired.load(std::memory_order_relaxed) != 0) return {NodeRef(), nullptr};
  const NodeRef root = NodeRef::from_word(block->root.load(std::memory_order_relaxed));
  if (!root || bytes.size() < sizeof(RootBlock<D>)) return {root, nullptr};
  const RootMirror<D>& mirror = block->mirrors[root.birth() & 1];
  const Version version = mirror.version.load(std::memory_order_relaxed);
  if (version != mirror.version_again.load(std::memory_order_relaxed) ||
      !root.is_born_in(version) || mirror.node.header.birth != version) {
    return {root, nullptr};
  }
  const auto* mirrored = reinterpret_cast<const std::byte*>(&mirror.node);
  const Node<D>* node =
      check_node<D>({mirrored, sizeof(Node<D>)}, {root, kAnyLevel}, chunk_count, false);
  if (node == nullptr || mirror.checksum != node_checksum(*node)) return {root, nullptr};
  return {root, node};
}

template <int D>
void publish_root(RootBlock<D>& block, NodeRef root, const Node<D>& node) {
  const Version version = node.header.birth;
  RootMirror<D>& mirror = block.mirrors[version & 1];
  // Release stores in program order, paired with a remote reader's copy of the block, which no
  // order binds: the checksum decides, the versions only find most torn copies at no cost.
  mirror.version.store(0, std::memory_order_release);
  mirror.version_again.store(0, std::memory_order_release);
  std::memcpy(static_cast<void*>(&mirror.node), &node, node_bytes<D>(node.header.level));
  mirror.checksum = node.header.checksum != 0 ? node.header.checksum : node_checksum(node);
  mirror.version.store(version, std::memory_order_release);
  mirror.version_again.store(version, std::memory_order_release);
  block.version.store(version, std::memory_order_relaxed);
  block.level.store(node.header.level, std::memory_order_relaxed);
  // Sequentially consistent: pairs with the loads in Tree::snapshot (which must see this root, or
  // have their pin seen by the scan that follows), and releases the nodes of this version to them.
  block.root.store(root.word(), std::memory_order_seq_cst);
}

template RootView<2> read_root_block(std::span<const std::byte>, std::uint64_t);
template RootView<3> read_root_block(std::span<const std::byte>, std::uint64_t);
template void publish_root(RootBlock<2>&, NodeRef, const Node<2>&);
template void publish_root(RootBlock<3>&, NodeRef, const Node<3>&);

}  // namespace silurus::rtree
