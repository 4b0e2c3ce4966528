// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <vector>

#include "common/random.h"
#include "replication/log.h"
#include "tests/support/crash_memory.h"
#include "tests/support/seed.h"

// The log against a model, through tens of thousands of power failures and killed processes.

namespace silurus::replication {
namespace {

using testing_support::CrashMemory;
using testing_support::Power;

/// What was written, in order: (id, stamp) of each record, batch by batch.
struct Batch {
  std::vector<std::uint64_t> ids;
  Lsn end = 0;
};

/// One machine over several lives. Between them the power fails, or only the process dies.
class LogLives {
 public:
  explicit LogLives(std::uint64_t seed)
      : random_(seed), max_records_(1 + random_.below(8)), ids_(1 + random_.below(3)) {}

  void run(int lives) {
    for (int life = 0; life < lives && !testing::Test::HasFatalFailure(); ++life) {
      Power power(random_(), random_.below(400), kind());
      live(power);
      CrashMemory::end_life(power, content_);
    }
  }

 private:
  Power::Failure kind() {
    return random_.below(3) == 0 ? Power::Failure::kProcessDies : Power::Failure::kPowerCut;
  }

  void live(Power& power) {
    auto opened = Log::open(std::make_unique<CrashMemory>(power, content_), start_);
    if (!opened) {
      ASSERT_TRUE(power.is_off());
      return;
    }
    Log& log = **opened;
    compare(log);
    if (testing::Test::HasFatalFailure()) return;
    if (!log.append_restart(1, 1, random_())) {
      if (power.is_off()) return;
      trim(log);  // restarts alone have filled what is reserved for them
      return;
    }
    // Only now is anything read or acknowledged. Had the power failed before, a batch that this
    // life found torn might have been whole in the next one: a restart record at its place, itself
    // torn, may leave there the very word that was missing.
    batches_.resize(found_);
    acknowledged_ = found_;
    while (!power.is_off()) {
      if (random_.below(20) == 0 && random_.below(20) == 0) return;
      write(log);
      if (random_.below(3) == 0) {
        const Status committed = log.commit();
        ASSERT_TRUE(committed || power.is_off());
        if (committed) acknowledged_ = batches_.size();
      }
      if (random_.below(30) == 0 && log.durable() == log.end().lsn) trim(log);
    }
  }

  void write(Log& log) {
    Batch batch;
    const std::uint64_t records = 1 + random_.below(max_records_);
    for (std::uint64_t i = 0; i < records; ++i) {
      // Few ids and one stamp: lost and new batches are often the same bytes.
      const EntryPayload<2> payload{.id = random_.below(ids_), .box = {}};
      const bool fits = log.append({.checksum = 0,
                                    .lsn = 0,
                                    .stamp = 1,
                                    .epoch = 1,
                                    .length = 0,
                                    .type = RecordType::kInsert,
                                    .flags = 0},
                                   std::as_bytes(std::span(&payload, 1)));
      if (!fits) {
        log.abandon_batch();
        if (log.commit()) {
          acknowledged_ = batches_.size();
          trim(log);
        }
        return;
      }
      batch.ids.push_back(payload.id);
      // What was ended before may be flushed while a batch is under way.
      if (random_.below(16) == 0 && log.commit()) acknowledged_ = batches_.size();
    }
    log.end_batch();
    batch.end = log.end().lsn;
    batches_.push_back(std::move(batch));
  }

  /// A checkpoint: durable by itself, as the model's own memory is.
  void trim(Log& log) {
    start_ = log.end();
    log.trim(start_);
    batches_.clear();
    acknowledged_ = 0;
  }

  /// What was found is the acknowledged batches, and perhaps some of those sent after them.
  void compare(const Log& log) {
    LogReader reader(log.bytes(), start_);
    std::size_t found = 0;
    std::vector<std::uint64_t> ids;
    while (reader.position().lsn < log.end().lsn) {
      const auto record = reader.next();
      ASSERT_TRUE(record);
      if (record->header.type == RecordType::kInsert) {
        ids.push_back(payload_as<EntryPayload<2>>(*record)->id);
      }
      if ((record->header.flags & kBatchEnd) == 0 || ids.empty()) continue;
      ASSERT_LT(found, batches_.size()) << "a batch that was never sent";
      ASSERT_EQ(ids, batches_[found].ids);
      ASSERT_EQ(reader.position().lsn, batches_[found].end);
      ++found;
      ids.clear();
    }
    ASSERT_GE(found, acknowledged_) << "an acknowledged batch is lost";
    found_ = found;
  }

  Random random_;
  std::uint64_t max_records_;
  std::uint64_t ids_;
  CrashMemory::Content content_ = CrashMemory::fresh(Log::kMinBytes);
  LogPosition start_{.lsn = 0, .chain = 0x1234};
  std::vector<Batch> batches_;
  std::size_t acknowledged_ = 0;
  std::size_t found_ = 0;  ///< by this life
};

TEST(LogCrash, LosesNothingAcknowledgedAndInventsNothing) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random seeds(seed);
  for (int machine = 0; machine < 400; ++machine) {
    LogLives(seeds()).run(50);
    ASSERT_FALSE(HasFatalFailure()) << "SEED=" << seed << " machine " << machine;
  }
}

}  // namespace
}  // namespace silurus::replication
