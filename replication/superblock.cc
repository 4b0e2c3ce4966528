// SPDX-License-Identifier: Apache-2.0

#include "replication/superblock.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace silurus::replication {
namespace {

std::uint64_t checksum_of(const Superblock& superblock) {
  return XXH3_64bits(&superblock, offsetof(Superblock, checksum));
}

std::uint64_t checksum_of(const RootRecord& record, std::uint64_t store_id) {
  constexpr std::size_t kSkipped = sizeof record.checksum;
  return XXH3_64bits_withSeed(reinterpret_cast<const std::byte*>(&record) + kSkipped,
                              sizeof record - kSkipped, store_id);
}

/// A root and what lies behind it, whole, if that is a copy of it.
bool is_whole(std::span<const std::byte> bytes, std::uint64_t offset, const RootRecord& record,
              std::uint64_t store_id) {
  if (record.checksum != checksum_of(record, store_id)) return false;
  if (record.forest_bytes > kRootBytes - sizeof record) return false;
  const auto forest = bytes.subspan(offset + sizeof record, record.forest_bytes);
  return forest_checksum(forest) == record.forest_checksum;
}

template <typename T>
T load(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

Superblock make_superblock(std::uint32_t dimensions, std::uint32_t node_format, std::uint64_t id,
                           std::uint64_t log_bytes, std::uint64_t node_area_bytes,
                           std::uint64_t map_bytes) {
  Superblock made{.magic = kStoreMagic,
                  .byte_order = kByteOrderMark,
                  .format = kStoreFormat,
                  .dimensions = dimensions,
                  .node_format = node_format,
                  .id = id,
                  .log_bytes = log_bytes,
                  .node_area_bytes = node_area_bytes,
                  .map_bytes = map_bytes,
                  .checksum = 0};
  made.checksum = checksum_of(made);
  return made;
}

bool is_blank(std::span<const std::byte> bytes) {
  const auto superblock = load<Superblock>(bytes, 0);
  // A later version may have its roots elsewhere. (A torn write leaves a word old or new.)
  if (superblock.magic == kStoreMagic &&
      (superblock.byte_order != kByteOrderMark || superblock.format > kStoreFormat) &&
      superblock.byte_order != 0) {
    return false;
  }
  // Formatting ends with the two copies of the first root, one after the other.
  const auto first = load<RootRecord>(bytes, root_offset(1, 0));
  if (is_whole(bytes, root_offset(1, 0), first, superblock.id) && first.sequence == 1) return false;
  const auto is_zero = [&](std::uint64_t sequence, std::uint64_t copy) {
    const auto page = bytes.subspan(root_offset(sequence, copy), kRootBytes);
    return std::all_of(page.begin(), page.end(), [](std::byte b) { return b == std::byte{0}; });
  };
  if (!is_zero(0, 0) || !is_zero(0, 1) || !is_zero(1, 1)) return false;
  // Something else that lies there is not ours to overwrite.
  return superblock.magic == kStoreMagic || superblock.magic == std::array<char, 8>{};
}

Result<Superblock> read_superblock(std::span<const std::byte> bytes, std::uint32_t dimensions,
                                   std::uint32_t node_format, const std::string& where) {
  const auto found = load<Superblock>(bytes, 0);
  if (found.magic != kStoreMagic) {
    return fail(ErrorCode::kProtocol, where +
                                          " does not hold a Silurus tree: if it never did, "
                                          "name an empty directory; if it did, restore a "
                                          "backup");
  }
  if (found.byte_order != kByteOrderMark) {
    return fail(ErrorCode::kUnsupported,
                where + (found.byte_order == __builtin_bswap32(kByteOrderMark)
                             ? " was written by a machine of the other byte order"
                             : " has a damaged superblock: restore a backup"));
  }
  if (found.format > kStoreFormat) {
    return fail(ErrorCode::kUnsupported,
                where + " has format " + std::to_string(found.format) +
                    ", written by a later Silurus: this one knows formats up to " +
                    std::to_string(kStoreFormat));
  }
  if (found.format < kStoreFormat && found.checksum == checksum_of(found)) {
    return fail(ErrorCode::kUnsupported,
                where + " has format " + std::to_string(found.format) +
                    ", written by an earlier Silurus, and this one knows format " +
                    std::to_string(kStoreFormat) +
                    ": load its data anew, or open it with the Silurus that wrote it");
  }
  if (found.checksum != checksum_of(found)) {
    return fail(ErrorCode::kProtocol, where + " has a damaged superblock: restore a backup");
  }
  if (found.dimensions != dimensions) {
    return fail(ErrorCode::kInvalidArgument, where + " holds a tree of " +
                                                 std::to_string(found.dimensions) +
                                                 " dimensions, not " + std::to_string(dimensions));
  }
  if (found.node_format != node_format) {
    return fail(ErrorCode::kUnsupported, where +
                                             " has nodes of another layout than this build of "
                                             "Silurus: open it with the build that wrote it");
  }
  return found;
}

std::uint64_t forest_checksum(std::span<const std::byte> forest) {
  return XXH3_64bits(forest.data(), forest.size());
}

std::span<const std::byte> forest_of(std::span<const std::byte> bytes, const RootRecord& newest) {
  for (std::uint64_t copy = 0; copy < 2; ++copy) {
    const std::uint64_t offset = root_offset(newest.sequence, copy);
    const auto found = load<RootRecord>(bytes, offset);
    const auto forest = bytes.subspan(offset + sizeof found, newest.forest_bytes);
    const bool is_it = found.checksum == newest.checksum && found.sequence == newest.sequence;
    if (is_it && forest_checksum(forest) == newest.forest_checksum) return forest;
  }
  return {};  // newest_root() has seen it
}

RootRecord seal(RootRecord record, std::uint64_t store_id) {
  record.checksum = checksum_of(record, store_id);
  return record;
}

Result<RootRecord> newest_root(std::span<const std::byte> bytes, std::uint64_t store_id,
                               const std::string& where) {
  std::optional<RootRecord> newest;
  for (std::uint64_t sequence = 0; sequence < 2; ++sequence) {
    for (std::uint64_t copy = 0; copy < 2; ++copy) {
      const std::uint64_t offset = root_offset(sequence, copy);
      const auto found = load<RootRecord>(bytes, offset);
      if (!is_whole(bytes, offset, found, store_id)) continue;
      if (found.sequence % 2 != sequence) continue;
      if (!newest || found.sequence > newest->sequence) newest = found;
    }
  }
  if (!newest) {
    return fail(ErrorCode::kProtocol, where + " has no checkpoint that is whole: restore a backup");
  }
  return *newest;
}

}  // namespace silurus::replication
