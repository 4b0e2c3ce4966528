// SPDX-License-Identifier: Apache-2.0

#include "replication/record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace silurus::replication {
namespace {

constexpr LogPosition kAt{.lsn = 4096, .chain = 77};

RecordHeader header_of(RecordType type, std::uint8_t flags = 0) {
  return {
      .checksum = 0, .lsn = 0, .stamp = 9, .epoch = 3, .length = 0, .type = type, .flags = flags};
}

struct Encoded {
  std::vector<std::byte> bytes = std::vector<std::byte>(kMaxRecordBytes);
  LogPosition end;
};

Encoded encode_insert() {
  const EntryPayload<2> payload{.id = 5, .box = {{1, 2}, {3, 4}}};
  Encoded encoded;
  encoded.end = encode_record(kAt, header_of(RecordType::kInsert, kBatchEnd),
                              std::as_bytes(std::span(&payload, 1)), encoded.bytes);
  return encoded;
}

TEST(Record, ComesBackAsItWasEncoded) {
  const Encoded encoded = encode_insert();
  const auto record = decode_record(kAt, encoded.bytes);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->header.type, RecordType::kInsert);
  EXPECT_EQ(record->header.stamp, 9u);
  EXPECT_EQ(record->header.epoch, 3u);
  EXPECT_EQ(record->header.flags, kBatchEnd);
  EXPECT_EQ(after(*record), encoded.end);
  const auto payload = payload_as<EntryPayload<2>>(*record);
  ASSERT_TRUE(payload);
  EXPECT_EQ(payload->id, 5u);
  EXPECT_EQ(payload->box, (rtree::Box<2>{{1, 2}, {3, 4}}));
}

TEST(Record, TakesAtMostNinetySixBytesForAnInsert) {
  EXPECT_LE(encode_insert().end.lsn - kAt.lsn, 96u);
}

TEST(Record, LooksTheSameOnEveryMachine) {
  const Encoded encoded = encode_insert();
  std::string hex;
  for (std::size_t i = 0; i < 48; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", static_cast<unsigned>(encoded.bytes[i]));
    hex += text;
  }
  EXPECT_EQ(hex.substr(16),  // behind the checksum
            "0010000000000000"
            "0900000000000000"  // lsn, stamp
            "03000000"
            "2800"
            "01"
            "01"  // epoch, length, type, flags
            "0500000000000000"
            "000000000000f03f");  // id, box.min[0]
}

TEST(Record, IsRefusedWithAnyBitFlipped) {
  Encoded encoded = encode_insert();
  const std::size_t size = encoded.end.lsn - kAt.lsn;
  for (std::size_t bit = 0; bit < size * 8; ++bit) {
    encoded.bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_record(kAt, encoded.bytes)) << "bit " << bit;
    encoded.bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
  EXPECT_TRUE(decode_record(kAt, encoded.bytes));
}

TEST(Record, IsRefusedCutShortAnywhere) {
  const Encoded encoded = encode_insert();
  const std::size_t size = encoded.end.lsn - kAt.lsn;
  for (std::size_t length = 0; length < size; ++length) {
    EXPECT_FALSE(decode_record(kAt, std::span(encoded.bytes).first(length))) << length;
  }
  EXPECT_TRUE(decode_record(kAt, std::span(encoded.bytes).first(size)));
}

TEST(Record, IsRefusedAtAnotherPlaceOrBehindAnotherRecord) {
  const Encoded encoded = encode_insert();
  EXPECT_FALSE(decode_record({kAt.lsn + 8, kAt.chain}, encoded.bytes));
  EXPECT_FALSE(decode_record({kAt.lsn, kAt.chain + 1}, encoded.bytes));
}

TEST(Record, OfAnotherDimensionHasNoPayloadOfThisOne) {
  const Encoded encoded = encode_insert();
  const auto record = decode_record(kAt, encoded.bytes);
  ASSERT_TRUE(record);
  EXPECT_FALSE(payload_as<EntryPayload<3>>(*record));
  EXPECT_FALSE(payload_as<UpdatePayload<2>>(*record));
}

}  // namespace
}  // namespace silurus::replication
