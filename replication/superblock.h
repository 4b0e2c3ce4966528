// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "common/result.h"
#include "replication/record.h"
#include "rtree/node_ref.h"

// What says where everything in a data directory is: the superblock, written once, and the roots of
// the last two checkpoints. Pure functions over bytes: little-endian, no padding, checksummed.

namespace silurus::replication {

/// Version of the whole format of a data directory. Counted up with every change.
constexpr std::uint32_t kStoreFormat = 2;
constexpr std::uint32_t kByteOrderMark = 0x01020304;
/// What a store begins with.
constexpr std::array<char, 8> kStoreMagic = {'S', 'i', 'l', 'u', 'r', 'u', 's', '\n'};

/// The first bytes of a data directory. The first four fields stay in place in all versions.
struct Superblock {
  std::array<char, 8> magic;
  std::uint32_t byte_order;  ///< kByteOrderMark, as the machine that wrote it stores it
  std::uint32_t format;      ///< kStoreFormat
  std::uint32_t dimensions;
  std::uint32_t node_format;  ///< rtree::kNodeFormat: layout, fanouts, chunk size
  std::uint64_t id;           ///< random; seeds the log's chain
  std::uint64_t log_bytes;
  std::uint64_t
      node_area_bytes;      ///< size of each of the two areas, on a device; 0 where they are files
  std::uint64_t map_bytes;  ///< size of each of the two maps
  std::uint64_t checksum;   ///< XXH3-64 of all before it
};
static_assert(sizeof(Superblock) == 64 && std::has_unique_object_representations_v<Superblock>);

/// One checkpoint: a version of all trees, where their nodes are, and where the log goes on from
/// it. Behind it lie the bytes of what else is to be said of the trees (StoredForest::encode).
struct RootRecord {
  std::uint64_t checksum;  ///< XXH3-64 of the rest, seeded with the superblock's id
  std::uint64_t sequence;  ///< 1, 2, 3, ...; 1 is the empty store
  rtree::Version version;  ///< 0: no tree yet, replay starts with an empty one
  std::uint64_t forest_bytes;
  std::uint64_t forest_checksum;  ///< XXH3-64 of them
  std::uint64_t entries;          ///< in all trees
  std::uint64_t chunks;           ///< the map's bits that count
  std::uint64_t map_checksum;     ///< XXH3-64 of the map's bytes
  LogPosition log;                ///< the first record that is not in this version
  Stamp stamp;                    ///< stamp of that version
};
static_assert(sizeof(RootRecord) == 88 && std::has_unique_object_representations_v<RootRecord>);

// Offsets. Each of the two roots is written twice, one after the other: if both copies of a root
// are broken, it was never completed, and the other root is still the truth; a single copy that was
// damaged later does no harm.
constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kRoots = 4;
/// Bytes of one root, with what lies behind it.
constexpr std::uint64_t kRootBytes = std::uint64_t{256} << 10;
constexpr std::uint64_t kMapsOffset = kPageBytes + kRoots * kRootBytes;

/// Offset of the copy (0, 1) of the root with that sequence.
constexpr std::uint64_t root_offset(std::uint64_t sequence, std::uint64_t copy) {
  return kPageBytes + kRootBytes * (2 * (sequence % 2) + copy);
}
/// Offset of the map of the checkpoint with that sequence.
constexpr std::uint64_t map_offset(std::uint64_t sequence, std::uint64_t map_bytes) {
  return kMapsOffset + sequence % 2 * map_bytes;
}
/// Size of the superblock, the roots and both maps.
constexpr std::uint64_t super_bytes(std::uint64_t map_bytes) { return kMapsOffset + 2 * map_bytes; }

/// A superblock with its magic, marks and checksum.
Superblock make_superblock(std::uint32_t dimensions, std::uint32_t node_format, std::uint64_t id,
                           std::uint64_t log_bytes, std::uint64_t node_area_bytes,
                           std::uint64_t map_bytes);

/// Whether these first kMapsOffset bytes are those of a store whose formatting was never completed,
/// or never begun. It may be formatted.
bool is_blank(std::span<const std::byte> bytes);

/// The superblock, if this program can use the store: kProtocol if it is none or damaged,
/// kUnsupported for another version, another byte order or node format, kInvalidArgument for
/// another dimension. `where` begins the error.
Result<Superblock> read_superblock(std::span<const std::byte> bytes, std::uint32_t dimensions,
                                   std::uint32_t node_format, const std::string& where);

/// The record with its checksum.
RootRecord seal(RootRecord record, std::uint64_t store_id);

/// The newest root that was completed; kProtocol if there is none.
Result<RootRecord> newest_root(std::span<const std::byte> bytes, std::uint64_t store_id,
                               const std::string& where);
/// What lies behind it.
std::span<const std::byte> forest_of(std::span<const std::byte> bytes, const RootRecord& newest);
std::uint64_t forest_checksum(std::span<const std::byte> forest);

}  // namespace silurus::replication
