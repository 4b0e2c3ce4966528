// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <vector>

#include "common/random.h"
#include "replication/log.h"
#include "tests/support/crash_memory.h"
#include "tests/support/seed.h"

// A log that follows another one and takes back what that one does not have, through power failures
// and killed processes.

namespace silurus::replication {
namespace {

using testing_support::CrashMemory;
using testing_support::Power;

/// The log that is followed, which loses no power, and the lives of the one that follows.
class FollowedLog {
 public:
  explicit FollowedLog(std::uint64_t seed) : random_(seed), steady_(1, UINT64_MAX) {
    auto opened = Log::open(std::make_unique<CrashMemory>(steady_, leading_), kStart);
    SILURUS_CHECK(opened.has_value());
    leader_ = std::move(*opened);
    ends_.push_back(kStart);
  }

  void run(int lives) {
    for (int life = 0; life < lives && !testing::Test::HasFatalFailure(); ++life) {
      const auto kind =
          random_.below(3) == 0 ? Power::Failure::kProcessDies : Power::Failure::kPowerCut;
      Power power(random_(), random_.below(300), kind);
      live(power);
      CrashMemory::end_life(power, following_);
    }
  }

 private:
  static constexpr LogPosition kStart{.lsn = 0, .chain = 0x77};
  static constexpr std::size_t kRing = 4 * Log::kMinBytes;

  void live(Power& power) {
    auto opened = Log::open(std::make_unique<CrashMemory>(power, following_), kStart);
    if (!opened) {
      ASSERT_TRUE(power.is_off()) << opened.error().message;
      return;
    }
    Log& log = **opened;
    const Lsn found = log.end().lsn;
    ASSERT_GE(found, durable_) << "what was durable is lost";
    fall_in_step(log);
    while (!power.is_off() && !testing::Test::HasFatalFailure()) {
      if (!write()) return;
      if (random_.below(3) == 0) copy(log, power);
      if (random_.below(3) == 0 && log.commit()) durable_ = log.end().lsn;
      if (random_.below(10) == 0) fork(log, power);
    }
  }

  /// A batch at the leader; false once it is full.
  bool write() {
    for (std::uint64_t i = 0; i <= random_.below(5); ++i) {
      const EntryPayload<2> payload{.id = random_.below(2), .box = {}};
      if (!leader_->append({.checksum = 0,
                            .lsn = 0,
                            .stamp = ++stamp_,
                            .epoch = 1,
                            .length = 0,
                            .type = RecordType::kInsert,
                            .flags = 0},
                           std::as_bytes(std::span(&payload, 1)))) {
        leader_->abandon_batch();
        return false;
      }
    }
    leader_->end_batch();
    ends_.push_back(leader_->end());
    if (random_.below(2) == 0) SILURUS_CHECK(leader_->commit().has_value());
    return true;
  }

  std::span<const std::byte> bytes(Lsn from, Lsn to) const {
    return leader_->bytes().subspan(from, to - from);
  }

  void copy(Log& log, const Power& power) {
    const Lsn from = log.end().lsn;
    const Lsn to = ends_[random_.below(ends_.size())].lsn;
    if (to <= from) return;
    const Status appended = log.append_copied(bytes(from, to));
    if (appended && !power.is_off()) {
      ASSERT_TRUE(std::ranges::equal(log.bytes().first(to), bytes(0, to)));
      durable_ = std::max(durable_, log.durable());
    }
  }

  /// The leader goes on from an earlier batch with other records; the follower finds that out.
  void fork(Log& log, const Power& power) {
    if (random_.below(2) == 0) copy(log, power);
    const std::size_t kept =
        ends_.size() - 1 - random_.below(std::min<std::size_t>(ends_.size(), 8));
    durable_ = std::min(durable_, ends_[kept].lsn);
    SILURUS_CHECK(leader_->truncate(ends_[kept]).has_value());
    ends_.resize(kept + 1);
    write();
    if (!power.is_off()) fall_in_step(log);
  }

  /// Takes back what the leader doesn't have.
  void fall_in_step(Log& log) {
    LogReader own(log.bytes(), kStart);
    LogPosition common = kStart;
    for (const LogPosition& end : ends_) {
      while (own.position().lsn < std::min(end.lsn, log.end().lsn) && own.next()) {
      }
      if (own.position() == end) common = end;
    }
    ASSERT_GE(common.lsn, durable_) << "what both had is lost";
    if (log.end() == common) return;
    if (log.truncate(common)) {
      EXPECT_EQ(log.end(), common);
    }
  }

  Random random_;
  Power steady_;
  CrashMemory::Content leading_ = CrashMemory::fresh(kRing);
  CrashMemory::Content following_ = CrashMemory::fresh(kRing);
  std::unique_ptr<Log> leader_;
  std::vector<LogPosition> ends_;  ///< ends of the leader's batches
  Stamp stamp_ = 0;
  Lsn durable_ = 0;  ///< at the follower, and still at the leader
};

TEST(LogCopyCrash, AFollowingLogKeepsWhatWasDurableAndIsNeverTakenForDamaged) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random seeds(seed);
  for (int machine = 0; machine < 300; ++machine) {
    FollowedLog(seeds()).run(20);
    ASSERT_FALSE(HasFatalFailure()) << "SEED=" << seed << " machine " << machine;
  }
}

/// A batch of records with these ids, flushed or not.
void put_batch(Log& log, std::initializer_list<std::uint64_t> ids, bool flushed) {
  for (const std::uint64_t id : ids) {
    const EntryPayload<2> payload{.id = id, .box = {}};
    ASSERT_TRUE(log.append({.checksum = 0,
                            .lsn = 0,
                            .stamp = 1,
                            .epoch = 1,
                            .length = 0,
                            .type = RecordType::kInsert,
                            .flags = 0},
                           std::as_bytes(std::span(&payload, 1))));
  }
  log.end_batch();
  if (flushed) {
    ASSERT_TRUE(log.commit());
  }
}

/// The first record of a batch that a crash cut short says that all before it was durable. That is
/// no longer true while what is before it is taken back.
TEST(LogCopyCrash, ATornBatchBehindTheEndProvesNoDamageWhileWhatIsBeforeItIsTakenBack) {
  constexpr LogPosition kStart{.lsn = 0, .chain = 0x77};
  constexpr std::uint64_t kRecordBytes = 72;
  CrashMemory::Content torn = CrashMemory::fresh(Log::kMinBytes);
  LogPosition first_end;
  {
    Power power(1, UINT64_MAX);
    const auto log = std::move(*Log::open(std::make_unique<CrashMemory>(power, torn), kStart));
    put_batch(*log, {1}, true);
    first_end = log->end();
    put_batch(*log, {2}, true);
    put_batch(*log, {3, 4}, false);
  }
  // Only the first record of the last batch has reached the medium.
  std::fill_n(torn.image.begin() + 3 * kRecordBytes, kRecordBytes, std::byte{0});
  torn.medium = torn.image;
  std::uint64_t cuts = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    for (std::uint64_t step = 0; step < 100; ++step) {
      CrashMemory::Content content = torn;
      {
        Power power(seed, UINT64_MAX);
        const auto log =
            std::move(*Log::open(std::make_unique<CrashMemory>(power, content), kStart));
        ASSERT_EQ(log->end().lsn, 2 * kRecordBytes);
        ASSERT_EQ(log->found().dropped_records, 1u);
        power.cut_after(step);
        const Status done = log->truncate(first_end);
        if (!power.is_off()) {
          EXPECT_TRUE(done);
          break;
        }
        ++cuts;
        CrashMemory::end_life(power, content);
      }
      Power power(seed, UINT64_MAX);
      const auto again = Log::open(std::make_unique<CrashMemory>(power, content), kStart);
      ASSERT_TRUE(again) << "seed " << seed << " step " << step << ": " << again.error().message;
      EXPECT_TRUE((*again)->end().lsn == kRecordBytes || (*again)->end().lsn == 2 * kRecordBytes);
    }
  }
  EXPECT_GT(cuts, 50u * 4);
}

}  // namespace
}  // namespace silurus::replication
