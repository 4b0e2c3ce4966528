// SPDX-License-Identifier: Apache-2.0

#include "replication/log.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "common/check.h"

namespace silurus::replication {

namespace {

/// Reads up to kMaxRecordBytes of a ring, put together in `wrapped` where they wrap around.
std::span<const std::byte> ring_bytes_at(std::span<const std::byte> ring, Lsn lsn,
                                         std::span<std::byte, kMaxRecordBytes> wrapped) {
  const std::uint64_t offset = lsn % ring.size();
  const std::span from = ring.subspan(offset, std::min(kMaxRecordBytes, ring.size() - offset));
  if (from.size() == kMaxRecordBytes) return from;
  std::memcpy(wrapped.data(), from.data(), from.size());
  std::memcpy(wrapped.data() + from.size(), ring.data(), kMaxRecordBytes - from.size());
  return wrapped;
}

/// The header that seems to lie at `lsn`; unverified.
RecordHeader peek(std::span<const std::byte> ring, Lsn lsn) {
  alignas(8) std::byte wrapped[kMaxRecordBytes];
  RecordHeader header;
  std::memcpy(&header, ring_bytes_at(ring, lsn, wrapped).data(), sizeof header);
  return header;
}

/// Whether an intact record lies at `lsn`, though what leads to it is not intact: verified by the
/// checksum of the record before it, of which nothing else need be intact.
bool is_intact_behind_another(std::span<const std::byte> ring, Lsn lsn) {
  for (std::uint64_t back = sizeof(RecordHeader); back <= kMaxRecordBytes && back <= lsn;
       back += 8) {
    LogReader reader(ring, {lsn, peek(ring, lsn - back).checksum});
    if (reader.next()) return true;
  }
  return false;
}

/// The first record in (end, limit) that was written after all before it was durable; 0: none.
Lsn find_record_after_flush(std::span<const std::byte> ring, Lsn end, Lsn limit) {
  constexpr std::uint64_t kLsnOffset = offsetof(RecordHeader, lsn);
  const std::byte* const bytes = ring.data();
  std::uint64_t offset = (end + 8 + kLsnOffset) % ring.size();
  for (Lsn lsn = end + 8; lsn + sizeof(RecordHeader) <= limit; lsn += 8) {
    Lsn found;
    std::memcpy(&found, bytes + offset, sizeof found);
    offset += 8;
    if (offset == ring.size()) offset = 0;
    if (found == lsn && (peek(ring, lsn).flags & kAfterFlush) != 0 &&
        is_intact_behind_another(ring, lsn)) {
      return lsn;
    }
  }
  return 0;
}

}  // namespace

std::optional<Record> LogReader::next() {
  std::optional<Record> record = decode_record(at_, ring_bytes_at(ring_, at_.lsn, wrapped_));
  if (record) at_ = after(*record);
  return record;
}

Log::Tail Log::find_tail(std::span<const std::byte> ring, LogPosition start) {
  Tail tail{.end = start};
  LogReader reader(ring, start);
  std::uint64_t open_records = 0;
  while (const auto record = reader.next()) {
    // A chain can't be longer than its ring: what comes then would be this very lap again.
    if (reader.position().lsn - start.lsn > ring.size()) break;
    ++open_records;
    if ((record->header.flags & kBatchEnd) == 0) continue;
    tail.end = reader.position();
    tail.records += std::exchange(open_records, 0);
    tail.last_stamp = record->header.stamp;
  }
  tail.dropped_records = open_records;
  const Lsn broken = reader.position().lsn;
  tail.proof_of_damage = find_record_after_flush(
      ring, broken, std::min(start.lsn + ring.size(), broken + kProofBytes));
  return tail;
}

std::string damage_of(const Log::Tail& tail, LogPosition start) {
  return "the log is damaged behind byte " + std::to_string(tail.end.lsn - start.lsn) + " of the " +
         std::to_string(tail.proof_of_damage - start.lsn) +
         " and more that were durable: restore a backup, or accept the loss of what was written "
         "behind it";
}

Result<std::unique_ptr<Log>> Log::open(std::unique_ptr<PersistentMemory> ring, LogPosition start,
                                       const std::optional<Tail>& known) {
  SILURUS_CHECK(ring->size() >= kMinBytes && ring->size() % 8 == 0);
  const Tail found = known ? *known : find_tail(ring->bytes(), start);
  if (found.proof_of_damage != 0) {
    return fail(ErrorCode::kProtocol, damage_of(found, start));
  }
  std::unique_ptr<Log> log(new Log(std::move(ring), start, found));
  log->flush_wrapped(start.lsn, found.end.lsn);
  if (Status drained = log->ring_->drain(); !drained) return fail(drained.error());
  return log;
}

Log::Log(std::unique_ptr<PersistentMemory> ring, LogPosition start, const Tail& found)
    : ring_(std::move(ring)),
      found_(found),
      end_(found.end),
      start_(start.lsn),
      durable_(found.end.lsn) {}

std::uint32_t Log::last_epoch() const {
  // Its checksum is what the next one's would be seeded with.
  std::byte wrapped[kMaxRecordBytes];
  for (std::uint64_t bytes = sizeof(RecordHeader); bytes <= kMaxRecordBytes; bytes += 8) {
    if (bytes > end_.lsn) break;
    RecordHeader header;
    const auto at = ring_bytes_at(ring_->bytes(), end_.lsn - bytes, wrapped);
    std::memcpy(&header, at.data(), sizeof header);
    const bool is_last = header.checksum == end_.chain && header.lsn == end_.lsn - bytes &&
                         sizeof header + header.length == bytes;
    if (is_last) return header.epoch;
  }
  return 0;
}

bool Log::has_room(std::uint64_t bytes) const {
  // Pairs with the release in trim(): the checkpoint that makes the older records superfluous is
  // durable before they are overwritten.
  const std::uint64_t used = end_.lsn + batch_.size() - start_.load(std::memory_order_acquire);
  return used + bytes + kReservedBytes <= ring_->size();
}

bool Log::append(RecordHeader header, std::span<const std::byte> payload) {
  return put(header, payload, kReservedBytes);
}

bool Log::put(RecordHeader header, std::span<const std::byte> payload, std::uint64_t reserved) {
  const std::size_t bytes = sizeof header + payload.size();
  // Pairs with the release in trim(), see has_room().
  const std::uint64_t used = end_.lsn + batch_.size() - start_.load(std::memory_order_acquire);
  if (used + bytes + reserved > ring_->size()) return false;
  LogPosition at = end_;
  if (!batch_.empty()) {
    RecordHeader last;
    std::memcpy(&last, batch_.data() + last_record_, sizeof last);
    at = {end_.lsn + batch_.size(), last.checksum};
  }
  last_record_ = batch_.size();
  batch_.resize(last_record_ + bytes);
  last_chain_ = at.chain;
  header.flags = next_flags_;
  next_flags_ = 0;
  encode_record(at, header, payload, std::span(batch_).subspan(last_record_));
  return true;
}

void Log::end_batch() {
  SILURUS_CHECK(!batch_.empty());
  const std::span last = std::span(batch_).subspan(last_record_);
  RecordHeader header;
  std::memcpy(&header, last.data(), sizeof header);
  header.flags |= kBatchEnd;
  std::byte payload[kMaxPayloadBytes];
  std::memcpy(payload, last.data() + sizeof header, header.length);
  const LogPosition end =
      encode_record({header.lsn, last_chain_}, header, std::span(payload, header.length), last);
  RecordHeader first;
  std::memcpy(&first, batch_.data(), sizeof first);
  before_batch_ = end_;
  batch_flags_ = first.flags & kAfterFlush;
  store_wrapped(end_.lsn, batch_);
  end_ = end;
  batch_.clear();
}

Status Log::fail_for_good(const Error& error) {
  failed_ = error;
  // Only what may be tried again is told as a want of room.
  if (failed_->code == ErrorCode::kNoSpace) failed_->code = ErrorCode::kIo;
  return fail(*failed_);
}

Status Log::settle_batch() {
  SILURUS_CHECK(batch_.empty());
  if (failed_) return fail(*failed_);
  Status stored = ring_->check_stores();
  if (stored) return {};
  if (stored.error().code != ErrorCode::kNoSpace) return fail_for_good(stored.error());
  end_ = before_batch_;
  next_flags_ = batch_flags_;
  // Recovery finds nothing of a batch whose first record is gone. If that one is not there, there
  // is nothing to do.
  if (LogReader(ring_->bytes(), end_).next()) {
    if (Status erased = erase(end_.lsn, end_.lsn + sizeof(RecordHeader)); !erased) {
      return fail_for_good(erased.error());
    }
  }
  return stored;
}

void Log::abandon_batch() {
  if (batch_.empty()) return;
  RecordHeader first;
  std::memcpy(&first, batch_.data(), sizeof first);
  next_flags_ = first.flags & kAfterFlush;
  batch_.clear();
}

Status Log::commit() {
  if (failed_) return fail(*failed_);
  // Only this thread writes durable_.
  const Lsn from = durable_.load(std::memory_order_relaxed);
  if (from == end_.lsn) return {};
  flush_wrapped(from, end_.lsn);
  if (Status drained = ring_->drain(); !drained) return fail_for_good(drained.error());
  // The records of a batch that has begun say nothing of a flush after them.
  if (batch_.empty()) next_flags_ = kAfterFlush;
  flushes_.fetch_add(1, std::memory_order_relaxed);  // a counter: orders nothing
  // Pairs with the acquire in durable(): a reader of records below it sees their bytes.
  durable_.store(end_.lsn, std::memory_order_release);
  return {};
}

Status Log::append_restart(Stamp stamp, std::uint32_t epoch, std::uint64_t nonce) {
  SILURUS_CHECK(batch_.empty());
  const RestartPayload payload{nonce};
  if (!put({.checksum = 0,
            .lsn = 0,
            .stamp = stamp,
            .epoch = epoch,
            .length = 0,
            .type = RecordType::kRestart,
            .flags = 0},
           std::as_bytes(std::span(&payload, 1)), 0)) {
    return fail(ErrorCode::kTooLarge, "the log is full: a checkpoint must come first");
  }
  end_batch();
  if (Status settled = settle_batch(); !settled) return settled;
  return commit();
}

Status Log::append_copied(std::span<const std::byte> batches) {
  SILURUS_CHECK(batch_.empty());
  if (failed_) return fail(*failed_);
  if (!has_room(batches.size())) {
    return fail(ErrorCode::kTooLarge, "the log is full: a checkpoint must come first");
  }
  LogPosition at = end_;
  std::vector<LogPosition> flushes;  // before them, all must be durable
  std::uint8_t flags = 0;
  for (std::span rest = batches; !rest.empty(); rest = batches.subspan(at.lsn - end_.lsn)) {
    const auto record = decode_record(at, rest);
    if (!record) {
      return fail(ErrorCode::kProtocol, "bytes that are no record to follow " +
                                            std::to_string(at.lsn) + " were to be appended");
    }
    flags = record->header.flags;
    if ((flags & kAfterFlush) != 0 && at != end_) flushes.push_back(at);
    at = after(*record);
    if (admits_ && !admits_(*record)) {
      refused_ = at.lsn;
      return fail(ErrorCode::kNotFound,
                  "what the record before " + std::to_string(at.lsn) + " needs is not here");
    }
  }
  if ((flags & kBatchEnd) == 0) return fail(ErrorCode::kProtocol, "a batch without its end");
  if (batches.size() > kMaxUnflushedBytes / 2 ||
      end_.lsn - durable() > kMaxUnflushedBytes / 2 - batches.size()) {
    if (Status durable = commit(); !durable) return durable;
  }
  RecordHeader first;
  std::memcpy(&first, batches.data(), sizeof first);
  if ((first.flags & kAfterFlush) != 0) {
    if (Status durable = commit(); !durable) return durable;
  }
  flushes.push_back(at);
  const Lsn begin = end_.lsn;
  for (const LogPosition& next : flushes) {
    if (end_.lsn != begin) {
      if (Status durable = commit(); !durable) return durable;
    }
    store_wrapped(end_.lsn, batches.subspan(end_.lsn - begin, next.lsn - end_.lsn));
    if (Status stored = ring_->check_stores(); !stored) {
      return stored.error().code == ErrorCode::kNoSpace ? stored : fail_for_good(stored.error());
    }
    end_ = next;
    next_flags_ = 0;
  }
  return {};
}

Status Log::truncate(LogPosition end) {
  SILURUS_CHECK(batch_.empty() && end.lsn >= start_.load(std::memory_order_relaxed) &&
                end.lsn <= end_.lsn);
  if (failed_) return fail(*failed_);
  // What goes is made zeros, from the last flush to the first: whatever a crash leaves of that
  // begins with whole batches, and no record that proves damage is left behind a hole.
  std::vector<Lsn> flushes{end.lsn};
  LogReader reader(ring_->bytes(), end);
  while (reader.position().lsn < end_.lsn) {
    const auto record = reader.next();
    SILURUS_CHECK(record.has_value());  // our own
    const Lsn lsn = record->header.lsn;
    if ((record->header.flags & kAfterFlush) != 0 && lsn != end.lsn) flushes.push_back(lsn);
  }
  // A batch that a crash cut short may lie behind the end, and its first record proves that what is
  // before it was durable: it must go before that goes.
  flushes.push_back(end_.lsn);
  const Lsn behind = std::min(end_.lsn + sizeof(RecordHeader),
                              start_.load(std::memory_order_relaxed) + ring_->size());
  for (Lsn to = behind; !flushes.empty(); to = flushes.back(), flushes.pop_back()) {
    if (Status erased = erase(flushes.back(), to); !erased) return fail_for_good(erased.error());
  }
  end_ = end;
  next_flags_ = kAfterFlush;
  // Pairs with the acquire in durable(). What lay before `end` may have been in the caches only.
  durable_.store(std::min(durable(), end.lsn), std::memory_order_release);
  return commit();
}

Status Log::erase(Lsn from, Lsn to) {
  const std::vector<std::byte> zeros(std::min<std::uint64_t>(to - from, 64 << 10));
  for (Lsn lsn = from; lsn < to; lsn += zeros.size()) {
    store_wrapped(lsn, std::span(zeros).first(std::min<std::uint64_t>(to - lsn, zeros.size())));
  }
  flush_wrapped(from, to);
  return ring_->drain();
}

void Log::trim(LogPosition start) {
  SILURUS_CHECK(start.lsn >= start_.load(std::memory_order_relaxed) && start.lsn <= durable());
  // Pairs with the acquire in has_room() and append().
  start_.store(start.lsn, std::memory_order_release);
}

void Log::flush_wrapped(Lsn from, Lsn to) {
  const std::uint64_t offset = from % ring_->size();
  const std::uint64_t first = std::min(to - from, ring_->size() - offset);
  ring_->flush(offset, first);
  ring_->flush(0, to - from - first);
}

void Log::store_wrapped(Lsn lsn, std::span<const std::byte> bytes) {
  const std::uint64_t offset = lsn % ring_->size();
  const std::size_t first = std::min<std::uint64_t>(bytes.size(), ring_->size() - offset);
  ring_->store(offset, bytes.first(first));
  if (first < bytes.size()) ring_->store(0, bytes.subspan(first));
}

}  // namespace silurus::replication
