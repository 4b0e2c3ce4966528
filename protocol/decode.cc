// SPDX-License-Identifier: Apache-2.0

#include "protocol/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/units.h"

namespace silurus::protocol {
namespace {

tl::unexpected<Error> broken(std::string message) {
  return fail(ErrorCode::kProtocol, std::move(message));
}

std::string_view name(MessageType type) {
  switch (type) {
    case MessageType::kAnswer:
      return "answer";
    case MessageType::kRange:
      return "range";
    case MessageType::kNearest:
      return "nearest";
    case MessageType::kWrite:
      return "write";
    case MessageType::kStats:
      return "stats";
    case MessageType::kLoadBegin:
      return "load-begin";
    case MessageType::kLoadEntries:
      return "load-entries";
    case MessageType::kLoadCommit:
      return "load-commit";
    case MessageType::kLoadAbort:
      return "load-abort";
    case MessageType::kAt:
      return "at";
    case MessageType::kTask:
      return "task";
    case MessageType::kHold:
      return "hold";
    case MessageType::kCluster:
      return "cluster";
    case MessageType::kJoin:
      return "join";
    case MessageType::kGet:
      return "get";
    case MessageType::kSegment:
      return "segment";
  }
  return "unknown";
}

tl::unexpected<Error> wrong_length(MessageType type, std::size_t is, std::size_t should) {
  return broken(std::string(name(type)) + " message of " + std::to_string(is) +
                " bytes; it should have " + std::to_string(should));
}

/// Copies a fixed struct from the front of a message, if it is long enough.
template <typename T>
bool copy_front(std::span<const std::byte> message, T& out) {
  if (message.size() < sizeof(T)) return false;
  std::memcpy(static_cast<void*>(&out), message.data(), sizeof(T));
  return true;
}

/// Whether a request only reads: any member of a group might answer it.
bool reads(MessageType type) {
  switch (type) {
    case MessageType::kRange:
    case MessageType::kNearest:
    case MessageType::kStats:
    case MessageType::kAt:
    case MessageType::kTask:
    case MessageType::kHold:
    case MessageType::kCluster:
    case MessageType::kGet:
      return true;
    default:
      return false;
  }
}

/// What holds for every request's header.
Status check_request_header(const Header& header, MessageType type) {
  if (header.type != type) {
    return broken("message of type " + std::to_string(static_cast<unsigned>(header.type)) +
                  " where " + std::string(name(type)) + " was expected");
  }
  const std::uint8_t known = reads(type) ? kAnyMember : type == MessageType::kSegment ? kMore : 0;
  if ((header.flags & ~known) != 0 || header.code != 0) {
    return broken(std::string(name(type)) + " request with flags " + std::to_string(header.flags) +
                  " and code " + std::to_string(header.code) + "; flags may be " +
                  std::to_string(known) + ", the code must be 0");
  }
  return {};
}

/// The fixed part of a request of that type, which is longer than that only if it `may_go_on`.
template <typename T>
Result<T> decode_fixed(const Request& request, MessageType type, bool may_go_on = false) {
  static_assert(offsetof(T, header) == 0);
  const std::size_t size = request.bytes.size();
  if (size < sizeof(T) || (size != sizeof(T) && !may_go_on)) {
    return wrong_length(type, size, sizeof(T));
  }
  if (auto ok = check_request_header(request.header, type); !ok) return fail(ok.error());
  T fixed;
  std::memcpy(static_cast<void*>(&fixed), request.bytes.data(), sizeof(T));
  fixed.header = request.header;
  return fixed;
}

/// A message that is a T followed by T::count elements, at least one, and by more if it
/// `may_go_on`.
template <typename T, typename Element>
Result<std::pair<T, Array<Element>>> decode_counted(const Request& request, MessageType type,
                                                    std::uint32_t max_count,
                                                    bool may_go_on = false) {
  const auto fixed = decode_fixed<T>(request, type, true);
  if (!fixed) return fail(fixed.error());
  if constexpr (requires { fixed->reserved; }) {
    if (fixed->reserved != 0) return broken(std::string(name(type)) + ": reserved field is not 0");
  }
  if (fixed->count == 0) return broken(std::string(name(type)) + " request of no elements");
  if (fixed->count > max_count) {
    return fail(ErrorCode::kTooLarge, std::string(name(type)) + " request of " +
                                          std::to_string(fixed->count) +
                                          " elements; the limit is " + std::to_string(max_count));
  }
  const std::size_t should = sizeof(T) + std::size_t{fixed->count} * sizeof(Element);
  const std::size_t is = request.bytes.size();
  if (is < should || (is > should && !may_go_on)) return wrong_length(type, is, should);
  return std::pair{
      *fixed, Array<Element>(request.bytes.subspan(sizeof(T), should - sizeof(T)), fixed->count)};
}

Status check_identity(std::string_view who, std::uint32_t magic, std::uint32_t version) {
  if (magic != kMagic) {
    return broken("the " + std::string(who) + " does not speak the protocol of Silurus");
  }
  if (version != kVersion) {
    return fail(ErrorCode::kUnsupported,
                "the " + std::string(who) + " speaks version " + std::to_string(version) +
                    " of the protocol, this program version " + std::to_string(kVersion) +
                    ": use client and server of the same release");
  }
  return {};
}

}  // namespace

Result<Header> decode_header(std::span<const std::byte> message) {
  Header header;
  if (!copy_front(message, header)) {
    return broken("message of " + std::to_string(message.size()) + " bytes is too short");
  }
  if (static_cast<unsigned>(header.type) > static_cast<unsigned>(kLastMessageType)) {
    return broken("message of unknown type " + std::to_string(static_cast<unsigned>(header.type)));
  }
  return header;
}

template <int D>
Result<RangeMessage<D>> decode_range(const Request& request, bool lonlat) {
  const auto fixed = decode_fixed<RangeRequest<D>>(request, MessageType::kRange);
  if (!fixed) return fail(fixed.error());
  if (fixed->predicate > rtree::Predicate::kContains) {
    return broken("range request with unknown predicate " +
                  std::to_string(static_cast<unsigned>(fixed->predicate)));
  }
  if (fixed->shape > rtree::ResultShape::kEntries) {
    return broken("range request with unknown result shape " +
                  std::to_string(static_cast<unsigned>(fixed->shape)));
  }
  if (fixed->reserved != 0) return broken("range request: reserved field is not 0");
  if (auto ok = rtree::check_coordinates(fixed->window, lonlat, "window"); !ok) {
    return fail(ok.error());
  }
  return RangeMessage<D>{fixed->header,
                         {.window = fixed->window,
                          .predicate = fixed->predicate,
                          .shape = fixed->shape,
                          .limit = fixed->limit == kNoLimit ? UINT64_MAX : fixed->limit,
                          .lonlat = lonlat}};
}

template <int D>
Result<NearestMessage<D>> decode_nearest(const Request& request, bool lonlat) {
  const auto fixed = decode_fixed<NearestRequest<D>>(request, MessageType::kNearest, true);
  if (!fixed) return fail(fixed.error());
  if (fixed->is_bounded > 1) return broken("nearest request: a reserved bit is not 0");
  const std::size_t should = sizeof(NearestRequest<D>) + fixed->is_bounded * sizeof(double);
  const std::size_t size = request.bytes.size();
  if (size != should) return wrong_length(MessageType::kNearest, size, should);
  double max_distance = std::numeric_limits<double>::infinity();
  if (fixed->is_bounded == 1) {
    std::memcpy(&max_distance, request.bytes.data() + sizeof(NearestRequest<D>), sizeof(double));
    // Without a bound no distance follows.
    if (std::isinf(max_distance)) return broken("nearest request with an infinite distance");
  }
  if (auto ok = check_max_distance(max_distance); !ok) return fail(ok.error());
  if (fixed->k == 0) return fail(ErrorCode::kInvalidArgument, "k is 0: it must be at least 1");
  if (auto ok = rtree::check_coordinates(fixed->point, lonlat); !ok) return fail(ok.error());
  return NearestMessage<D>{
      fixed->header,
      {.point = fixed->point, .k = fixed->k, .max_distance = max_distance, .lonlat = lonlat}};
}

Status check_max_distance(double distance) {
  if (distance >= 0) return {};
  return fail(ErrorCode::kInvalidArgument,
              "the greatest distance is " + format_number(distance) + ": it must be at least 0");
}

Status check_record_bytes(std::uint64_t bytes, std::span<const std::byte> records) {
  if (padded(bytes) == records.size()) return {};
  return broken("write with " + std::to_string(records.size()) + " bytes of records where its " +
                "operations have " + std::to_string(bytes));
}

template <int D>
Result<WriteMessage<D>> decode_write(const Request& request, std::uint32_t max_batch) {
  auto decoded =
      decode_counted<WriteRequest, Operation<D>>(request, MessageType::kWrite, max_batch, true);
  if (!decoded) return fail(decoded.error());
  const WriteRequest& fixed = decoded->first;
  const auto records = request.bytes.subspan(sizeof fixed + decoded->second.bytes().size());
  std::uint64_t record_bytes = 0;
  for (std::size_t i = 0; i < decoded->second.size(); ++i) {
    record_bytes += decoded->second[i].record_bytes;
  }
  if (auto ok = check_record_bytes(record_bytes, records); !ok) return fail(ok.error());
  if (fixed.outstanding != 0 && fixed.outstanding >= fixed.sequence) {
    return broken("write " + std::to_string(fixed.sequence) + " of a client of whose writes " +
                  std::to_string(fixed.outstanding) + " before it are outstanding");
  }
  if (fixed.outstanding >= kMaxOutstandingWrites) {
    return fail(ErrorCode::kTooLarge, "a write that is " + std::to_string(fixed.outstanding) +
                                          " ahead of the oldest whose outcome its client doesn't "
                                          "know; the limit is " +
                                          std::to_string(kMaxOutstandingWrites));
  }
  return WriteMessage<D>{fixed.header, fixed.sequence, fixed.sequence - fixed.outstanding,
                         decoded->second, records};
}

Result<SegmentMessage> decode_segment(const Request& request) {
  const std::size_t size = request.bytes.size();
  if (size <= sizeof(Header)) {
    return wrong_length(MessageType::kSegment, size, sizeof(Header) + 1);
  }
  if (auto ok = check_request_header(request.header, MessageType::kSegment); !ok) {
    return fail(ok.error());
  }
  return SegmentMessage{request.header, request.bytes.subspan(sizeof(Header))};
}

Status check_k(std::uint32_t k) {
  if (k >= 1 && k <= kMaxK) return {};
  return fail(k == 0 ? ErrorCode::kInvalidArgument : ErrorCode::kTooLarge,
              "k is " + std::to_string(k) + ": a search finds 1 to " + std::to_string(kMaxK) +
                  " neighbours");
}

template <int D>
Status check_operation(const Operation<D>& operation, bool lonlat) {
  if (operation.kind > kLastOperationKind) {
    return fail(
        ErrorCode::kInvalidArgument,
        "operation of unknown kind " + std::to_string(static_cast<std::uint32_t>(operation.kind)));
  }
  if (operation.record_bytes != 0 && operation.kind != OperationKind::kInsert &&
      operation.kind != OperationKind::kPut) {
    return fail(ErrorCode::kInvalidArgument, "a record comes with an insert or a put alone");
  }
  if (operation.kind == OperationKind::kEraseById) return {};
  if (auto ok = rtree::check_coordinates(operation.box, lonlat); !ok) return ok;
  if (operation.kind != OperationKind::kUpdate) return {};
  return rtree::check_coordinates(operation.to, lonlat, "to");
}

template <int D>
Result<LoadEntriesMessage<D>> decode_load_entries(const Request& request) {
  auto decoded =
      decode_counted<LoadEntries, rtree::Entry<D>>(request, MessageType::kLoadEntries, UINT32_MAX);
  if (!decoded) return fail(decoded.error());
  return LoadEntriesMessage<D>{decoded->first.header, decoded->second};
}

template <int D>
Status append_entries(const Array<rtree::Entry<D>>& from, std::vector<rtree::Entry<D>>& entries,
                      bool lonlat) {
  const std::size_t before = entries.size();
  for (std::size_t i = 0; i < from.size(); ++i) {
    auto& entry = entries.emplace_back(from[i]);
    if (auto ok = rtree::check_coordinates(entry.box, lonlat); !ok) {
      Error error = std::move(ok.error());
      error.message = "entry " + std::to_string(i) + " of the message, id " +
                      std::to_string(entry.id) + ": " + error.message;
      entries.resize(before);
      return fail(std::move(error));
    }
    entry.box = rtree::stored_box(entry.box, lonlat);
  }
  return {};
}

Result<LoadCommit> decode_load_commit(const Request& request) {
  const auto fixed = decode_fixed<LoadCommit>(request, MessageType::kLoadCommit);
  if (!fixed) return fail(fixed.error());
  if (!(fixed->fill >= 0 && fixed->fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "fill is " + format_number(fixed->fill) +
                    ": it must be above 0 and at most 1, or 0 for the server's default");
  }
  return fixed;
}

Result<Header> decode_bare(const Request& request) {
  const MessageType type = request.header.type;
  if (request.bytes.size() != sizeof(Header)) {
    return wrong_length(type, request.bytes.size(), sizeof(Header));
  }
  if (type != MessageType::kStats && type != MessageType::kCluster &&
      type != MessageType::kLoadBegin && type != MessageType::kLoadAbort) {
    return broken(std::string(name(type)) + " message without its content");
  }
  if (auto ok = check_request_header(request.header, type); !ok) return fail(ok.error());
  return request.header;
}

Result<AtMessage> decode_at(const Request& request) {
  const auto fixed = decode_fixed<AtRequest>(request, MessageType::kAt, true);
  if (!fixed) return fail(fixed.error());
  const auto search = request.bytes.subspan(sizeof(AtRequest));
  const auto header = decode_header(search);
  if (!header) return fail(header.error());
  if (header->type != MessageType::kRange && header->type != MessageType::kNearest &&
      header->type != MessageType::kGet) {
    return broken("an at message with a " + std::string(name(header->type)) + " in it");
  }
  if (header->request_id != fixed->header.request_id) {
    return broken("an at message with another request id than the search in it");
  }
  return AtMessage{fixed->header, fixed->moment, Request(*header, search)};
}

Result<JoinMessage> decode_join(const Request& request) {
  const auto fixed = decode_fixed<JoinRequest>(request, MessageType::kJoin);
  if (!fixed) return fail(fixed.error());
  const JoinQuery query{.within = fixed->within};
  if (auto ok = check_join(query); !ok) return fail(ok.error());
  return JoinMessage{fixed->header, fixed->other, query};
}

Status check_join(const JoinQuery& query) {
  if (query.within >= 0 && std::isfinite(query.within)) return {};
  return fail(ErrorCode::kInvalidArgument, "a distance of " + format_number(query.within) +
                                               ": it must be 0 or more, and finite");
}

Result<GetMessage> decode_get(const Request& request) {
  auto decoded = decode_counted<GetRequest, std::uint64_t>(request, MessageType::kGet, kMaxGetIds);
  if (!decoded) return fail(decoded.error());
  if (decoded->first.with_records > 1) return broken("get request: a reserved bit is not 0");
  return GetMessage{decoded->first.header, decoded->first.with_records != 0, decoded->second};
}

Result<HoldRequest> decode_hold(const Request& request) {
  return decode_fixed<HoldRequest>(request, MessageType::kHold);
}

Result<VersionLease> decode_version_lease(const Answer& answer) {
  const auto held = answer_array<VersionLease>(answer);
  if (!held) return fail(held.error());
  if (held->size() != 1 || answer.more()) return broken("an answer of other than one held version");
  const VersionLease version = (*held)[0];
  if (version.root == 0 || version.lease_ns > kMaxHoldLeaseNs) {
    return broken("a held version without a root or without an end");
  }
  return version;
}

Result<TaskMessage> decode_task(const Request& request) {
  const auto fixed = decode_fixed<TaskRequest>(request, MessageType::kTask, true);
  if (!fixed) return fail(fixed.error());
  if (fixed->kind < TaskKind::kHistory || fixed->kind > kLastTaskKind) {
    return broken("task request of unknown kind " +
                  std::to_string(static_cast<unsigned>(fixed->kind)));
  }
  if (fixed->text_bytes > kMaxTaskText) {
    return fail(ErrorCode::kTooLarge, "task request with a text of " +
                                          std::to_string(fixed->text_bytes) +
                                          " bytes; the limit is " + std::to_string(kMaxTaskText));
  }
  const std::size_t should = sizeof(TaskRequest) + fixed->text_bytes;
  if (request.bytes.size() != should)
    return wrong_length(MessageType::kTask, request.bytes.size(), should);
  TaskMessage task{fixed->header, fixed->kind, fixed->from, fixed->to, {}};
  task.text.resize(fixed->text_bytes);
  if (!task.text.empty()) {
    std::memcpy(task.text.data(), request.bytes.data() + sizeof(TaskRequest), task.text.size());
  }
  return task;
}

Result<Answer> decode_answer(std::span<const std::byte> message) {
  AnswerHeader fixed;
  if (!copy_front(message, fixed)) {
    return wrong_length(MessageType::kAnswer, message.size(), sizeof(AnswerHeader));
  }
  if (fixed.header.type != MessageType::kAnswer) {
    return broken("message of type " + std::to_string(static_cast<unsigned>(fixed.header.type)) +
                  " where an answer was expected");
  }
  if ((fixed.header.flags & ~kMore) != 0) {
    return broken("answer with unknown flags " + std::to_string(fixed.header.flags));
  }
  return Answer{fixed.header, fixed.version, fixed.count, message.subspan(sizeof(AnswerHeader))};
}

Error answer_error(const Answer& answer) {
  return error_of_peer(answer.header.code, {reinterpret_cast<const char*>(answer.payload.data()),
                                            answer.payload.size()});
}

Result<ClientHello> decode_client_hello(std::span<const std::byte> bytes,
                                        std::uint32_t dimensions) {
  ClientHello hello;
  if (!copy_front(bytes, hello)) return broken("the client does not speak the protocol of Silurus");
  if (auto ok = check_identity("client", hello.magic, hello.version); !ok) return fail(ok.error());
  if (hello.dimensions != 0 && hello.dimensions != dimensions) {
    return fail(ErrorCode::kUnsupported, "the server's tree has " + std::to_string(dimensions) +
                                             " dimensions, the client wants " +
                                             std::to_string(hello.dimensions));
  }
  return hello;
}

Result<ServerHello> decode_server_hello(std::span<const std::byte> bytes,
                                        std::uint32_t dimensions) {
  ServerHello hello;
  if (!copy_front(bytes, hello)) return broken("the server does not speak the protocol of Silurus");
  if (auto ok = check_identity("server", hello.magic, hello.version); !ok) return fail(ok.error());
  if (hello.dimensions != 2 && hello.dimensions != 3) {
    return broken("the server says that its tree has " + std::to_string(hello.dimensions) +
                  " dimensions");
  }
  if (dimensions != 0 && hello.dimensions != dimensions) {
    return fail(ErrorCode::kUnsupported,
                "the server's tree has " + std::to_string(hello.dimensions) +
                    " dimensions, this client has " + std::to_string(dimensions));
  }
  if (hello.max_batch == 0) return broken("the server says that it takes batches of 0 operations");
  if (hello.one_sided > 1 ||
      (hello.one_sided == 1 &&
       (hello.grace_ns == 0 || hello.chunks_per_region == 0 || hello.chunk_bytes == 0 ||
        hello.chunk_bytes % 64 != 0 || hello.root_offset % 64 != 0))) {
    return broken("the server's hello describes memory that cannot be read: chunks of " +
                  std::to_string(hello.chunk_bytes) + " bytes, " +
                  std::to_string(hello.chunks_per_region) + " in a region, grace period " +
                  std::to_string(hello.grace_ns) + " ns");
  }
  return hello;
}

#define SILURUS_INSTANTIATE(D)                                                                    \
  template Result<RangeMessage<D>> decode_range<D>(const Request&, bool);                         \
  template Result<NearestMessage<D>> decode_nearest<D>(const Request&, bool);                     \
  template Result<WriteMessage<D>> decode_write<D>(const Request&, std::uint32_t);                \
  template Status check_operation<D>(const Operation<D>&, bool);                                  \
  template Result<LoadEntriesMessage<D>> decode_load_entries<D>(const Request&);                  \
  template Status append_entries<D>(const Array<rtree::Entry<D>>&, std::vector<rtree::Entry<D>>&, \
                                    bool);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::protocol
