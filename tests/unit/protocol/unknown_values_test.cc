// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "protocol/decode.h"
#include "protocol/encode.h"

// Fields that take few values: each decoder takes the greatest value that it knows, and refuses
// the next one, whatever else the message says.

namespace silurus::protocol {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint32_t kId = 7;
constexpr rtree::Box<2> kBox{{0, 0}, {1, 1}};

Bytes range() {
  Bytes out(sizeof(RangeRequest<2>));
  encode_range<2>(out, kId, {.window = kBox});
  return out;
}
Bytes nearest() {
  Bytes out(sizeof(NearestRequest<2>));
  encode_nearest<2>(out, kId, {.point = {{1, 2}}, .k = 3});
  return out;
}
Bytes write() {
  const std::vector<Operation<2>> operations{{1, OperationKind::kUpdate, 0, kBox, {kBox}}};
  Bytes out(write_bytes<2>(1));
  encode_write<2>(out, kId, 42, operations);
  return out;
}
Bytes load_entries() {
  const std::vector<rtree::Entry<2>> entries{{1, kBox}};
  Bytes out(load_entries_bytes<2>(1));
  encode_load_entries<2>(out, kId, entries);
  return out;
}
Bytes load_commit() {
  Bytes out(sizeof(LoadCommit));
  encode_load_commit(out, kId, 0.5, 10);
  return out;
}
Bytes bare(MessageType type) {
  Bytes out(sizeof(Header));
  encode_bare(out, type, kId);
  return out;
}
Bytes at() {
  const Bytes search = range();
  Bytes out(sizeof(AtRequest) + search.size());
  encode_at(out, kId, 812);
  std::copy(search.begin(), search.end(), out.begin() + sizeof(AtRequest));
  return out;
}
Bytes join() {
  Bytes out(sizeof(JoinRequest));
  encode_join(out, 1, 2, {.within = 3});
  return out;
}
Bytes get() {
  const std::uint64_t ids[] = {7, 8};
  Bytes out(get_bytes(2));
  encode_get(out, kId, ids);
  return out;
}
Bytes segment() {
  Bytes out(sizeof(Header) + 16);
  encode_segment(out, kId, Bytes(16), true);
  return out;
}
Bytes hold() {
  Bytes out(sizeof(HoldRequest));
  encode_hold(out, kId, 812);
  return out;
}
Bytes task() {
  Bytes out(sizeof(TaskRequest));
  encode_task(out, kId, TaskKind::kHistory, 1, 2, {});
  return out;
}
Bytes answer() {
  auto encoder = AnswerEncoder::count({kId, 3}, 5);
  Bytes out(encoder.next_bytes(kMinMessageBytes));
  encoder.encode_next(out);
  return out;
}

template <typename Decoded>
Status status_of(const Decoded& decoded) {
  return decoded ? Status{} : fail(decoded.error());
}
Status decode_operations(const Request& request) {
  const auto decoded = decode_write<2>(request, 64);
  if (!decoded) return fail(decoded.error());
  return check_operation<2>(decoded->operations[0]);
}
Status decode_search_at(const Request& request) {
  const auto decoded = decode_at(request);
  if (!decoded) return fail(decoded.error());
  return status_of(decode_range<2>(decoded->search));
}
/// As a server or client that gets it.
Status decode_by_type(std::span<const std::byte> message) {
  const auto header = decode_header(message);
  if (!header) return fail(header.error());
  const Request request(*header, message);
  switch (header->type) {
    case MessageType::kAnswer:
      return status_of(decode_answer(message));
    case MessageType::kRange:
      return status_of(decode_range<2>(request));
    case MessageType::kNearest:
      return status_of(decode_nearest<2>(request));
    case MessageType::kWrite:
      return decode_operations(request);
    case MessageType::kLoadEntries:
      return status_of(decode_load_entries<2>(request));
    case MessageType::kLoadCommit:
      return status_of(decode_load_commit(request));
    case MessageType::kAt:
      return decode_search_at(request);
    case MessageType::kTask:
      return status_of(decode_task(request));
    case MessageType::kHold:
      return status_of(decode_hold(request));
    case MessageType::kJoin:
      return status_of(decode_join(request));
    case MessageType::kGet:
      return status_of(decode_get(request));
    case MessageType::kSegment:
      return status_of(decode_segment(request));
    default:
      return status_of(decode_bare(request));
  }
}

struct Field {
  std::string what;
  Bytes message;
  std::size_t offset;
  std::size_t bytes;
  std::uint32_t known;
  std::uint32_t unknown;
  ErrorCode refusal = ErrorCode::kProtocol;
};

/// The flags and the code of a request that only reads, or of one that does more.
void add_header(std::vector<Field>& fields, const std::string& what, const Bytes& message,
                std::uint32_t known_flags) {
  const std::uint32_t unknown = known_flags == 0 ? 1 : known_flags << 1;
  fields.push_back({what + ": flags", message, offsetof(Header, flags), 1, known_flags, unknown});
  fields.push_back({what + ": last flag", message, offsetof(Header, flags), 1, known_flags, 128});
  fields.push_back({what + ": code", message, offsetof(Header, code), 2, 0, 1});
}

std::vector<Field> fields_of_headers() {
  std::vector<Field> fields;
  add_header(fields, "range", range(), kAnyMember);
  add_header(fields, "nearest", nearest(), kAnyMember);
  add_header(fields, "write", write(), 0);
  add_header(fields, "load entries", load_entries(), 0);
  add_header(fields, "load commit", load_commit(), 0);
  add_header(fields, "at", at(), kAnyMember);
  add_header(fields, "hold", hold(), kAnyMember);
  add_header(fields, "join", join(), 0);
  add_header(fields, "get", get(), kAnyMember);
  add_header(fields, "segment", segment(), kMore);
  add_header(fields, "task", task(), kAnyMember);
  add_header(fields, "stats", bare(MessageType::kStats), kAnyMember);
  add_header(fields, "cluster", bare(MessageType::kCluster), kAnyMember);
  add_header(fields, "load begin", bare(MessageType::kLoadBegin), 0);
  add_header(fields, "load abort", bare(MessageType::kLoadAbort), 0);
  fields.push_back({"answer: flags", answer(), offsetof(Header, flags), 1, kMore, kMore << 1});
  fields.push_back({"any: type", bare(MessageType::kCluster), offsetof(Header, type), 1,
                    static_cast<std::uint32_t>(MessageType::kCluster),
                    static_cast<std::uint32_t>(kLastMessageType) + 1});
  return fields;
}

std::vector<Field> fields_of_bodies() {
  const std::size_t operation = sizeof(WriteRequest);
  const std::size_t search = sizeof(AtRequest);
  using Range = RangeRequest<2>;
  using Write = Operation<2>;
  return {
      {"range: predicate", range(), offsetof(Range, predicate), 1, 2, 3},
      {"range: shape", range(), offsetof(Range, shape), 1, 2, 3},
      {"range: reserved", range(), offsetof(Range, reserved), 2, 0, 1},
      {"nearest: is bounded", nearest(), offsetof(NearestRequest<2>, is_bounded), 4, 0, 2},
      {"operation: kind", write(), operation + offsetof(Write, kind), 4, 2,
       static_cast<std::uint32_t>(kLastOperationKind) + 1, ErrorCode::kInvalidArgument},
      {"operation: record that is not there", write(), operation + offsetof(Write, record_bytes), 4,
       0, 1},
      {"get: with records", get(), offsetof(GetRequest, with_records), 4, 1, 2},
      {"load entries: reserved", load_entries(), offsetof(LoadEntries, reserved), 4, 0, 1},
      {"at: type of its search", at(), search + offsetof(Header, type), 1, 1, 3},
      {"at: flags of its search", at(), search + offsetof(Header, flags), 1, kAnyMember, 4},
      {"at: predicate of its search", at(), search + offsetof(Range, predicate), 1, 2, 3},
      {"task: kind", task(), offsetof(TaskRequest, kind), 4,
       static_cast<std::uint32_t>(kLastTaskKind), static_cast<std::uint32_t>(kLastTaskKind) + 1},
      {"task: no kind", task(), offsetof(TaskRequest, kind), 4, 1, 0},
  };
}

void expect_refusals(const std::vector<Field>& fields) {
  for (const Field& field : fields) {
    Bytes message = field.message;
    std::memcpy(message.data() + field.offset, &field.known, field.bytes);
    const Status taken = decode_by_type(message);
    EXPECT_TRUE(taken) << field.what << ": " << taken.error().message;
    std::memcpy(message.data() + field.offset, &field.unknown, field.bytes);
    const Status refused = decode_by_type(message);
    ASSERT_FALSE(refused) << field.what << " " << field.unknown;
    EXPECT_EQ(refused.error().code, field.refusal) << field.what;
  }
}

TEST(UnknownValues, OfHeadersAreRefused) { expect_refusals(fields_of_headers()); }

TEST(UnknownValues, OfBodiesAreRefused) { expect_refusals(fields_of_bodies()); }

}  // namespace
}  // namespace silurus::protocol
