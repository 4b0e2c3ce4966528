// SPDX-License-Identifier: Apache-2.0

#include "replication/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/support/crash_memory.h"

namespace silurus::replication {
namespace {

using testing_support::CrashMemory;
using testing_support::Power;

constexpr std::size_t kRing = Log::kMinBytes;
constexpr LogPosition kStart{.lsn = 0, .chain = 0x51};

RecordHeader insert_header(Stamp stamp = 1) {
  return {.checksum = 0,
          .lsn = 0,
          .stamp = stamp,
          .epoch = 1,
          .length = 0,
          .type = RecordType::kInsert,
          .flags = 0};
}

class LogTest : public testing::Test {
 protected:
  std::unique_ptr<Log> open(LogPosition start = kStart) {
    auto log = Log::open(std::make_unique<CrashMemory>(power_, content_), start);
    EXPECT_TRUE(log) << log.error().message;
    return log ? std::move(*log) : nullptr;
  }

  static bool append(Log& log, std::uint64_t id, Stamp stamp = 1) {
    const EntryPayload<2> payload{.id = id, .box = {}};
    return log.append(insert_header(stamp), std::as_bytes(std::span(&payload, 1)));
  }

  static std::vector<std::uint64_t> ids(const Log& log, LogPosition from) {
    std::vector<std::uint64_t> found;
    LogReader reader(log.bytes(), from);
    while (reader.position().lsn < log.durable()) {
      const auto record = reader.next();
      if (!record) break;
      if (const auto payload = payload_as<EntryPayload<2>>(*record)) found.push_back(payload->id);
    }
    return found;
  }

  void expect_damage_told_from_a_torn_tail(LogPosition start);

  Power power_{1, UINT64_MAX};
  CrashMemory::Content content_ = CrashMemory::fresh(kRing);
};

TEST_F(LogTest, IsEmptyWhenItsMemoryIsFresh) {
  const auto log = open();
  EXPECT_EQ(log->end(), kStart);
  EXPECT_EQ(log->found().records, 0u);
}

TEST_F(LogTest, GivesBackWhatWasCommitted) {
  {
    const auto log = open();
    ASSERT_TRUE(append(*log, 7) && append(*log, 8));
    log->end_batch();
    ASSERT_TRUE(append(*log, 9));
    log->end_batch();
    ASSERT_TRUE(log->commit());
  }
  const auto log = open();
  EXPECT_EQ(log->found().records, 3u);
  EXPECT_EQ(ids(*log, kStart), (std::vector<std::uint64_t>{7, 8, 9}));
}

TEST_F(LogTest, FlushesOnceForAGroupOfBatches) {
  const auto log = open();
  for (std::uint64_t id = 0; id < 100; ++id) {
    ASSERT_TRUE(append(*log, id));
    log->end_batch();
  }
  ASSERT_TRUE(log->commit());
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(log->flushes(), 1u);
}

TEST_F(LogTest, DropsABatchWhoseEndIsMissing) {
  LogPosition second;
  {
    const auto log = open();
    ASSERT_TRUE(append(*log, 1));
    log->end_batch();
    second = log->end();
    for (std::uint64_t id = 2; id < 5; ++id) ASSERT_TRUE(append(*log, id));
    log->end_batch();
    ASSERT_TRUE(log->commit());
  }
  content_.image[second.lsn + 2 * 72 + 40] ^= std::byte{1};  // in the last record of the second
  const auto log = open();
  EXPECT_EQ(log->found().records, 1u);
  EXPECT_EQ(log->found().dropped_records, 2u);
  EXPECT_EQ(log->end(), second);
}

TEST_F(LogTest, ForgetsAnAbandonedBatch) {
  const auto log = open();
  ASSERT_TRUE(append(*log, 1));
  log->abandon_batch();
  ASSERT_TRUE(append(*log, 2));
  log->end_batch();
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(ids(*log, kStart), std::vector<std::uint64_t>{2});
}

TEST_F(LogTest, SaysThatItIsFullAndOverwritesNothing) {
  const auto log = open();
  std::uint64_t id = 0;
  while (append(*log, id)) {
    log->end_batch();
    ++id;
  }
  EXPECT_FALSE(log->has_room(72));
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(ids(*log, kStart).size(), id);
  EXPECT_GE(id * 72, kRing - Log::kReservedBytes - 72);
}

TEST_F(LogTest, GoesRoundItsRingAsCheckpointsFreeIt) {
  auto log = open();
  LogPosition start = kStart;
  std::uint64_t id = 0;
  for (int lap = 0; lap < 40; ++lap) {
    const std::uint64_t first = id;
    for (int i = 0; i < 300; ++i, ++id) {
      ASSERT_TRUE(append(*log, id));
      log->end_batch();
    }
    ASSERT_TRUE(log->commit());
    log = open(start);
    const auto found = ids(*log, start);
    ASSERT_EQ(found.size(), 300u);
    ASSERT_EQ(found.front(), first);
    start = log->end();
    log->trim(start);
  }
  EXPECT_GT(start.lsn, 12 * kRing);
}

TEST_F(LogTest, KnowsTheEpochOfItsLastRecordThoughThatIsTrimmed) {
  auto log = open();
  EXPECT_EQ(log->last_epoch(), 0u) << "there is none";
  for (std::uint32_t epoch = 1; epoch < 2000; ++epoch) {  // around the ring, at every offset
    RecordHeader header = insert_header();
    header.epoch = epoch;
    const EntryPayload<2> payload{};
    ASSERT_TRUE(log->append(header, std::as_bytes(std::span(&payload, 1))));
    log->end_batch();
    ASSERT_TRUE(log->commit());
    ASSERT_EQ(log->last_epoch(), epoch);
    const LogPosition end = log->end();
    log->trim(end);
    if (epoch % 100 == 0) log = open(end);
    ASSERT_EQ(log->last_epoch(), epoch);
  }
}

TEST_F(LogTest, HasRoomForARestartWhenItIsFull) {
  const auto log = open();
  while (append(*log, 1)) log->end_batch();
  EXPECT_TRUE(log->append_restart(2, 1, 99));
}

TEST_F(LogTest, AcknowledgesNothingAfterItsMemoryFailed) {
  const auto log = open();
  ASSERT_TRUE(append(*log, 1));
  log->end_batch();
  power_.cut();
  EXPECT_FALSE(log->commit());
  EXPECT_FALSE(log->commit());
  EXPECT_EQ(log->durable(), 0u);
}

/// The last three batches of a log, every byte of them damaged or cut off, one after the other:
/// found is always a row of whole batches from the start, and never a damaged one.
TEST_F(LogTest, NeverReturnsADamagedRecordWhateverByteIsHit) {
  constexpr std::uint64_t kBatches = 6;
  LogPosition third_last;
  LogPosition end;
  {
    const auto log = open();
    for (std::uint64_t batch = 0; batch < kBatches; ++batch) {
      if (batch == kBatches - 3) third_last = log->end();
      ASSERT_TRUE(append(*log, 2 * batch) && append(*log, 2 * batch + 1));
      log->end_batch();
    }
    ASSERT_TRUE(log->commit());
    end = log->end();
  }
  const auto whole = content_.image;
  const auto check = [&](Lsn hit) {
    const Log::Tail tail = Log::find_tail(content_.image, kStart);
    const std::uint64_t batch_bytes = 2 * 72;
    EXPECT_EQ(tail.records, hit / batch_bytes * 2) << "byte " << hit;
    EXPECT_EQ(tail.end.lsn, hit / batch_bytes * batch_bytes);
  };
  for (Lsn at = third_last.lsn; at < end.lsn; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      content_.image[at] ^= static_cast<std::byte>(1 << bit);
      check(at);
      content_.image = whole;
    }
    std::fill(content_.image.begin() + static_cast<std::ptrdiff_t>(at), content_.image.end(),
              std::byte{0});
    if (std::memcmp(content_.image.data() + at, whole.data() + at, end.lsn - at) != 0) {
      const auto differs =
          std::mismatch(content_.image.begin(), content_.image.end(), whole.begin());
      check(static_cast<Lsn>(differs.first - content_.image.begin()));
    }
    content_.image = whole;
  }
}

/// Batches of one record, each of them flushed, from `start` on: every bit is hit, and what is torn
/// is told from what is damaged.
void LogTest::expect_damage_told_from_a_torn_tail(LogPosition start) {
  constexpr std::uint64_t kBatches = 8;
  constexpr std::uint64_t kBatchBytes = 72;
  {
    const auto log = open(start);
    for (std::uint64_t batch = 0; batch < kBatches; ++batch) {
      ASSERT_TRUE(append(*log, batch));
      log->end_batch();
      ASSERT_TRUE(log->commit());
    }
  }
  for (std::uint64_t bit = 0; bit < kBatches * kBatchBytes * 8; ++bit) {
    std::byte& hit = content_.image[(start.lsn + bit / 8) % kRing];
    hit ^= static_cast<std::byte>(1 << (bit % 8));
    const std::uint64_t batch = bit / 8 / kBatchBytes;
    const Log::Tail tail = Log::find_tail(content_.image, start);
    EXPECT_EQ(tail.records, batch);
    // Damage to the checksum of the last batch but one cannot be proved: the last one is verified
    // with it.
    const bool hits_last_checksum = batch + 2 == kBatches && bit / 8 % kBatchBytes < 8;
    if (batch + 1 < kBatches && !hits_last_checksum) {
      EXPECT_NE(tail.proof_of_damage, 0u) << "bit " << bit;
    }
    if (batch + 1 == kBatches) {
      EXPECT_EQ(tail.proof_of_damage, 0u) << "bit " << bit;
    }
    hit ^= static_cast<std::byte>(1 << (bit % 8));
  }
}

/// Records that were durable before later ones were written can't have been torn by a crash.
TEST_F(LogTest, TellsDamageFromATornTailWhateverBitIsHit) {
  expect_damage_told_from_a_torn_tail(kStart);
}

TEST_F(LogTest, TellsDamageFromATornTailAcrossTheEndOfItsRing) {
  LogPosition start;
  {
    const auto log = open();
    while (log->end().lsn + 4 * 72 < kRing) {
      ASSERT_TRUE(append(*log, 1));
      log->end_batch();
      ASSERT_TRUE(log->commit());
      log->trim(log->end());
    }
    start = log->end();
  }
  ASSERT_GT(start.lsn + 4 * 72, kRing - 72);
  expect_damage_told_from_a_torn_tail(start);
}

TEST_F(LogTest, ProvesDamageAtTheBeginningOfAFlushOfManyPages) {
  Lsn second = 0;
  {
    const auto log = open();
    while (log->end().lsn < 3 * Log::kReservedBytes) {
      ASSERT_TRUE(append(*log, 1));
      log->end_batch();
    }
    ASSERT_TRUE(log->commit());
    second = log->end().lsn;
    ASSERT_TRUE(append(*log, 2));
    log->end_batch();
    ASSERT_TRUE(log->commit());
  }
  content_.image[40] ^= std::byte{1};
  const Log::Tail tail = Log::find_tail(content_.image, kStart);
  EXPECT_EQ(tail.records, 0u);
  EXPECT_EQ(tail.proof_of_damage, second);
}

TEST_F(LogTest, KnowsRecordsOfTheLargestSize) {
  constexpr std::uint64_t kRecords = 5;
  const std::vector<std::byte> payload(kMaxPayloadBytes, std::byte{7});
  {
    const auto log = open();
    for (std::uint32_t epoch = 1; epoch <= kRecords; ++epoch) {
      RecordHeader header = insert_header();
      header.epoch = epoch;
      ASSERT_TRUE(log->append(header, payload));
      log->end_batch();
      ASSERT_TRUE(log->commit());
      EXPECT_EQ(log->end().lsn, epoch * kMaxRecordBytes);
      EXPECT_EQ(log->last_epoch(), epoch);
    }
  }
  for (std::uint64_t record = 0; record + 1 < kRecords; ++record) {
    std::byte& hit = content_.image[record * kMaxRecordBytes + 100];
    hit ^= std::byte{1};
    const Log::Tail tail = Log::find_tail(content_.image, kStart);
    EXPECT_EQ(tail.records, record);
    EXPECT_EQ(tail.proof_of_damage, (record + 1) * kMaxRecordBytes);
    hit ^= std::byte{1};
  }
}

TEST_F(LogTest, ProvesDamageBeforeABatchThatFollowsAnAbandonedOne) {
  {
    const auto log = open();
    ASSERT_TRUE(append(*log, 1));
    log->end_batch();
    ASSERT_TRUE(log->commit());
    ASSERT_TRUE(append(*log, 2));
    log->abandon_batch();
    ASSERT_TRUE(append(*log, 3));
    log->end_batch();
    ASSERT_TRUE(log->commit());
  }
  content_.image[40] ^= std::byte{1};
  EXPECT_EQ(Log::find_tail(content_.image, kStart).proof_of_damage, 72u);
}

TEST_F(LogTest, ABatchDuringWhichOlderOnesWereFlushedMayBeTornAnywhere) {
  {
    const auto log = open();
    ASSERT_TRUE(append(*log, 1));
    log->end_batch();
    ASSERT_TRUE(append(*log, 2));
    ASSERT_TRUE(log->commit());  // commits the batch before
    ASSERT_TRUE(append(*log, 3));
    log->end_batch();
  }
  // The first record of that batch did not reach the medium whole, the second one did.
  std::fill_n(content_.image.begin() + 72 + 32, 8, std::byte{0});
  const auto log = open();
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->found().records, 1u);
  EXPECT_EQ(log->found().proof_of_damage, 0u);
  EXPECT_EQ(ids(*log, kStart), std::vector<std::uint64_t>{1});
}

TEST_F(LogTest, DoesNotOpenDamaged) {
  {
    const auto log = open();
    for (std::uint64_t id = 0; id < 4; ++id) {
      ASSERT_TRUE(append(*log, id));
      log->end_batch();
      ASSERT_TRUE(log->commit());
    }
  }
  content_.image[72 + 40] ^= std::byte{1};
  const auto refused = Log::open(std::make_unique<CrashMemory>(power_, content_), kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kProtocol);
}

}  // namespace
}  // namespace silurus::replication
