// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"

// Writes messages in place, into what Connection::reserve() gave. Requests have a size that is
// known beforehand; answers are cut into segments by AnswerEncoder.

namespace silurus::protocol {

/// `flags` of requests that read: 0 or kAnyMember.
///
/// Each writes one request into the front of `out` and returns its bytes; `out` must have room
/// (sizeof of the request, or *_bytes() below). The content must have been checked by the caller.
template <int D>
std::size_t encode_range(std::span<std::byte> out, std::uint32_t request_id,
                         const rtree::RangeQuery<D>& query, std::uint8_t flags = 0);
template <int D>
std::size_t nearest_bytes(const rtree::NearestQuery<D>& query) {
  const bool is_bounded = query.max_distance < std::numeric_limits<double>::infinity();
  return sizeof(NearestRequest<D>) + (is_bounded ? sizeof(double) : 0);
}
template <int D>
std::size_t encode_nearest(std::span<std::byte> out, std::uint32_t request_id,
                           const rtree::NearestQuery<D>& query, std::uint8_t flags = 0);
std::size_t encode_get(std::span<std::byte> out, std::uint32_t request_id,
                       std::span<const std::uint64_t> ids, std::uint8_t flags = 0,
                       bool with_records = false);
constexpr std::size_t get_bytes(std::size_t ids) {
  return sizeof(GetRequest) + ids * sizeof(std::uint64_t);
}
std::size_t encode_join(std::span<std::byte> out, std::uint32_t request_id, std::uint64_t other,
                        const JoinQuery& query);
/// `outstanding`: how far the oldest write whose outcome isn't known lies before this one.
/// `records`: those of the operations that have one, one behind the other.
template <int D>
std::size_t encode_write(std::span<std::byte> out, std::uint32_t request_id, std::uint64_t sequence,
                         std::span<const Operation<D>> operations, std::uint32_t outstanding = 0,
                         std::span<const std::byte> records = {});
/// A part of a request, which begins at the front of it.
std::size_t encode_segment(std::span<std::byte> out, std::uint32_t request_id,
                           std::span<const std::byte> part, bool more);
template <int D>
std::size_t encode_load_entries(std::span<std::byte> out, std::uint32_t request_id,
                                std::span<const rtree::Entry<D>> entries);
std::size_t encode_load_commit(std::span<std::byte> out, std::uint32_t request_id, double fill,
                               std::uint64_t entries);
/// kStats, kCluster, kLoadBegin, kLoadAbort.
std::size_t encode_bare(std::span<std::byte> out, MessageType type, std::uint32_t request_id,
                        std::uint8_t flags = 0);

/// The front of a search at a moment; the search follows (encode_range, encode_nearest).
/// The flags count here; those of the search in it are 0.
std::size_t encode_at(std::span<std::byte> out, std::uint32_t request_id, Moment moment,
                      std::uint8_t flags = 0);
std::size_t encode_hold(std::span<std::byte> out, std::uint32_t request_id, Moment moment,
                        std::uint8_t flags = 0);
std::size_t encode_task(std::span<std::byte> out, std::uint32_t request_id, TaskKind kind,
                        Moment from, Moment to, std::string_view text, std::uint8_t flags = 0);

template <int D>
constexpr std::size_t write_bytes(std::size_t operations, std::size_t record_bytes = 0) {
  return sizeof(WriteRequest) + operations * sizeof(Operation<D>) + padded(record_bytes);
}
template <int D>
constexpr std::size_t load_entries_bytes(std::size_t entries) {
  return sizeof(LoadEntries) + entries * sizeof(rtree::Entry<D>);
}

/// Whom an answer goes to and which version of the tree it speaks of.
struct AnswerTo {
  std::uint32_t request_id;
  rtree::Version version;
};

/// One answer, cut into messages no longer than a connection allows. Refers to the result that it
/// was made of, which must stay as it is until done(). Copyable; can stop and go on between any
/// two segments, so that a full ring is no problem:
///
///   while (!answer.done()) {
///     auto room = connection.reserve(answer.next_bytes(max_message_bytes));
///     if (room.empty()) return;  // again after on_writable
///     answer.encode_next(room);
///     connection.commit(room.size());
///   }
class AnswerEncoder {
 public:
  /// Done from the start.
  AnswerEncoder() = default;

  /// Nothing but a count: of a kCount range, of the tree after a load.
  static AnswerEncoder count(AnswerTo to, std::uint64_t count);
  /// What the query's shape asks for.
  template <int D>
  static AnswerEncoder range(AnswerTo to, rtree::ResultShape shape,
                             const rtree::RangeResult<D>& result);
  static AnswerEncoder nearest(AnswerTo to, std::span<const rtree::Neighbor> neighbors);
  template <int D>
  static AnswerEncoder get(AnswerTo to, std::span<const KeyedEntry<D>> entries) {
    return {to, 0, entries.size(), entries.data(), sizeof(KeyedEntry<D>)};
  }
  static AnswerEncoder join(AnswerTo to, std::span<const IdPair> pairs);
  static AnswerEncoder write(AnswerTo to, std::span<const FailedOperation> failed);
  static AnswerEncoder held(AnswerTo to, const VersionLease& held);
  /// Text, or other bytes.
  static AnswerEncoder text(AnswerTo to, std::string_view text);
  /// Cut to kMaxErrorText bytes.
  static AnswerEncoder error(AnswerTo to, const Error& error);

  bool done() const { return done_; }
  /// Whether a message of it was encoded.
  bool started() const { return done_ || sent_ != 0; }
  /// Bytes of the next message if none may be longer than `max_message_bytes` (at least
  /// kMinMessageBytes). Not after done().
  std::size_t next_bytes(std::size_t max_message_bytes) const;
  /// Writes the next message: exactly out.size() bytes, as next_bytes() said.
  void encode_next(std::span<std::byte> out);

 private:
  /// Elements are the concatenation of one of `first` and, if second_bytes isn't 0, of `second`.
  AnswerEncoder(AnswerTo to, std::uint16_t code, std::uint64_t count, const void* first,
                std::uint32_t first_bytes, const void* second = nullptr,
                std::uint32_t second_bytes = 0);
  std::size_t element_bytes() const { return first_bytes_ + second_bytes_; }

  AnswerTo to_{};
  const std::byte* first_ = nullptr;
  const std::byte* second_ = nullptr;
  std::uint32_t first_bytes_ = 0;
  std::uint32_t second_bytes_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t sent_ = 0;
  std::uint16_t code_ = 0;
  bool done_ = true;
};

}  // namespace silurus::protocol
