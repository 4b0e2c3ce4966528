// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "rtree/geometry.h"
#include "rtree/node_ref.h"
#include "silurus/time.h"
#include "silurus/types.h"
#include "transport/fabric.h"

// The messages between client and server: fixed little-endian structs without padding, written in
// place into rings. A request is answered by one or more messages of type kAnswer with its
// request id; all but the last carry kMore. Each message is checked before it is read (decode.h).

namespace silurus::protocol {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

constexpr std::uint32_t kMagic = 0x524c4953;  // "SILR"
constexpr std::uint32_t kVersion = 3;

enum class MessageType : std::uint8_t {
  kAnswer = 0,
  kRange = 1,        ///< RangeRequest
  kNearest = 2,      ///< NearestRequest
  kWrite = 3,        ///< WriteRequest and its operations
  kStats = 4,        ///< Header alone; answered with JSON text
  kLoadBegin = 5,    ///< Header alone: starts a bulk load; the tree must be empty
  kLoadEntries = 6,  ///< LoadEntries and its entries; each answered, so that clients can pace
  kLoadCommit = 7,   ///< LoadCommit: builds and publishes; answered when that is done
  kLoadAbort = 8,    ///< Header alone
  kAt = 9,           ///< AtRequest and a whole kRange, kNearest or kGet request
  kTask = 10,        ///< TaskRequest and its text; answered with JSON text
  kHold = 11,        ///< HoldRequest: keeps an old version for one-sided reads of it
  kCluster = 12,     ///< Header alone: who is in the group; any member answers, with JSON text
  kJoin = 13,        ///< JoinRequest
  kGet = 14,         ///< GetRequest and its ids; of a keyed collection
  kSegment = 15,     ///< Header and a part of a request that is longer than a message: with kMore,
                     ///< another part follows, with the same request id and without any other
                     ///< message in between. Together they are that request
};
constexpr MessageType kLastMessageType = MessageType::kSegment;
/// The longest request that comes in segments: a write with the longest record.
constexpr std::size_t kMaxRequestBytes = std::size_t{3} << 19;

/// Requests of one connection that may be unanswered at once. A client that sends more is
/// disconnected. Answers come in any order, and segments of several may be interleaved.
constexpr std::uint32_t kMaxRequestsInFlight = 1024;
/// Neighbours that one search may ask for.
constexpr std::uint32_t kMaxK = 1u << 16;

constexpr std::uint8_t kMore = 1;  ///< flag of an answer, or a kSegment: another segment follows
/// Flag of a request that reads: any member of a group may answer it, at the version that it has
/// applied. Without it a member that may not read for the group (a backup, a primary without its
/// lease) answers kNotPrimary.
constexpr std::uint8_t kAnyMember = 2;
/// Greatest distance between the sequence number of a write and that of the oldest write whose
/// outcome its client does not know yet.
constexpr std::uint32_t kMaxOutstandingWrites = 4096;
constexpr std::uint32_t kNoLimit = UINT32_MAX;  ///< limit of a range search without one
constexpr std::size_t kMaxErrorText = 1024;     ///< bytes of text of an error answer
/// Every connection carries messages of at least this length, so that every request but a batch,
/// and at least one element of any answer, fits into one.
constexpr std::size_t kMinMessageBytes = 256;

/// Begins every message.
struct Header {
  MessageType type;
  std::uint8_t flags;
  std::uint16_t code;  ///< in an answer: 0, or an ErrorCode with text behind AnswerHeader
  std::uint32_t request_id;
};

/// A range search: 2-D fits one cache line together with a ring's own header.
template <int D>
struct RangeRequest {
  Header header;
  std::uint32_t limit;  ///< kNoLimit: none
  rtree::Predicate predicate;
  rtree::ResultShape shape;
  std::uint16_t reserved;  ///< 0
  rtree::Box<D> window;
};

/// If `is_bounded`, the greatest distance follows, a double.
template <int D>
struct NearestRequest {
  Header header;
  std::uint32_t k;
  std::uint32_t is_bounded;  ///< 0 or 1
  rtree::Point<D> point;
};

/// Pairs of entries of the connection's collection and another one.
struct JoinRequest {
  Header header;
  std::uint64_t other;  ///< collection_key() of its name
  double within;        ///< rtree::JoinQuery::within
};

/// Followed by `count` ids: whose entries are asked for.
struct GetRequest {
  Header header;
  std::uint32_t count;         ///< 1 to kMaxGetIds
  std::uint32_t with_records;  ///< 0 or 1
};
constexpr std::uint32_t kMaxGetIds = 1024;
/// With no more bytes of records an answer to a kGet with records ends, if it has an entry.
constexpr std::size_t kMaxGetRecordBytes = std::size_t{1} << 20;

using silurus::Operation;
using silurus::OperationKind;

/// Followed by `count` Operations, which become visible in one version, and by the records of those
/// that have one, in their order, with zeros up to a multiple of 8 bytes. An operation that fails
/// (unknown entry, bad box) leaves the others alone.
///
/// Exactly once, after RIFL (Lee et al.: "Implementing Linearizability at Large Scale and Low
/// Latency", SOSP 2015): a client that has an id (ClientHello) numbers its writes 1, 2, 3, ... The
/// outcome of each is remembered beside its effect, and a write that comes again with its number is
/// answered with that. `sequence` - `outstanding` is the lowest number whose outcome the client
/// doesn't know: what is below may be forgotten.
struct WriteRequest {
  Header header;
  std::uint64_t sequence;  ///< 0: not numbered
  std::uint32_t count;
  std::uint32_t outstanding;  ///< less than `sequence` and kMaxOutstandingWrites, or 0
};

/// Followed by `count` rtree::Entry<D>.
struct LoadEntries {
  Header header;
  std::uint32_t count;
  std::uint32_t reserved;  ///< 0
};

struct LoadCommit {
  Header header;
  double fill;            ///< share of a leaf that is filled; 0 for the server's default
  std::uint64_t entries;  ///< how many were sent: checked
};

/// A time that never comes: the newest version kept.
constexpr Moment kNewest = UINT64_MAX;

/// Followed by the search or the kGet, with the same request id, that shall see the tree as it was
/// then.
struct AtRequest {
  Header header;
  Moment moment;
};

/// The server holds the version of that moment for VersionLease::lease_ns, so that the client can
/// walk it by itself; asked again, for as long again. Of one client it holds kMaxVersionLeases at
/// once.
struct HoldRequest {
  Header header;
  Moment moment;
};
/// Old versions that a server holds for one client at once.
constexpr std::size_t kMaxVersionLeases = 8;

enum class TaskKind : std::uint32_t {
  kHistory = 1,  ///< which versions are kept; no text
  kDiff = 2,     ///< what was inserted, erased and moved between two moments; no text
  kBackup = 3,   ///< a copy into the new directory that the text names, on the server's machine
  // How a shard is replaced by others (docs/sharding.md). `from` is a fencing token, or 0 where it
  // says so: a command whose fencing token is below the greatest seen is refused, since another
  // command has taken over. No text.
  kExport = 4,         ///< pins the current version for this connection (from: 0)
  kExportChanges = 5,  ///< then pins the newest one, and lists what has changed since (from: 0)
  kExportPage = 6,     ///< from: 0, `to`: which page of what the last of those two listed; answered
                       ///< with its Operations instead of JSON
  kFill = 7,           ///< from now on only this connection may write
  kFreeze = 8,         ///< refuses writes for `to` nanoseconds; longer if asked again
  kRetire = 9,         ///< refuses reads and writes from now on, if it is frozen
  kServe = 10,         ///< takes reads and writes of all clients again
  kCompact = 11,       ///< one step of a compaction, as a write. `from`: its cursor, 0 to begin
                       ///< with; `to`: how full nodes are made, in 1/10,000, 0 for the default. No
                       ///< text
  // Collections. Text: the name of one; for kRename, kReplace and kNote, a line feed and the new
  // name, or the note, behind it.
  kCollections = 12,  ///< which there are; no text
  kCreate = 13,       ///< `from`: dimensions; `to`: bits of CollectionFlag
  kDrop = 14,
  kClear = 15,    ///< takes all entries out
  kRename = 16,   ///< to a name that no other has
  kReplace = 17,  ///< to a name that another may have, which is dropped at the same moment
  kNote = 18,
};
constexpr TaskKind kLastTaskKind = TaskKind::kNote;

/// Followed by `text_bytes` of text, UTF-8.
struct TaskRequest {
  Header header;
  TaskKind kind;
  std::uint32_t text_bytes;
  Moment from;
  Moment to;
};
constexpr std::size_t kMaxTaskText = 200;  ///< bytes of the text of a task, as the path of a backup

/// Begins every answer. What follows, `count` times, depends on the request:
///  kRange    nothing, ids (u64), or rtree::Entry<D>, by the shape asked for;
///  kNearest  rtree::Neighbor;
///  kJoin     IdPair;
///  kGet      KeyedEntry<D>, in the order asked for; an id of which there is none is left out; with
///            records: bytes, for each of the first ids asked for a GotRecord and the record, with
///            zeros up to a multiple of 8 (kMaxGetRecordBytes);
///  kWrite    FailedOperation, one for each that failed, or replaced an entry;
///  kStats    bytes of JSON; so do kTask (kExportPage apart) and kCluster;
///  kAt       as the search in it;
///  kHold     one VersionLease (and the version in the header);
///  kLoad*    nothing (count: entries in the tree, after kLoadCommit);
///  an error  bytes of text, UTF-8, not terminated.
struct AnswerHeader {
  Header header;
  rtree::Version version;  ///< version of the tree that answered
  std::uint64_t count;     ///< in this segment; a kCount range: the total
};

/// What there is of one id in an answer to a kGet with records.
template <int D>
struct GotRecord {
  silurus::KeyedEntry<D> entry;  ///< in version 0: there is none
  std::uint64_t bytes;           ///< in its record; 0: it has none
};
/// Bytes that something of that length takes where what follows is aligned.
constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

struct VersionLease {
  std::uint64_t root;  ///< NodeRef::word()
  std::uint64_t lease_ns;
};

struct FailedOperation {
  std::uint32_t index;  ///< in the request
  std::uint32_t code;   ///< an ErrorCode, or kReplaced
};
/// Code of a kPut that has not failed, and has found an entry of its id.
constexpr std::uint32_t kReplaced = 0;

/// What a collection is, beside its dimensions: decided when it is created.
enum CollectionFlag : std::uint32_t {
  kKeyed = 1,        ///< an id is unique in it
  kLonLat = 2,       ///< coordinates are degrees of longitude and latitude
  kWithRecords = 4,  ///< an entry may carry a record
};

/// By what the default collection is asked for.
constexpr std::uint64_t kDefaultCollection = 0;
/// By what a collection of that name is asked for: FNV-1a of 64 bits (Fowler, Noll and Vo, RFC
/// 9923), since a name has no room where a client says hello. Two collections of a server never
/// have the same.
constexpr std::uint64_t collection_key(std::string_view name) {
  if (name.empty() || name == "default") return kDefaultCollection;
  std::uint64_t key = 0xcbf29ce484222325;
  for (const char byte : name) key = (key ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return key != kDefaultCollection ? key : 1;
}

/// What a client says of itself when connecting.
struct ClientHello {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t dimensions = 0;  ///< 0: whatever the server has
  std::uint32_t reserved = 0;
  std::uint64_t client = 0;  ///< random, the same on all its connections; 0: without a name
  /// The collection that all requests of the connection are for (collection_key()).
  std::uint64_t collection = kDefaultCollection;
};

/// What the server says: all that a client needs to send requests and to walk the tree.
struct ServerHello {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t dimensions = 0;
  std::uint32_t node_format = 0;   ///< rtree::kNodeFormat: layout, fanouts, chunk size
  std::uint64_t instance = 0;      ///< random: a restarted server is another one
  std::uint64_t grace_ns = 0;      ///< time lease of one-sided reads
  std::uint64_t heartbeat_ns = 0;  ///< interval of heartbeats to active clients
  std::uint32_t chunk_bytes = 0;
  std::uint32_t chunks_per_region = 0;  ///< node in chunk c: region c / this
  std::uint32_t max_batch = 0;          ///< operations in one WriteRequest
  std::uint32_t one_sided = 0;          ///< 1 if regions are exposed on this connection
  std::uint64_t root_offset = 0;        ///< where the tree's rtree::RootBlock lies; 64-byte aligned
  std::uint64_t collection = 0;         ///< number of the tree: RootBlock::owner says twice this
  std::uint32_t root_region = 0;        ///< region in which that RootBlock lies
  std::uint32_t collection_flags = 0;   ///< bits of CollectionFlag
  std::uint64_t epoch =
      0;  ///< epoch of the group's view, at least 1 in any; 0: not a group, no leases
};

/// The mailbox that the server keeps at each active client (DESIGN: heartbeats).
struct Heartbeat {
  std::uint64_t sequence;            ///< 1, 2, 3, ...
  rtree::Version version;            ///< published
  std::uint32_t cpu_busy_permyriad;  ///< busy workers since the last heartbeat: 10,000 = all
  std::uint32_t queued;              ///< requests seen waiting at the last sweep
  std::uint64_t lease_ns;      ///< time from its sending on, in which what this member publishes
                               ///< is the newest there is; kNoEnd: for ever; 0: it may not be
  std::uint64_t staleness_ns;  ///< when sent, `version` had been superseded for no longer than
                               ///< this; kNoEnd: not known
  std::uint64_t epoch;         ///< epoch of the group's view; 0: not a group
  std::uint64_t received;  ///< messages of this connection, when it was sent: so a client knows at
                           ///< what time on its own clock, at the earliest, its lease began
};
constexpr std::uint64_t kNoEnd = UINT64_MAX;

// Nothing padded, nothing of a size that a compiler chooses.
static_assert(sizeof(Header) == 8 && sizeof(RangeRequest<2>) == 48 &&
              sizeof(RangeRequest<3>) == 64);
static_assert(sizeof(NearestRequest<2>) == 32 && sizeof(Operation<2>) == 80);
static_assert(sizeof(WriteRequest) == 24 && sizeof(LoadEntries) == 16 && sizeof(LoadCommit) == 24);
static_assert(sizeof(JoinRequest) == 24 && sizeof(IdPair) == 16 && sizeof(GetRequest) == 16);
static_assert(sizeof(HoldRequest) == 16 && sizeof(VersionLease) == 16);
static_assert(sizeof(AtRequest) == 16 && sizeof(TaskRequest) == 32 &&
              sizeof(TaskRequest) + kMaxTaskText <= kMinMessageBytes &&
              sizeof(AtRequest) + sizeof(RangeRequest<3>) <= kMinMessageBytes &&
              sizeof(NearestRequest<3>) + sizeof(double) <= sizeof(RangeRequest<3>));
static_assert(sizeof(AnswerHeader) == 24 && sizeof(FailedOperation) == 8);
static_assert(sizeof(ClientHello) == 32 && sizeof(ServerHello) == 88 && sizeof(Heartbeat) == 56);
static_assert(sizeof(AnswerHeader) + sizeof(silurus::KeyedEntry<3>) <= kMinMessageBytes &&
              sizeof(WriteRequest) + sizeof(Operation<3>) <= kMinMessageBytes &&
              sizeof(RangeRequest<3>) <= kMinMessageBytes);
static_assert(sizeof(rtree::Entry<2>) == 40 && sizeof(rtree::Neighbor) == 16);
static_assert(std::has_unique_object_representations_v<Header> &&
              std::has_unique_object_representations_v<AnswerHeader> &&
              std::has_unique_object_representations_v<ServerHello>);
static_assert(sizeof(ClientHello) <= transport::kMaxClientHelloBytes &&
              sizeof(ServerHello) <= transport::kMaxHelloBytes &&
              sizeof(Heartbeat) <= transport::kMailboxBytes);

}  // namespace silurus::protocol
