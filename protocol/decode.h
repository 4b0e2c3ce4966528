// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "common/check.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "rtree/lonlat.h"

// Checks messages before anyone believes them. The bytes lie in a ring that the peer can still
// write, so every function here copies the fixed part first and then checks the copy; what varies
// in length is handed out as an Array, which copies one element at a time. No code reads a byte
// twice.
//
// Two kinds of refusal: kProtocol and kTooLarge say that the peer doesn't keep to the format (close
// the connection); kInvalidArgument says that a well-formed message asks for nonsense, such as a
// NaN (answer with the error). All functions are pure; any thread.

namespace silurus::protocol {

/// Elements in memory that the peer may still change: reading one copies it.
template <typename T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Array() = default;
  /// `bytes`: exactly count * sizeof(T) of them.
  Array(std::span<const std::byte> bytes, std::size_t count) : bytes_(bytes), count_(count) {
    SILURUS_CHECK(bytes.size() == count * sizeof(T));
  }

  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  T operator[](std::size_t i) const {
    SILURUS_CHECK(i < count_);
    T value;
    std::memcpy(static_cast<void*>(&value), bytes_.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t count_ = 0;
};

/// The header that every message begins with; refuses messages too short for one and unknown types.
/// Says nothing of what follows.
Result<Header> decode_header(std::span<const std::byte> message);

// --- requests, as the server sees them ----------------------------------------------------------

/// A message with its header, which is read once: what follows is decoded by that copy, whatever
/// the peer makes of the bytes meanwhile.
struct Request {
  Request(const Header& decoded, std::span<const std::byte> message)
      : header(decoded), bytes(message) {}
  /// A message whose header was not looked at. What is too short for one is refused by its length.
  template <typename Bytes>
  requires std::is_convertible_v<const Bytes&, std::span<const std::byte>> Request(
      const Bytes& message)  // NOLINT: implicit, a message is a request
      : header{}, bytes(message) {
    if (bytes.size() >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
  }
  /// Whether any member of a group may answer it.
  bool takes_any_member() const { return (header.flags & kAnyMember) != 0; }

  Header header;
  std::span<const std::byte> bytes;  ///< the bytes of all of the message
};

template <int D>
struct RangeMessage {
  Header header;
  rtree::RangeQuery<D> query;  ///< checked: can be given to a cursor
};
/// `lonlat`: the collection is of degrees.
template <int D>
Result<RangeMessage<D>> decode_range(const Request& request, bool lonlat = false);

template <int D>
struct NearestMessage {
  Header header;
  rtree::NearestQuery<D> query;  ///< checked: k >= 1, the point finite
};
template <int D>
Result<NearestMessage<D>> decode_nearest(const Request& request, bool lonlat = false);
/// Why a greatest distance makes no sense.
Status check_max_distance(double distance);

template <int D>
struct WriteMessage {
  Header header;
  std::uint64_t sequence;
  std::uint64_t oldest;            ///< sequence whose outcome the client doesn't know
  Array<Operation<D>> operations;  ///< 1 .. max_batch; each still to be checked (check_operation)
  /// The records of those that have one, one behind the other, with zeros up to a multiple of 8. A
  /// peer may change the operations meanwhile: check_record_bytes() is due of copies.
  std::span<const std::byte> records;
};
template <int D>
Result<WriteMessage<D>> decode_write(const Request& request, std::uint32_t max_batch);

/// Whether operations whose records have that many bytes in all fit the records that there are.
Status check_record_bytes(std::uint64_t bytes, std::span<const std::byte> records);

struct SegmentMessage {
  Header header;
  std::span<const std::byte> bytes;  ///< at least 1
  bool more() const { return (header.flags & kMore) != 0; }
};
Result<SegmentMessage> decode_segment(const Request& request);

struct GetMessage {
  Header header;
  bool with_records;
  Array<std::uint64_t> ids;  ///< 1 .. kMaxGetIds
};
Result<GetMessage> decode_get(const Request& request);

/// How many neighbours a search asks for: 1 to kMaxK.
Status check_k(std::uint32_t k);

/// Kind known, boxes finite and not inverted, or boxes of degrees. A bad operation fails alone.
template <int D>
Status check_operation(const Operation<D>& operation, bool lonlat = false);

template <int D>
struct LoadEntriesMessage {
  Header header;
  Array<rtree::Entry<D>> entries;  ///< at least 1; each still to be checked (append_entries)
};
template <int D>
Result<LoadEntriesMessage<D>> decode_load_entries(const Request& request);

/// Copies the entries to the end of `entries`, boxes of degrees as a tree holds them. At the first
/// bad box (named by its place in the message) nothing of the message stays in it.
template <int D>
Status append_entries(const Array<rtree::Entry<D>>& from, std::vector<rtree::Entry<D>>& entries,
                      bool lonlat = false);

/// fill is 0 or in (0, 1].
Result<LoadCommit> decode_load_commit(const Request& request);

/// A request that is a Header and nothing more: kStats, kCluster, kLoadBegin, kLoadAbort.
Result<Header> decode_bare(const Request& request);

struct AtMessage {
  Header header;
  Moment moment;
  Request search;  ///< a kRange, kNearest or kGet, still to be decoded
};
Result<AtMessage> decode_at(const Request& request);

struct JoinMessage {
  Header header;
  std::uint64_t other;  ///< collection_key(), perhaps of none that there is
  JoinQuery query;      ///< checked
};
Result<JoinMessage> decode_join(const Request& request);
/// Whether the distance is one.
Status check_join(const JoinQuery& query);

Result<HoldRequest> decode_hold(const Request& request);

struct TaskMessage {
  Header header;
  TaskKind kind;
  Moment from;
  Moment to;
  std::string text;
};
Result<TaskMessage> decode_task(const Request& request);

// --- answers, as the client sees them -----------------------------------------------------------

/// One segment of an answer.
struct Answer {
  Header header;
  rtree::Version version;
  std::uint64_t count;
  std::span<const std::byte> payload;  ///< untrusted, and of any length

  bool more() const { return (header.flags & kMore) != 0; }
  bool is_error() const { return header.code != 0; }
};
Result<Answer> decode_answer(std::span<const std::byte> message);

/// The payload as `answer.count` elements; refuses a length that doesn't fit.
template <typename T>
Result<Array<T>> answer_array(const Answer& answer) {
  // Divide, don't multiply: a count from the wire may be anything.
  if (answer.payload.size() % sizeof(T) != 0 || answer.payload.size() / sizeof(T) != answer.count) {
    return fail(ErrorCode::kProtocol, "answer says " + std::to_string(answer.count) +
                                          " elements of " + std::to_string(sizeof(T)) +
                                          " bytes but carries " +
                                          std::to_string(answer.payload.size()) + " bytes");
  }
  return Array<T>(answer.payload, static_cast<std::size_t>(answer.count));
}

/// A version that the server says it holds: has a root, and an end.
Result<VersionLease> decode_version_lease(const Answer& answer);
constexpr std::uint64_t kMaxHoldLeaseNs = std::uint64_t{3600} * 1'000'000'000;

/// The Error that an error answer carries. The code is one that this build knows (else kProtocol);
/// unprintable bytes of the text become '?'.
Error answer_error(const Answer& answer);

// --- hellos ------------------------------------------------------------------------------------

/// What a server checks: magic, version, and that the client wants `dimensions` or doesn't care.
Result<ClientHello> decode_client_hello(std::span<const std::byte> hello, std::uint32_t dimensions);

/// What a client checks: magic, version, dimensions as wanted (0: 2 or 3), plausible sizes.
Result<ServerHello> decode_server_hello(std::span<const std::byte> hello, std::uint32_t dimensions);

}  // namespace silurus::protocol
