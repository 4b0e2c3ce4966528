// SPDX-License-Identifier: Apache-2.0

#include "protocol/encode.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"

namespace silurus::protocol {
namespace {

Header request_header(MessageType type, std::uint32_t request_id, std::uint8_t flags = 0) {
  return {.type = type, .flags = flags, .code = 0, .request_id = request_id};
}

template <typename T>
std::size_t put(std::span<std::byte> out, std::size_t at, const T* values, std::size_t count = 1) {
  const std::size_t bytes = count * sizeof(T);
  SILURUS_CHECK(at + bytes <= out.size());
  if (bytes != 0) std::memcpy(out.data() + at, values, bytes);
  return at + bytes;
}

}  // namespace

template <int D>
std::size_t encode_range(std::span<std::byte> out, std::uint32_t request_id,
                         const rtree::RangeQuery<D>& query, std::uint8_t flags) {
  const RangeRequest<D> request{
      .header = request_header(MessageType::kRange, request_id, flags),
      .limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(query.limit, kNoLimit)),
      .predicate = query.predicate,
      .shape = query.shape,
      .reserved = 0,
      .window = query.window};
  return put(out, 0, &request);
}

template <int D>
std::size_t encode_nearest(std::span<std::byte> out, std::uint32_t request_id,
                           const rtree::NearestQuery<D>& query, std::uint8_t flags) {
  const NearestRequest<D> request{
      .header = request_header(MessageType::kNearest, request_id, flags),
      .k = query.k,
      .is_bounded = nearest_bytes(query) > sizeof(NearestRequest<D>) ? 1u : 0u,
      .point = query.point};
  return put(out, put(out, 0, &request), &query.max_distance, request.is_bounded);
}

std::size_t encode_get(std::span<std::byte> out, std::uint32_t request_id,
                       std::span<const std::uint64_t> ids, std::uint8_t flags, bool with_records) {
  const GetRequest request{.header = request_header(MessageType::kGet, request_id, flags),
                           .count = static_cast<std::uint32_t>(ids.size()),
                           .with_records = with_records ? 1u : 0u};
  return put(out, put(out, 0, &request), ids.data(), ids.size());
}

std::size_t encode_join(std::span<std::byte> out, std::uint32_t request_id, std::uint64_t other,
                        const JoinQuery& query) {
  const JoinRequest request{.header = request_header(MessageType::kJoin, request_id),
                            .other = other,
                            .within = query.within};
  return put(out, 0, &request);
}

template <int D>
std::size_t encode_write(std::span<std::byte> out, std::uint32_t request_id, std::uint64_t sequence,
                         std::span<const Operation<D>> operations, std::uint32_t outstanding,
                         std::span<const std::byte> records) {
  const WriteRequest request{.header = request_header(MessageType::kWrite, request_id),
                             .sequence = sequence,
                             .count = static_cast<std::uint32_t>(operations.size()),
                             .outstanding = outstanding};
  std::size_t at = put(out, put(out, 0, &request), operations.data(), operations.size());
  at = put(out, at, records.data(), records.size());
  constexpr std::byte kZeros[8] = {};
  return put(out, at, kZeros, padded(records.size()) - records.size());
}

std::size_t encode_segment(std::span<std::byte> out, std::uint32_t request_id,
                           std::span<const std::byte> part, bool more) {
  const Header header =
      request_header(MessageType::kSegment, request_id, more ? kMore : std::uint8_t{0});
  return put(out, put(out, 0, &header), part.data(), part.size());
}

template <int D>
std::size_t encode_load_entries(std::span<std::byte> out, std::uint32_t request_id,
                                std::span<const rtree::Entry<D>> entries) {
  const LoadEntries request{.header = request_header(MessageType::kLoadEntries, request_id),
                            .count = static_cast<std::uint32_t>(entries.size()),
                            .reserved = 0};
  return put(out, put(out, 0, &request), entries.data(), entries.size());
}

std::size_t encode_load_commit(std::span<std::byte> out, std::uint32_t request_id, double fill,
                               std::uint64_t entries) {
  const LoadCommit request{.header = request_header(MessageType::kLoadCommit, request_id),
                           .fill = fill,
                           .entries = entries};
  return put(out, 0, &request);
}

std::size_t encode_bare(std::span<std::byte> out, MessageType type, std::uint32_t request_id,
                        std::uint8_t flags) {
  const Header header = request_header(type, request_id, flags);
  return put(out, 0, &header);
}

std::size_t encode_at(std::span<std::byte> out, std::uint32_t request_id, Moment moment,
                      std::uint8_t flags) {
  const AtRequest request{.header = request_header(MessageType::kAt, request_id, flags),
                          .moment = moment};
  return put(out, 0, &request);
}

std::size_t encode_hold(std::span<std::byte> out, std::uint32_t request_id, Moment moment,
                        std::uint8_t flags) {
  const HoldRequest request{.header = request_header(MessageType::kHold, request_id, flags),
                            .moment = moment};
  return put(out, 0, &request);
}

std::size_t encode_task(std::span<std::byte> out, std::uint32_t request_id, TaskKind kind,
                        Moment from, Moment to, std::string_view text, std::uint8_t flags) {
  const TaskRequest request{.header = request_header(MessageType::kTask, request_id, flags),
                            .kind = kind,
                            .text_bytes = static_cast<std::uint32_t>(text.size()),
                            .from = from,
                            .to = to};
  return put(out, put(out, 0, &request), text.data(), text.size());
}

AnswerEncoder::AnswerEncoder(AnswerTo to, std::uint16_t code, std::uint64_t count,
                             const void* first, std::uint32_t first_bytes, const void* second,
                             std::uint32_t second_bytes)
    : to_(to),
      first_(static_cast<const std::byte*>(first)),
      second_(static_cast<const std::byte*>(second)),
      first_bytes_(first_bytes),
      second_bytes_(second_bytes),
      count_(count),
      code_(code),
      done_(false) {}

AnswerEncoder AnswerEncoder::count(AnswerTo to, std::uint64_t count) {
  return {to, 0, count, nullptr, 0};
}

template <int D>
AnswerEncoder AnswerEncoder::range(AnswerTo to, rtree::ResultShape shape,
                                   const rtree::RangeResult<D>& result) {
  if (shape == rtree::ResultShape::kCount) return count(to, result.count);
  SILURUS_CHECK(result.ids.size() == result.count);
  if (shape == rtree::ResultShape::kIds) {
    return {to, 0, result.count, result.ids.data(), sizeof(std::uint64_t)};
  }
  // An Entry is an id and a box with nothing between them: the two arrays are woven together.
  static_assert(sizeof(rtree::Entry<D>) == sizeof(std::uint64_t) + sizeof(rtree::Box<D>));
  SILURUS_CHECK(result.boxes.size() == result.count);
  return {to,
          0,
          result.count,
          result.ids.data(),
          sizeof(std::uint64_t),
          result.boxes.data(),
          sizeof(rtree::Box<D>)};
}

AnswerEncoder AnswerEncoder::nearest(AnswerTo to, std::span<const rtree::Neighbor> neighbors) {
  return {to, 0, neighbors.size(), neighbors.data(), sizeof(rtree::Neighbor)};
}

AnswerEncoder AnswerEncoder::join(AnswerTo to, std::span<const IdPair> pairs) {
  return {to, 0, pairs.size(), pairs.data(), sizeof(IdPair)};
}

AnswerEncoder AnswerEncoder::write(AnswerTo to, std::span<const FailedOperation> failed) {
  return {to, 0, failed.size(), failed.data(), sizeof(FailedOperation)};
}

AnswerEncoder AnswerEncoder::held(AnswerTo to, const VersionLease& held) {
  return {to, 0, 1, &held, sizeof(VersionLease)};
}

AnswerEncoder AnswerEncoder::text(AnswerTo to, std::string_view text) {
  return {to, 0, text.size(), text.data(), 1};
}

AnswerEncoder AnswerEncoder::error(AnswerTo to, const Error& error) {
  return {to, static_cast<std::uint16_t>(error.code), std::min(error.message.size(), kMaxErrorText),
          error.message.data(), 1};
}

std::size_t AnswerEncoder::next_bytes(std::size_t max_message_bytes) const {
  SILURUS_CHECK(!done_ && max_message_bytes >= kMinMessageBytes);
  if (element_bytes() == 0) return sizeof(AnswerHeader);
  const std::uint64_t fit = (max_message_bytes - sizeof(AnswerHeader)) / element_bytes();
  return sizeof(AnswerHeader) +
         static_cast<std::size_t>(std::min(fit, count_ - sent_)) * element_bytes();
}

void AnswerEncoder::encode_next(std::span<std::byte> out) {
  SILURUS_CHECK(!done_ && out.size() >= sizeof(AnswerHeader));
  AnswerHeader fixed{.header = {.type = MessageType::kAnswer,
                                .flags = 0,
                                .code = code_,
                                .request_id = to_.request_id},
                     .version = to_.version,
                     .count = count_};
  if (element_bytes() == 0) {
    done_ = true;
  } else {
    fixed.count = (out.size() - sizeof(AnswerHeader)) / element_bytes();
    done_ = sent_ + fixed.count >= count_;
    if (!done_) fixed.header.flags = kMore;
  }
  std::size_t at = put(out, 0, &fixed);
  if (element_bytes() == 0) return;
  if (second_bytes_ == 0) {
    put(out, at, first_ + sent_ * first_bytes_, fixed.count * first_bytes_);
  } else {
    for (std::uint64_t i = sent_; i < sent_ + fixed.count; ++i) {
      at = put(out, at, first_ + i * first_bytes_, first_bytes_);
      at = put(out, at, second_ + i * second_bytes_, second_bytes_);
    }
  }
  sent_ += fixed.count;
}

#define SILURUS_INSTANTIATE(D)                                                             \
  template std::size_t encode_range<D>(std::span<std::byte>, std::uint32_t,                \
                                       const rtree::RangeQuery<D>&, std::uint8_t);         \
  template std::size_t encode_nearest<D>(std::span<std::byte>, std::uint32_t,              \
                                         const rtree::NearestQuery<D>&, std::uint8_t);     \
  template std::size_t encode_write<D>(std::span<std::byte>, std::uint32_t, std::uint64_t, \
                                       std::span<const Operation<D>>, std::uint32_t,       \
                                       std::span<const std::byte>);                        \
  template std::size_t encode_load_entries<D>(std::span<std::byte>, std::uint32_t,         \
                                              std::span<const rtree::Entry<D>>);           \
  template AnswerEncoder AnswerEncoder::range<D>(AnswerTo, rtree::ResultShape,             \
                                                 const rtree::RangeResult<D>&);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::protocol
