// SPDX-License-Identifier: Apache-2.0

#include "rtree/root_block.h"

#include <cstring>

#include "fuzz/target.h"

// The block by which a client finds the root. An input: Head, then the bytes of a block. Unless
// Head says otherwise, the mirror that the root word names is given its versions and checksum.

namespace silurus::fuzz {
namespace {

using namespace rtree;

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t raw;
  std::uint16_t bytes;  ///< length of the block that is shown; 0: all
  std::uint32_t chunks;
};

template <int D>
void put_right(RootBlock<D>& block) {
  const NodeRef root = NodeRef::from_word(block.root.load());
  RootMirror<D>& mirror = block.mirrors[root.birth() & 1];
  const AlignedCopy copy({mirror.node, kMirroredBytes<D>}, sizeof(Node<D>));
  auto& node = *reinterpret_cast<Node<D>*>(copy.bytes().data());
  if (node.header.level > kMaxLevel) return;
  if (node.header.level == 1) {
    const auto& directories = block.directories[root.birth() & 1];
    std::memcpy(copy.bytes().data() + node_bytes<D>(2), directories, sizeof directories);
  }
  node.header.birth = root.birth();
  std::memcpy(mirror.node, copy.bytes().data(), sizeof(NodeHeader));
  mirror.version.store(root.birth());
  mirror.version_again.store(root.birth());
  mirror.index.store(0);
  mirror.checksum = node_checksum(node);
}

template <int D>
void try_dimension(const Head& head, std::span<const std::byte> bytes) {
  const AlignedCopy whole(bytes, sizeof(RootBlock<D>));
  if (head.raw == 0) put_right(*reinterpret_cast<RootBlock<D>*>(whole.bytes().data()));
  const std::size_t shown = head.bytes == 0 ? sizeof(RootBlock<D>) : head.bytes / 8 * 8;
  const AlignedCopy block(whole.bytes(), std::min(shown, sizeof(RootBlock<D>)));
  Node<D> room;
  const auto view = read_root_block<D>(block.bytes(), head.chunks, room);
  if (view.node == nullptr) return;
  SILURUS_CHECK(view.root && view.root.is_born_in(view.node->birth()));
  // What it shows, it shows again when it is published.
  const AlignedCopy again({}, sizeof(RootBlock<D>));
  auto& published = *reinterpret_cast<RootBlock<D>*>(again.bytes().data());
  AlignedCopy node({}, sizeof(Node<D>));
  auto& root = *reinterpret_cast<Node<D>*>(node.bytes().data());
  copy_node(root, *view.node);
  root.header.checksum = 0;  // computed anew
  publish_root(published, view.root, root);
  Node<D> room_again;
  const auto seen = read_root_block<D>(again.bytes(), head.chunks, room_again);
  SILURUS_CHECK(seen.root == view.root && seen.node != nullptr);
  const std::size_t size = node_bytes<D>(root.level());
  SILURUS_CHECK(
      is_equal({reinterpret_cast<const std::byte*>(seen.node), size}, node.bytes().first(size)));
}

template <int D>
std::string block_of(std::uint32_t level) {
  const AlignedCopy bytes({}, sizeof(RootBlock<D>));
  const AlignedCopy node({}, sizeof(Node<D>));
  auto& root = *reinterpret_cast<Node<D>*>(node.bytes().data());
  root.reset(5, level);
  if (level != 0) {
    root.set_child(0, NodeRef(40, 5), root.bounds);
    root.header.count = 1;
    root.header.entries = 3;
  }
  publish_root(*reinterpret_cast<RootBlock<D>*>(bytes.bytes().data()), NodeRef(30, 5), root);
  return bytes_of(Head{.dimensions = D, .raw = 0, .bytes = 0, .chunks = 1000}) +
         as_seed(bytes.bytes());
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
  return {block_of<2>(0), block_of<2>(1), block_of<3>(0), block_of<3>(1)};
}

}  // namespace silurus::fuzz
