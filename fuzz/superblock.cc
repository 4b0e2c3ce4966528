// SPDX-License-Identifier: Apache-2.0

#include "replication/superblock.h"

#include "fuzz/target.h"

// The first pages of a data directory: superblock and roots of checkpoints, with checksums right or
// wrong. An input: Head, then what is written into pages of zeros.

namespace silurus::fuzz {
namespace {

using namespace replication;
constexpr std::uint32_t kDimensions = 2;
constexpr std::uint32_t kNodes = 0x02204020;  ///< stands for a node format

/// Which parts are sealed.
struct Head {
  std::uint8_t superblock;
  std::uint8_t roots;  ///< a bit for each copy
  std::uint8_t reserved[6];
};

RootRecord root_at(std::span<const std::byte> pages, std::uint64_t offset) {
  return Input(pages.subspan(offset)).take<RootRecord>();
}

void seal_roots(std::span<std::byte> pages, std::uint8_t which, std::uint64_t id) {
  for (std::uint64_t i = 0; i < kRoots; ++i) {
    if ((which >> i & 1) == 0) continue;
    const std::uint64_t offset = root_offset(i / 2, i % 2);
    RootRecord root = root_at(pages, offset);
    root.forest_bytes %= kPageBytes;
    root.forest_checksum = forest_checksum(pages.subspan(offset + sizeof root, root.forest_bytes));
    const RootRecord sealed = seal(root, id);
    std::memcpy(pages.data() + offset, &sealed, sizeof sealed);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto head = input.take<Head>();
  const AlignedCopy pages({}, kMapsOffset);
  // What lies between is of no meaning: a superblock, then the four roots.
  const auto first = input.take<Superblock>();
  std::memcpy(pages.bytes().data(), &first, sizeof first);
  for (std::uint64_t i = 0; i < kRoots; ++i) {
    const auto root = input.take<RootRecord>();
    std::memcpy(pages.bytes().data() + root_offset(i / 2, i % 2), &root, sizeof root);
  }
  const std::uint64_t id = first.id;
  if (head.superblock != 0) {
    const auto made = make_superblock(first.dimensions % 4, kNodes, id, first.log_bytes,
                                      first.node_area_bytes, first.map_bytes);
    std::memcpy(pages.bytes().data(), &made, sizeof made);
  }
  seal_roots(pages.bytes(), head.roots, id);
  const bool blank = is_blank(pages.bytes());
  const auto superblock = read_superblock(pages.bytes(), kDimensions, kNodes, "here");
  const auto root = newest_root(pages.bytes(), id, "here");
  if (superblock) {
    const auto again =
        make_superblock(superblock->dimensions, superblock->node_format, superblock->id,
                        superblock->log_bytes, superblock->node_area_bytes, superblock->map_bytes);
    SILURUS_CHECK(bytes_of(again) == bytes_of(*superblock));
    SILURUS_CHECK(superblock->dimensions == kDimensions);
  }
  if (root) {
    SILURUS_CHECK(bytes_of(seal(*root, id)) == bytes_of(*root));
    SILURUS_CHECK(forest_of(pages.bytes(), *root).size() == root->forest_bytes);
  }
  // What was formatted is never formatted again.
  if (root && root->sequence <= 2) SILURUS_CHECK(!blank);
}

std::vector<std::string> seeds() {
  const auto superblock = make_superblock(kDimensions, kNodes, 9, 1 << 20, 0, 4096);
  const RootRecord empty = seal({.sequence = 1, .forest_checksum = forest_checksum({})}, 9);
  const RootRecord later = seal({.sequence = 2, .version = 5, .forest_bytes = 8, .entries = 3}, 9);
  const RootRecord none{};
  return {bytes_of(Head{}, superblock, none, none, empty, empty),
          bytes_of(Head{}, superblock, later, later, empty, empty),
          bytes_of(Head{1, 3, {}}, superblock, later, later, none, empty),
          bytes_of(Head{1, 15, {}}, superblock, later, later, empty, empty)};
}

}  // namespace silurus::fuzz
