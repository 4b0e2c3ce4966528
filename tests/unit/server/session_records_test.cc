// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "geometry/record.h"
#include "geometry/wkt.h"
#include "server/limits.h"
#include "server/long_request.h"
#include "server/session.h"
#include "tests/unit/server/session_fixture.h"

// Writes that bring records, and requests that are longer than a message.

namespace silurus::server {
namespace {

using protocol::MessageType;
using test::ask_range;
using test::code_of;
using test::insert_of;
using test::Loopback;
using test::SessionTest;
using test::window_of;

using Bytes = std::vector<std::byte>;

constexpr ErrorCode kNoError{};

class SessionRecords : public SessionTest {
 protected:
  SessionRecords() {
    const std::uint64_t flags = replication::kKeyed | replication::kWithRecords;
    Loopback& creator = world_.connect();
    creator.request(sizeof(protocol::TaskRequest) + 1, [&](std::span<std::byte> out) {
      protocol::encode_task(out, 1, protocol::TaskKind::kCreate, 2, flags, "a");
    });
    world_.run();
    SILURUS_CHECK(code_of(creator.receive()) == kNoError);
    client_ = &world_.connect(0, 1u << 20, "a");
  }
  /// A record of that many bytes, 21 at least.
  static std::string record_of(std::size_t bytes) {
    const std::size_t rest = bytes - geometry::kRecordHead - std::string(R"({"t":""})").size();
    return geometry::encode(
               {.geometry = {}, .properties = R"({"t":")" + std::string(rest, 'a') + R"("})"})
        .value();
  }
  /// A write that inserts `id` with that record.
  static Bytes write_with(std::uint32_t request_id, std::uint64_t id, const std::string& record) {
    protocol::Operation<2> operation = insert_of(id);
    operation.record_bytes = static_cast<std::uint32_t>(record.size());
    Bytes out(protocol::write_bytes<2>(1, record.size()));
    protocol::encode_write<2>(out, request_id, request_id, std::span(&operation, 1), 0,
                              std::as_bytes(std::span(record)));
    return out;
  }
  static Bytes write_of(std::uint32_t request_id, std::uint64_t id, std::size_t bytes) {
    return write_with(request_id, id, record_of(bytes));
  }
  void send(std::uint32_t request_id, std::span<const std::byte> part, bool more) {
    Bytes out(sizeof(protocol::Header) + part.size());
    protocol::encode_segment(out, request_id, part, more);
    client_->raw(out);
  }
  std::size_t stored_bytes(std::uint64_t id) {
    const auto collection = world_.shard->collections().find(protocol::collection_key("a"));
    return collection->tree().snapshot().record_bytes(id);
  }

  Loopback* client_ = nullptr;
};

TEST_F(SessionRecords, OfAWriteThatComesInSegmentsAreWritten) {
  const Bytes whole = write_of(5, 1, 10'000);
  const std::span<const std::byte> bytes(whole);
  send(5, bytes.first(40), true);
  send(5, bytes.subspan(40, 7000), true);
  world_.run();
  EXPECT_EQ(client_->waiting(), 0u);
  send(5, bytes.subspan(7040), false);
  world_.run();
  EXPECT_EQ(code_of(client_->receive()), kNoError);
  EXPECT_EQ(stored_bytes(1), 10'000u);
}

TEST_F(SessionRecords, OfAWriteThatWasGivenUpAreForgotten) {
  const Bytes given_up = write_of(5, 1, 3000);
  const Bytes whole = write_of(6, 2, 3000);
  // By another request's segments,
  send(5, std::span(given_up).first(2000), true);
  send(6, std::span(whole).first(1000), true);
  send(6, std::span(whole).subspan(1000), false);
  world_.run();
  EXPECT_EQ(code_of(client_->receive()), kNoError);
  // and by another request.
  send(7, std::span(given_up).first(2000), true);
  ask_range(*client_, 8, {.window = window_of(0, 1000)});
  world_.run();
  EXPECT_EQ(client_->receive().answer.count, 1u);
  const Bytes again = write_of(7, 3, 500);
  send(7, again, false);
  world_.run();
  EXPECT_EQ(code_of(client_->receive()), kNoError);
  EXPECT_EQ(stored_bytes(1), 0u);
  EXPECT_EQ(stored_bytes(2), 3000u);
  EXPECT_EQ(stored_bytes(3), 500u);
}

TEST_F(SessionRecords, ThatDoNotFitTheirOperationsAreRefused) {
  Bytes whole = write_of(5, 1, 3000);
  const std::uint32_t other = 3009;
  std::memcpy(whole.data() + sizeof(protocol::WriteRequest) +
                  offsetof(protocol::Operation<2>, record_bytes),
              &other, sizeof other);
  client_->raw(whole);
  EXPECT_TRUE(client_->closed());
}

TEST_F(SessionRecords, ComeWithInsertsAndPutsAlone) {
  for (const auto kind :
       {protocol::OperationKind::kErase, protocol::OperationKind::kUpdate,
        protocol::OperationKind::kUpdateById, protocol::OperationKind::kEraseById}) {
    Bytes whole = write_of(5, 1, 3000);
    std::memcpy(
        whole.data() + sizeof(protocol::WriteRequest) + offsetof(protocol::Operation<2>, kind),
        &kind, sizeof kind);
    client_->raw(whole);
    world_.run();
    EXPECT_EQ(code_of(client_->receive()), ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(client_->closed());
}

TEST_F(SessionRecords, ThatAreNoneAreRefused) {
  const auto with_geometry = [](const char* wkt) {
    return geometry::encode({.geometry = geometry::read_wkt(wkt).value(), .properties = {}})
        .value();
  };
  const Box<2> box = insert_of(1).box;
  const std::string inside =
      "POINT (" + std::to_string(box.min[0]) + " " + std::to_string(box.min[1]) + ")";
  std::string bad_text = record_of(100);
  bad_text.back() = ']';
  for (const std::string& record : {std::string(50, 'a'), record_of(100).substr(0, 99), bad_text,
                                    with_geometry("POINT (1e9 1)")}) {
    client_->raw(write_with(5, 1, record));
    world_.run();
    EXPECT_EQ(code_of(client_->receive()), ErrorCode::kInvalidArgument);
  }
  client_->raw(write_with(5, 1, with_geometry(inside.c_str())));
  world_.run();
  EXPECT_EQ(code_of(client_->receive()), kNoError);
  EXPECT_FALSE(client_->closed());
}

TEST_F(SessionRecords, SegmentsOfOtherRequestsThanWritesEndTheConnection) {
  Bytes range(sizeof(protocol::RangeRequest<2>));
  protocol::encode_range<2>(range, 5, {.window = window_of(0, 1)});
  send(5, range, false);
  EXPECT_TRUE(client_->closed());
}

TEST_F(SessionRecords, SegmentsOfAnotherRequestIdThanTheirRequestEndTheConnection) {
  send(6, write_of(5, 1, 100), false);
  EXPECT_TRUE(client_->closed());
}

TEST_F(SessionRecords, ARequestThatIsTooLongEndsTheConnection) {
  const Bytes part(1u << 19);
  for (int i = 0; i < 3; ++i) send(5, part, true);
  EXPECT_FALSE(client_->closed());
  send(5, Bytes(1), true);
  EXPECT_TRUE(client_->closed());
}

// --- the request by itself

protocol::SegmentMessage segment_of(std::uint32_t id, std::span<const std::byte> bytes) {
  return {.header = {.type = MessageType::kSegment, .flags = 0, .code = 0, .request_id = id},
          .bytes = bytes};
}

TEST(LongRequest, CountsWhatAllHaveUntilItIsWhole) {
  SegmentedBytes all;
  const Bytes part(1000);
  {
    LongRequest first(all);
    LongRequest second(all);
    ASSERT_TRUE(first.take(segment_of(1, part)));
    ASSERT_TRUE(second.take(segment_of(1, part)));
    EXPECT_EQ(all.taken(), 2000u);
    EXPECT_EQ(first.finish()->size(), 1000u);
    EXPECT_EQ(all.taken(), 1000u);
    ASSERT_TRUE(second.take(segment_of(2, part)));
    EXPECT_EQ(all.taken(), 1000u) << "of another request: the first one's are let go";
  }
  EXPECT_EQ(all.taken(), 0u);
}

TEST(LongRequest, IsRefusedWhereAllHaveTooMuch) {
  SegmentedBytes all;
  ASSERT_TRUE(all.take(kMaxSegmentedBytes - 1500));
  LongRequest request(all);
  const Bytes part(1000);
  ASSERT_TRUE(request.take(segment_of(1, part)));
  ASSERT_TRUE(request.take(segment_of(1, part)));
  ASSERT_TRUE(request.take(segment_of(1, Bytes(10)))) << "the rest is not kept either";
  EXPECT_EQ(all.taken(), kMaxSegmentedBytes - 500);
  const auto refused = request.finish();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(all.taken(), kMaxSegmentedBytes - 1500);
  ASSERT_TRUE(request.take(segment_of(2, part)));
  EXPECT_EQ(request.finish()->size(), 1000u);
}

}  // namespace
}  // namespace silurus::server
