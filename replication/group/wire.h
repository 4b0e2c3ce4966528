// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "replication/group/view.h"
#include "replication/record.h"
#include "transport/fabric.h"

// What members of a group send each other: little-endian, no padding. One format for datagrams and
// for messages over connections, so that a fabric without multicast carries the same bytes.

namespace silurus::replication::group {

/// Names a cluster's shard among all that share a network: a hash of its name. Seeds every
/// checksum, so that what is another group's, or no group's, is never believed.
using GroupId = std::uint64_t;
/// Number of the group that is a shard of a cluster.
GroupId group_id(std::string_view cluster, std::uint32_t shard);

constexpr std::uint32_t kGroupMagic = 0x474c4953;  // "SILG"
constexpr std::uint32_t kGroupFormat = 5;

enum class Kind : std::uint8_t {
  kLog = 1,      ///< primary to all: LogBody, then bytes of the log; without any, a heartbeat
  kRow = 2,      ///< to the primary: RowBody, the member's row of the shared state
  kFetch = 3,    ///< to the primary: FetchBody
  kFetched = 4,  ///< back: FetchBody, then bytes of the log
  kProbe = 5,    ///< to the primary: ProbeBody
  kProbed = 6,   ///< back, from a primary that may read: ProbeBody
};

/// Flag of a row: the sender's log is the primary's, as far as it goes.
constexpr std::uint8_t kInStep = 1;
/// Flag of a row: the sender restarted in this very view, and may have left it in its last life.
constexpr std::uint8_t kReturned = 8;
/// Flag of a row that is not kInStep: the sender copies the tree of another member.
constexpr std::uint8_t kCopies = 16;
/// Flag of kFetched: what was asked for is not in the log any more.
constexpr std::uint8_t kTrimmed = 2;
/// Flag of kFetched: the log does not reach so far; it ends at the body's LSN.
constexpr std::uint8_t kBeyond = 4;

/// Begins every message.
struct Envelope {
  std::uint64_t checksum;  ///< XXH3-64 of all that follows, seeded with the group's id
  MemberId sender;
  Incarnation incarnation;  ///< the sender's incarnation
  Epoch epoch;
  std::uint16_t length;  ///< bytes of the whole message
  Kind kind;
  std::uint8_t flags;
};

struct LogBody {
  Lsn lsn;                  ///< LSN of the bytes that follow
  Lsn end;                  ///< end of the primary's log
  std::uint64_t end_chain;  ///< the chain there (LogPosition)
  Lsn commit;               ///< before it, all is committed: where that is says the view's Ack
  std::uint64_t heartbeat;  ///< counts the primary's heartbeats: the newest one's number
};

/// How far a member is with the copy of a bulk load's tree.
struct LoadRow {
  /// The first chunk that the member's tree has never used (rtree::Tree::unused_chunk).
  std::uint64_t unused_chunk = 0;
  std::uint64_t load = 0;   ///< the newest one that was offered (LoadPayload::id); 0: none
  std::uint64_t nodes = 0;  ///< copied so far
  /// kLoadIsWhole: copied, and durable; kLoadFailed + an ErrorCode: it has given up; 0: neither.
  std::uint64_t outcome = 0;
};
constexpr std::uint64_t kLoadIsWhole = 1;
constexpr std::uint64_t kLoadFailed = 2;

/// What one member holds. Written by it alone, read by the primary.
struct RowBody {
  Lsn received;  ///< without a gap; in no order with what is not kInStep
  Lsn durable;
  Lsn applied;  ///< not kInStep: from where on it will need the log
  /// Where it knows the primary's log to end; of a member that kCopies: how many nodes it has.
  std::uint64_t known;
  std::uint64_t promised;  ///< number of the last heartbeat that it has given its promise for
  LoadRow load = {};
};

struct FetchBody {
  Lsn lsn;
  std::uint64_t bytes;  ///< asked for; of an answer: those that follow
};

/// Asks what is committed by now. So a member learns how old, at most, what it has applied is, on
/// its own clock alone: nothing that was committed before it asked is missing in the answer.
struct ProbeBody {
  std::uint64_t number;  ///< counts the member's probes
  Lsn committed;         ///< what the answerer knows to be committed
};

/// What a member says when it connects to another one.
struct MemberHello {
  std::uint32_t magic = kGroupMagic;
  std::uint32_t format = kGroupFormat;
  GroupId group = 0;
  MemberId member = 0;
  Incarnation incarnation = 0;
};

/// What that one answers.
struct WindowHello {
  MemberHello self;
  std::uint64_t window_bytes = 0;  ///< size of its region 0, the newest part of its log; 0: none
};

static_assert(sizeof(Envelope) == 32 && sizeof(LogBody) == 40 && sizeof(RowBody) == 72 &&
              sizeof(FetchBody) == 16 && sizeof(ProbeBody) == 16 && sizeof(MemberHello) == 32 &&
              sizeof(WindowHello) == 40);
static_assert(std::has_unique_object_representations_v<Envelope> &&
              std::has_unique_object_representations_v<LogBody> &&
              std::has_unique_object_representations_v<MemberHello>);
static_assert(sizeof(MemberHello) <= transport::kMaxClientHelloBytes &&
              sizeof(WindowHello) <= transport::kMaxHelloBytes);

/// No message is longer, whatever the fabric takes: one datagram of an Ethernet's jumbo frame.
constexpr std::size_t kMaxGroupMessageBytes = 4096;
constexpr std::size_t kLogOverheadBytes = sizeof(Envelope) + sizeof(LogBody);
static_assert(kMaxGroupMessageBytes <= UINT16_MAX && kLogOverheadBytes + kMaxRecordBytes < 1024);

/// A message that was checked: the checksum, its length, its kind. The payload lies in the bytes
/// that it was decoded from.
template <typename Body>
struct Message {
  Envelope envelope;
  Body body;
  std::span<const std::byte> payload;
};

/// The kind of a message and whose it is, if it is whole and of this group.
std::optional<Envelope> decode_envelope(GroupId group, std::span<const std::byte> message);
/// The rest, for an envelope that was decoded; nothing if it does not fit its kind: too short, with
/// a payload where none belongs, positions that cannot be.
std::optional<Message<LogBody>> decode_log(const Envelope& envelope,
                                           std::span<const std::byte> message);
std::optional<Message<RowBody>> decode_row(const Envelope& envelope,
                                           std::span<const std::byte> message);
/// kFetch and kFetched.
std::optional<Message<FetchBody>> decode_fetch(const Envelope& envelope,
                                               std::span<const std::byte> message);

/// kProbe and kProbed.
std::optional<Message<ProbeBody>> decode_probe(const Envelope& envelope,
                                               std::span<const std::byte> message);

/// Writes a message into `to`, which has room for it, and returns its length. Of the envelope,
/// checksum and length are filled in here.
std::size_t encode_message(GroupId group, Envelope envelope, std::span<const std::byte> body,
                           std::span<const std::byte> payload, std::span<std::byte> to);

std::optional<MemberHello> decode_member_hello(GroupId group, std::span<const std::byte> hello,
                                               std::uint32_t magic = kGroupMagic);
std::optional<WindowHello> decode_window_hello(GroupId group, std::span<const std::byte> hello);

}  // namespace silurus::replication::group
