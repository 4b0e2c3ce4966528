// SPDX-License-Identifier: Apache-2.0

#include "replication/group/wire.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::replication::group {
namespace {

constexpr GroupId kGroup = 77;

Envelope envelope(Kind kind, std::uint8_t flags = 0) {
  return {.checksum = 0,
          .sender = 3,
          .incarnation = 4,
          .epoch = 5,
          .length = 0,
          .kind = kind,
          .flags = flags};
}

template <typename Body>
std::vector<std::byte> encode(const Envelope& head, const Body& body, std::size_t payload = 0) {
  std::vector<std::byte> bytes(kMaxGroupMessageBytes);
  const std::vector<std::byte> content(payload, std::byte{9});
  bytes.resize(encode_message(kGroup, head, std::as_bytes(std::span(&body, 1)), content, bytes));
  return bytes;
}

constexpr LogBody kLog{.lsn = 64, .end = 256, .end_chain = 1, .commit = 8, .heartbeat = 2};

TEST(GroupWire, GivesBackWhatWasEncoded) {
  const auto bytes = encode(envelope(Kind::kLog), kLog, 128);
  const auto head = decode_envelope(kGroup, bytes);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->sender, 3u);
  EXPECT_EQ(head->epoch, 5u);
  const auto log = decode_log(*head, bytes);
  ASSERT_TRUE(log);
  EXPECT_EQ(std::memcmp(&log->body, &kLog, sizeof kLog), 0);
  EXPECT_EQ(log->payload.size(), 128u);
  EXPECT_FALSE(decode_row(*head, bytes));
  EXPECT_FALSE(decode_fetch(*head, bytes));
}

TEST(GroupWire, BelievesNoOtherGroupsMessages) {
  EXPECT_FALSE(decode_envelope(kGroup + 1, encode(envelope(Kind::kLog), kLog)));
}

TEST(GroupWire, BelievesNoDamagedOrShortenedMessage) {
  Random random(testing_support::fresh_seed());
  const auto good = encode(envelope(Kind::kLog), kLog, 64);
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_FALSE(decode_envelope(kGroup, std::span(good).first(bytes)));
  }
  for (int i = 0; i < 10000; ++i) {
    auto bad = good;
    bad[random.below(bad.size())] ^= static_cast<std::byte>(1 + random.below(255));
    EXPECT_FALSE(decode_envelope(kGroup, bad));
  }
}

template <typename Body>
bool is_taken(const Envelope& head, const Body& body, std::size_t payload = 0) {
  const auto bytes = encode(head, body, payload);
  const auto decoded = decode_envelope(kGroup, bytes);
  return decoded && (decode_log(*decoded, bytes) || decode_row(*decoded, bytes) ||
                     decode_fetch(*decoded, bytes));
}

TEST(GroupWire, RefusesPositionsThatCannotBe) {
  LogBody body = kLog;
  EXPECT_TRUE(is_taken(envelope(Kind::kLog), body));
  body.commit = body.end + 8;
  EXPECT_FALSE(is_taken(envelope(Kind::kLog), body)) << "more is committed than there is";
  body = kLog;
  EXPECT_FALSE(is_taken(envelope(Kind::kLog), body, 200)) << "bytes behind the end";
  EXPECT_FALSE(is_taken(envelope(Kind::kLog), body, 12)) << "part of a word";
  body.lsn = UINT64_MAX - 7;
  EXPECT_FALSE(is_taken(envelope(Kind::kLog), body, 64)) << "an overflow";
  RowBody row{.received = 16, .durable = 8, .applied = 8, .known = 24, .promised = 1};
  EXPECT_TRUE(is_taken(envelope(Kind::kRow, kInStep), row));
  row.durable = 24;
  EXPECT_FALSE(is_taken(envelope(Kind::kRow), row)) << "more is durable than was received";
  EXPECT_FALSE(is_taken(envelope(Kind::kRow, 128), RowBody{})) << "an unknown flag";
  const RowBody copier{.received = 0, .durable = 0, .applied = 0, .known = 7, .promised = 1};
  EXPECT_TRUE(is_taken(envelope(Kind::kRow, kCopies), copier));
  EXPECT_FALSE(is_taken(envelope(Kind::kRow, kCopies | kInStep), RowBody{}))
      << "who is in step copies nothing";
  EXPECT_FALSE(is_taken(envelope(Kind::kRow), RowBody{}, 8)) << "a payload where none belongs";
  EXPECT_FALSE(is_taken(envelope(Kind::kFetch), FetchBody{.lsn = 8, .bytes = 0}));
  EXPECT_FALSE(is_taken(envelope(Kind::kFetched), FetchBody{.lsn = 8, .bytes = 16}, 8));
  EXPECT_FALSE(is_taken(envelope(static_cast<Kind>(9)), kLog)) << "an unknown kind";
}

TEST(GroupWire, ChecksHellos) {
  MemberHello hello{.group = kGroup, .member = 1, .incarnation = 2};
  const auto bytes = [&] { return std::as_bytes(std::span(&hello, 1)); };
  EXPECT_TRUE(decode_member_hello(kGroup, bytes()));
  EXPECT_FALSE(decode_member_hello(kGroup + 1, bytes()));
  EXPECT_FALSE(decode_member_hello(kGroup, bytes().first(31)));
  hello.format = kGroupFormat + 1;
  EXPECT_FALSE(decode_member_hello(kGroup, bytes()));
}

}  // namespace
}  // namespace silurus::replication::group
