// SPDX-License-Identifier: Apache-2.0

#include "replication/group/assembler.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::replication::group {
namespace {

constexpr LogPosition kStart{.lsn = 800, .chain = 5};

/// A log of `records` records, every third of which ends a batch.
std::vector<std::byte> make_log(int records) {
  std::vector<std::byte> bytes;
  LogPosition at = kStart;
  for (int i = 0; i < records; ++i) {
    const EntryPayload<2> payload{.id = static_cast<std::uint64_t>(i), .box = {}};
    std::byte record[kMaxRecordBytes];
    const LogPosition next = encode_record(at,
                                           {.checksum = 0,
                                            .lsn = 0,
                                            .stamp = 1,
                                            .epoch = 1,
                                            .length = 0,
                                            .type = RecordType::kInsert,
                                            .flags = i % 3 == 2 ? kBatchEnd : std::uint8_t{0}},
                                           std::as_bytes(std::span(&payload, 1)), record);
    bytes.insert(bytes.end(), record, record + (next.lsn - at.lsn));
    at = next;
  }
  return bytes;
}

TEST(Assembler, PutsPiecesTogetherInWhateverOrderTheyCome) {
  Random random(testing_support::fresh_seed());
  const auto log = make_log(99);
  for (int round = 0; round < 200; ++round) {
    Assembler assembler;
    assembler.begin(kStart);
    std::vector<std::byte> taken;
    std::vector<std::pair<std::size_t, std::size_t>> pieces;
    for (std::size_t at = 0; at < log.size();) {
      const std::size_t bytes = std::min<std::size_t>(8 * (1 + random.below(60)), log.size() - at);
      pieces.emplace_back(at, bytes);
      if (random.below(4) == 0) pieces.emplace_back(at, bytes);
      at += bytes;
    }
    for (std::size_t i = pieces.size(); i > 1; --i)
      std::swap(pieces[i - 1], pieces[random.below(i)]);
    for (const auto& [at, bytes] : pieces) {
      assembler.offer(kStart.lsn + at, std::span(log).subspan(at, bytes));
      const auto whole = assembler.whole();
      taken.insert(taken.end(), whole.begin(), whole.end());
      assembler.take();
      ASSERT_FALSE(assembler.broken());
    }
    EXPECT_EQ(taken, log);
    EXPECT_FALSE(assembler.gap_end());
  }
}

TEST(Assembler, HandsOutNoPartOfABatch) {
  const auto log = make_log(3);
  Assembler assembler;
  assembler.begin(kStart);
  assembler.offer(kStart.lsn, std::span(log).first(log.size() - 8));
  EXPECT_TRUE(assembler.whole().empty());
  assembler.offer(kStart.lsn + log.size() - 8, std::span(log).last(8));
  EXPECT_EQ(assembler.whole().size(), log.size());
}

TEST(Assembler, TakesNothingThatIsNotTheLogThatItFollows) {
  auto log = make_log(6);
  log[100] ^= std::byte{1};
  Assembler assembler;
  assembler.begin(kStart);
  assembler.offer(kStart.lsn, log);
  EXPECT_TRUE(assembler.broken());
  EXPECT_TRUE(assembler.whole().empty());
  Assembler other;
  other.begin({kStart.lsn, kStart.chain + 1});
  other.offer(kStart.lsn, make_log(6));
  EXPECT_TRUE(other.broken());
}

TEST(Assembler, SaysWhereAGapEndsAndHoldsABoundedNumberOfBytes) {
  const auto log = make_log(9);
  Assembler assembler;
  assembler.begin(kStart);
  assembler.offer(kStart.lsn + 160, std::span(log).subspan(160, 80));
  EXPECT_EQ(assembler.gap_end(), kStart.lsn + 160);
  EXPECT_EQ(assembler.received(), kStart.lsn);
  const std::vector<std::byte> large(Assembler::kMaxHeldBytes);
  assembler.offer(kStart.lsn + 1600, large);  // with what is held it would be too much
  assembler.offer(kStart.lsn, std::span(log).first(160));
  EXPECT_EQ(assembler.received(), kStart.lsn + 240);
  EXPECT_FALSE(assembler.gap_end());
}

}  // namespace
}  // namespace silurus::replication::group
