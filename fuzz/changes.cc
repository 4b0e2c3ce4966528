// SPDX-License-Identifier: Apache-2.0

#include "rtree/changes.h"

#include <cstring>

#include "fuzz/target.h"

// Records of what a version has changed, by which a client turns the nodes in its cache into those
// of that version. An input: Head, then the bytes of a record. Unless Head says otherwise, it is
// given its length and its checksum.

namespace silurus::fuzz {
namespace {

using namespace rtree;

struct Head {
  std::uint8_t dimensions;  ///< odd: 3
  std::uint8_t raw;
  std::uint8_t level;  ///< the level of the node that it is applied to; from 128 on, of an index
  std::uint8_t count;
  std::uint32_t before;  ///< the version that the record is to follow
};

void put_right(std::span<std::byte> bytes) {
  ChangeHeader header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.bytes = static_cast<std::uint16_t>(bytes.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  const std::uint64_t checksum = bytes_checksum(bytes.subspan(sizeof header.checksum));
  std::memcpy(bytes.data(), &checksum, sizeof checksum);
}

/// A node that has all children that it has room for.
template <int D>
void make_node(Node<D>& node, std::uint8_t level) {
  const std::uint32_t height = 1 + level % kMaxLevel;
  const bool is_of_index = level >= 128;
  node.reset(1, is_of_index ? kIndexLevel + height : height);
  for (std::uint32_t i = 0; i < kInnerFanout<D>; ++i) {
    if (is_of_index) {
      node.inner.children[i] = NodeRef(40, 1).word();
      node.inner.least[i] = std::uint64_t{1'000} * i;
    } else {
      node.set_child(i, NodeRef(40, 1), node.bounds);
    }
  }
}

template <int D>
void try_dimension(const Head& head, std::span<const std::byte> bytes) {
  const AlignedCopy record_bytes(bytes);
  if (head.raw == 0) put_right(record_bytes.bytes());
  const auto record = ChangeRecord<D>::read(record_bytes.bytes(), head.before);
  if (!record) return;
  SILURUS_CHECK(record->version() > head.before);
  SILURUS_CHECK(record->bytes() <= bytes.size());
  const NodeRef index = record->index();
  SILURUS_CHECK(!index || index.chunk() < NodeRef::kMaxChunks);
  record->for_each([&](const ChangedNode<D>& changed) {
    SILURUS_CHECK(changed.before() && changed.after().is_born_in(record->version()));
    AlignedCopy memory({}, sizeof(Node<D>));
    auto& node = *reinterpret_cast<Node<D>*>(memory.bytes().data());
    make_node(node, head.level);
    node.header.count = 1 + head.count % kInnerFanout<D>;
    node.header.entries = node.header.count;
    if (!changed.fits(node)) return;
    changed.apply(node);
    // What comes of it is a node that a reader would believe.
    const auto* made = check_node<D>({memory.bytes().data(), node_bytes<D>(node.level())},
                                     {changed.after(), node.level()}, NodeRef::kMaxChunks, false);
    SILURUS_CHECK(made != nullptr);
  });
}

template <int D>
std::string record_of(std::uint32_t level) {
  const AlignedCopy before_memory({}, sizeof(Node<D>));
  const AlignedCopy after_memory({}, sizeof(Node<D>));
  auto& before = *reinterpret_cast<Node<D>*>(before_memory.bytes().data());
  auto& after = *reinterpret_cast<Node<D>*>(after_memory.bytes().data());
  before.reset(4, level);
  before.set_child(0, NodeRef(40, 4), before.bounds);
  before.header.count = 1;
  before.header.entries = 3;
  copy_node(after, before);
  after.header.birth = 5;
  after.set_child(0, NodeRef(41, 5), after.bounds);
  const AlignedCopy room({}, kMostChangeBytes);
  ChangeWriter<D> writer(room.bytes(), 5, 4);
  writer.add(NodeRef(30, 4), before, NodeRef(31, 5), after);
  const std::size_t size = writer.finish();
  return bytes_of(Head{.dimensions = D,
                       .raw = 0,
                       .level = static_cast<std::uint8_t>(level - 1),
                       .count = 0,
                       .before = 4}) +
         as_seed(room.bytes().first(size));
}

/// The record of a keyed tree whose index has a node with a child more.
template <int D>
std::string index_record() {
  const AlignedCopy before_memory({}, sizeof(Node<D>));
  const AlignedCopy after_memory({}, sizeof(Node<D>));
  auto& before = *reinterpret_cast<Node<D>*>(before_memory.bytes().data());
  auto& after = *reinterpret_cast<Node<D>*>(after_memory.bytes().data());
  make_node(before, 128);
  before.header.count = 3;
  before.header.entries = 30;
  copy_node(after, before);
  after.header.birth = 5;
  after.header.count = 4;
  after.inner.children[2] = NodeRef(41, 5).word();
  after.inner.children[3] = NodeRef(42, 5).word();
  after.inner.least[3] = 2'500;
  const AlignedCopy room({}, kMostChangeBytes);
  ChangeWriter<D> writer(room.bytes(), 5, 4, NodeRef(31, 5));
  writer.add(NodeRef(30, 4), before, NodeRef(31, 5), after);
  const std::size_t size = writer.finish();
  return bytes_of(Head{.dimensions = D, .raw = 0, .level = 128, .count = 2, .before = 4}) +
         as_seed(room.bytes().first(size));
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
  return {record_of<2>(1), record_of<2>(2),   record_of<3>(1),
          record_of<3>(2), index_record<2>(), index_record<3>()};
}

}  // namespace silurus::fuzz
