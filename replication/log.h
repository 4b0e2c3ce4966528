// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "replication/persistent_memory.h"
#include "replication/record.h"

// The operation log: a ring of records in persistent memory. Records are appended in batches; a
// batch is durable after one commit(), however many records it has, and is found again whole or
// not at all. A checkpoint frees the records before it (trim()); what recovery needs is never
// overwritten: a log without room says so and waits for the next checkpoint.

namespace silurus::replication {

/// Reads records of a ring from a position on and verifies each one. It believes nothing that it
/// has not verified, so it ends by itself at the torn tail. One thread; while the writer works,
/// read only below Log::durable() and not below Log::start().
class LogReader {
 public:
  /// `ring`: the log's bytes, which must outlive the reader.
  LogReader(std::span<const std::byte> ring, LogPosition from) : ring_(ring), at_(from) {}

  /// The next intact record, or nothing at the end of what is intact. The payload is valid until
  /// the next call.
  std::optional<Record> next();
  /// Where the next record would start.
  LogPosition position() const { return at_; }

 private:
  std::span<const std::byte> ring_;
  LogPosition at_;
  alignas(8) std::byte wrapped_[kMaxRecordBytes];  ///< a record that wraps around, put together
};

/// The log of one server. append() and commit() belong to the writer; start(), durable() and
/// trim() may be called by any thread.
///
///   while (more) if (!log.append(header, payload)) { /* full: wait for a checkpoint */ }
///   log.end_batch();                      // all of them, or none, survive from here on
///   if (auto durable = log.commit(); !durable) { /* the log is dead: acknowledge nothing more */ }
class Log {
 public:
  /// What recovery found behind the start.
  struct Tail {
    LogPosition end;                    ///< behind the last whole batch
    std::uint64_t records = 0;          ///< records in whole batches
    std::uint64_t dropped_records = 0;  ///< intact, but of a batch whose end is missing
    Stamp last_stamp = 0;
    /// A record behind the end that proves that the end is not where a crash tore the log, but
    /// where durable records were damaged later; 0 if there is none.
    Lsn proof_of_damage = 0;
  };
  /// Bytes that append() leaves free for restart records, so that a server can always come back.
  static constexpr std::uint64_t kReservedBytes = 4096;
  static constexpr std::uint64_t kMinBytes = 16 * kReservedBytes;
  /// The writer commits before more than that is not durable, so that
  static constexpr std::uint64_t kMaxUnflushedBytes = std::uint64_t{4} << 20;
  /// that many bytes behind a damage hold a record that proves it.
  static constexpr std::uint64_t kProofBytes = 2 * kMaxUnflushedBytes;

  /// Walks the ring from `start` (a checkpoint's position) and finds the last whole batch. What
  /// follows is a crash's torn tail, or damage, as far as the records behind it can prove that; of
  /// the records of the last flush nothing can.
  static Tail find_tail(std::span<const std::byte> ring, LogPosition start);

  /// A log that goes on behind the last whole batch found from `start` on. What it found is made
  /// durable first: a server that was killed may have left it in the caches of a machine that
  /// still runs, and from here on it is acknowledged and read. A fresh ring is all zeros.
  /// kProtocol if the log is damaged. `found`: what find_tail() said of the same ring and start, if
  /// it was asked already.
  static Result<std::unique_ptr<Log>> open(std::unique_ptr<PersistentMemory> ring,
                                           LogPosition start,
                                           const std::optional<Tail>& found = {});
  /// What open() found.
  const Tail& found() const { return found_; }

  /// Whether records of that many bytes fit. A writer asks before it applies a batch.
  bool has_room(std::uint64_t bytes) const;
  /// Puts a record of the current batch into the ring; false, with nothing changed, if it is full.
  /// Appends a record; type, stamp and epoch of the header are used.
  bool append(RecordHeader header, std::span<const std::byte> payload);
  /// Marks the last record appended as the end of its batch. At least one was appended.
  void end_batch();
  /// Whether the medium had room for the batch that was just ended. kNoSpace: it had none, and the
  /// batch is taken back as if it had never been appended: a restart does not find it either, and
  /// the log goes on. Any other error is final, as that of commit().
  Status settle_batch();
  /// Takes back the records appended since the last end_batch().
  void abandon_batch();
  /// Makes all ended batches durable with one flush. An error is final: nothing may be
  /// acknowledged any more, and every later commit() fails too.
  Status commit();
  /// Appends and commits a restart record, for which there is room when append() finds none.
  Status append_restart(Stamp stamp, std::uint32_t epoch, std::uint64_t nonce);

  // --- a log that follows another one
  /// Appends what lies behind end() in the log of another member: whole batches, byte for byte, so
  /// that both logs stay equal, and durable no sooner than there says (kAfterFlush). Not within a
  /// batch of our own. kProtocol, with nothing appended, if the bytes are not intact records that
  /// follow end() or the last one does not end a batch; kTooLarge if they don't fit; kNoSpace if
  /// the medium has no room: whole batches before end() are appended, the others are not; else an
  /// error of the medium, which is final.
  Status append_copied(std::span<const std::byte> batches);
  /// Which records append_copied() takes: where it says no, that ends with kNotFound, nothing
  /// appended, for they need what is not here (see refused()).
  void admit_copied(std::function<bool(const Record&)> admits) { admits_ = std::move(admits); }
  /// Behind the last record that was not admitted.
  Lsn refused() const { return refused_; }
  /// Takes back all behind `end`, the end of a batch between start() and end(), durably: for
  /// records that another member, with all that was ever acknowledged, does not have. A crash
  /// meanwhile leaves the log ending somewhere between `end` and where it ended before. Not within
  /// a batch.
  Status truncate(LogPosition end);

  /// Frees the records before `start`, which must lie between start() and durable().
  void trim(LogPosition start);

  /// Behind the last batch ended, durable or not. The writer's thread.
  LogPosition end() const { return end_; }
  /// Behind the last durable record.
  Lsn durable() const { return durable_.load(std::memory_order_acquire); }
  /// The epoch of the record that ends at end(), be it trimmed or not; 0 if there is none, or it is
  /// not in this ring. The writer's thread.
  std::uint32_t last_epoch() const;
  /// The oldest record kept.
  Lsn start() const { return start_.load(std::memory_order_acquire); }
  std::uint64_t capacity() const { return ring_->size(); }
  std::span<const std::byte> bytes() const { return ring_->bytes(); }
  /// Commits that flushed something.
  std::uint64_t flushes() const { return flushes_.load(std::memory_order_relaxed); }

 private:
  Log(std::unique_ptr<PersistentMemory> ring, LogPosition start, const Tail& found);
  bool put(RecordHeader header, std::span<const std::byte> payload, std::uint64_t reserved);
  Status erase(Lsn from, Lsn to);
  Status fail_for_good(const Error& error);
  void flush_wrapped(Lsn from, Lsn to);
  void store_wrapped(Lsn lsn, std::span<const std::byte> bytes);

  std::unique_ptr<PersistentMemory> ring_;
  Tail found_;
  LogPosition end_;                        ///< behind the last ended batch
  LogPosition before_batch_;               ///< where the last ended batch begins,
  std::uint8_t batch_flags_ = 0;           ///< and kAfterFlush if its first record has it
  std::vector<std::byte> batch_;           ///< records since then, the last one not sealed yet
  std::size_t last_record_ = 0;            ///< where in batch_ the last one starts
  std::uint64_t last_chain_ = 0;           ///< what its checksum is seeded with
  std::uint8_t next_flags_ = kAfterFlush;  ///< flags of the next record
  std::optional<Error> failed_;
  std::function<bool(const Record&)> admits_;  ///< empty: all
  Lsn refused_ = 0;
  std::atomic<Lsn> start_;
  std::atomic<Lsn> durable_;
  std::atomic<std::uint64_t> flushes_ = 0;
};

/// What to tell people about a tail with a proof of damage.
std::string damage_of(const Log::Tail& tail, LogPosition start);

}  // namespace silurus::replication
