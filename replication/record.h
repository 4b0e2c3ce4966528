// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "common/result.h"
#include "rtree/geometry.h"
#include "rtree/run.h"

// The records of the operation log, as they lie on persistent memory and as they are sent to
// backups: little-endian, no padding, versioned by the container (the superblock of a data
// directory, the hello of a connection). Pure functions over bytes.

namespace silurus::replication {

static_assert(std::endian::native == std::endian::little, "the log is little-endian");

/// Version of everything in this file. A change of any byte of the format counts it up.
constexpr std::uint32_t kRecordFormat = 1;

/// Place of a record in the endless stream of all records of a tree: the bytes before it. The
/// first record has LSN 0. So an LSN is at once an order, a distance, and an address in the ring.
using Lsn = std::uint64_t;

/// A hybrid logical clock's reading (hybrid_clock.h).
using Stamp = std::uint64_t;

enum class RecordType : std::uint8_t {
  kInsert = 1,  ///< EntryPayload
  kErase = 2,   ///< EntryPayload
  kUpdate = 3,  ///< UpdatePayload
  /// A server took the log over: RestartPayload. Makes every later checksum differ from those of
  /// records that an earlier server wrote at the same places and a crash took back.
  kRestart = 4,
  /// Nodes are packed, and no entry changes: CompactPayload.
  kCompact = 5,
  /// Whose entries the operations are of that follow in the batch, up to the next such record:
  /// SelectPayload. Those before the first are of the first tree.
  kSelect = 6,
  /// A part of the record of the entry that the next insert or update of the batch writes:
  /// PartPayload. The parts of a record follow each other; one that is empty alone says that the
  /// entry has none from then on. Without parts an update leaves the record as it is.
  kPart = 7,
  /// The client of the operations that follow in the batch, up to the next such record:
  /// RequestPayload.
  kRequest = 16,
  /// An operation that the primary refused before it logged it, in its place: RefusedPayload.
  kRefused = 17,
  /// The admission state of a group's members changes: AdmissionOrder. A batch of its own.
  kAdmission = 18,
  /// The primary has built the tree of a bulk load: all members copy its nodes, into the same
  /// chunks. LoadPayload; without chunks, they are not needed any more. A batch of its own.
  kLoadOffer = 19,
  /// That tree, which is durable where this record is, is the next version: LoadPayload. A
  /// batch of its own.
  kLoad = 20,
  /// A collection comes, goes, or changes: CollectionOrder (catalogue.h). A batch of its own.
  kCollection = 21,
};

/// The last record of a batch. A batch is what one version consists of: it counts whole or not at
/// all.
constexpr std::uint8_t kBatchEnd = 1;
/// All that lies before this record was durable when it was written. So where such a record is
/// intact and one before it isn't, the log was not torn by a crash but damaged afterwards.
constexpr std::uint8_t kAfterFlush = 2;

/// Begins every record; `length` bytes of payload follow, then the next record.
struct RecordHeader {
  std::uint64_t checksum;  ///< XXH3-64 of the rest and the payload, seeded with that of the record
                           ///< before
  Lsn lsn;
  Stamp stamp;           ///< stamp of the batch
  std::uint32_t epoch;   ///< epoch of the view that wrote it; 1 without views
  std::uint16_t length;  ///< bytes of the payload, a multiple of 8
  RecordType type;
  std::uint8_t flags;
};

template <int D>
struct EntryPayload {
  std::uint64_t id;
  rtree::Box<D> box;
};

template <int D>
struct UpdatePayload {
  std::uint64_t id;
  rtree::Box<D> from;
  rtree::Box<D> to;
};

/// One write of a client, so that it happens once however often it is sent (group/requests.h).
struct RequestPayload {
  std::uint64_t client;    ///< 0: one that says not who it is
  std::uint64_t sequence;  ///< counts the client's writes: 1, 2, 3, ...
  std::uint64_t first;     ///< the outcomes of all before it are known to the client
};

/// What is refused is the same at every member, whatever each of them would have said.
struct RefusedPayload {
  std::uint64_t code;  ///< an ErrorCode
};

struct SelectPayload {
  std::uint64_t number;  ///< number of the collection's tree
};

struct PartPayload {
  static constexpr std::size_t kMostBytes = 120;
  std::uint64_t count;          ///< number of bytes: at most kMostBytes
  std::byte bytes[kMostBytes];  ///< as many, and zeros up to a multiple of 8; no more are written
};

struct RestartPayload {
  std::uint64_t nonce;  ///< random
};

/// One step of a compaction (rtree::Tree::compact).
struct CompactPayload {
  std::uint64_t cursor;
  std::uint64_t fill_permyriad;  ///< 0: the default
};

/// What changes an admission state (admission_state.h).
enum class AdmissionAction : std::uint64_t {
  kFill = 1,    ///< admit writes of the connection by which this came, and no others
  kFreeze = 2,  ///< admit no writes, for a while
  kRetire = 3,  ///< admit no writes and reads, if it was frozen until now
  kServe = 4,   ///< admit all writes and reads
  kLapse = 5,   ///< a freeze's time is over
};

struct AdmissionOrder {
  AdmissionAction action;
  std::uint64_t fencing_token;
  std::uint64_t freeze_ns;  ///< how long a kFreeze lasts at most, on the primary's clock
};

/// The tree of a bulk load, in a run of chunks (rtree::Run).
struct LoadPayload {
  std::uint64_t id;       ///< random
  std::uint64_t first;    ///< chunk, where the root begins
  std::uint64_t chunks;   ///< successive ones
  std::uint64_t inners;   ///< inner nodes among them
  std::uint64_t version;  ///< that it becomes
  std::uint64_t entries;
};

/// Where its nodes are, at every member.
inline rtree::Run run_of(const LoadPayload& load) {
  return {static_cast<std::uint32_t>(load.first), static_cast<std::uint32_t>(load.chunks),
          static_cast<std::uint32_t>(load.inners), load.version};
}

/// A payload is never larger: 3-D updates are the largest.
constexpr std::size_t kMaxPayloadBytes = 128;
constexpr std::size_t kMaxRecordBytes = sizeof(RecordHeader) + kMaxPayloadBytes;
/// What one 2-D insert may take of the log.
constexpr std::size_t kMaxInsertBytes = 96;

/// Bytes of the payload of a part of that number of bytes.
constexpr std::size_t part_bytes(std::size_t count) {
  return sizeof(std::uint64_t) + (count + 7) / 8 * 8;
}
/// Records of the log that the parts of an entry's record of that length take.
constexpr std::size_t parts_of(std::size_t record_bytes) {
  return record_bytes == 0 ? 1
                           : (record_bytes + PartPayload::kMostBytes - 1) / PartPayload::kMostBytes;
}

static_assert(sizeof(PartPayload) <= kMaxPayloadBytes);
static_assert(sizeof(RecordHeader) == 32 && sizeof(EntryPayload<2>) == 40 &&
              sizeof(UpdatePayload<2>) == 72 && sizeof(UpdatePayload<3>) <= kMaxPayloadBytes);
static_assert(std::has_unique_object_representations_v<RecordHeader> &&
              std::has_unique_object_representations_v<RestartPayload> &&
              std::has_unique_object_representations_v<SelectPayload> &&
              std::has_unique_object_representations_v<RequestPayload> &&
              std::has_unique_object_representations_v<CompactPayload> &&
              std::has_unique_object_representations_v<AdmissionOrder> &&
              std::has_unique_object_representations_v<LoadPayload>);
static_assert(sizeof(RecordHeader) + sizeof(EntryPayload<2>) <= kMaxInsertBytes);

/// A place between two records: where the next one starts, and what its checksum is seeded with.
struct LogPosition {
  Lsn lsn = 0;
  std::uint64_t chain = 0;
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

/// A record that was verified; the payload points into the caller's bytes.
struct Record {
  RecordHeader header;
  std::span<const std::byte> payload;
};

/// Writes a record to the front of `to` (kMaxRecordBytes suffice) and returns the position after
/// it. Of the header, checksum, lsn and length are filled in here.
LogPosition encode_record(LogPosition at, RecordHeader header, std::span<const std::byte> payload,
                          std::span<std::byte> to);

/// The record at the front of `from`, or nothing if the bytes are not an intact record of that
/// place and chain (torn, stale, foreign, cut short).
std::optional<Record> decode_record(LogPosition at, std::span<const std::byte> from);

/// The position after a record.
inline LogPosition after(const Record& record) {
  return {record.header.lsn + sizeof(RecordHeader) + record.header.length, record.header.checksum};
}

/// The payload as its type, or nothing if its length is another (another dimension, a damage that
/// the checksum missed).
template <typename Payload>
std::optional<Payload> payload_as(const Record& record) {
  static_assert(std::is_trivially_copyable_v<Payload> && sizeof(Payload) % 8 == 0);
  if (record.payload.size() != sizeof(Payload)) return std::nullopt;
  Payload payload;
  __builtin_memcpy(&payload, record.payload.data(), sizeof(Payload));
  return payload;
}

}  // namespace silurus::replication
