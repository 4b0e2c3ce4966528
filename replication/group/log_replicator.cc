// SPDX-License-Identifier: Apache-2.0

#include "replication/group/log_replicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"

namespace silurus::replication::group {
namespace {

constexpr std::size_t kLargestFetch = std::size_t{64} << 10;
/// A member that asks for it is told where the log ends.
constexpr Lsn kBeyondEveryLog = Lsn{1} << 62;
/// Answers in vain after which the primary's log has nothing in common with ours.
constexpr int kMaxFailures = 8;

}  // namespace

LogReplicator::LogReplicator(const ReplicatorOptions& options, GroupId group, Log& log,
                             Links& links)
    : options_(options),
      group_(group),
      log_(log),
      links_(links),
      look_after_(options.soonest_look) {}

/// Bytes of our own log; valid until the next call.
std::span<const std::byte> LogReplicator::log_bytes(Lsn from, std::size_t bytes) {
  const std::span ring = log_.bytes();
  const std::uint64_t offset = from % ring.size();
  if (offset + bytes <= ring.size()) return ring.subspan(offset, bytes);
  const std::size_t first = ring.size() - offset;
  copy_.resize(bytes);
  std::memcpy(copy_.data(), ring.data() + offset, first);
  std::memcpy(copy_.data() + first, ring.data(), bytes - first);
  return copy_;
}

// --- at the primary

void LogReplicator::lead(const SenderId& self) {
  self_ = self;
  if (std::exchange(is_leading_, true)) return;
  phase_ = Phase::kIdle;
  needs_copy_ = contradicts_ = false;
  fetch_.reset();
  sent_ = log_.end().lsn;
  const std::uint64_t window = links_.window().size();
  filled_ = std::max(log_.start(), sent_ > window ? sent_ - window : 0);
}

void LogReplicator::fill_window() {
  const std::span window = links_.window();
  if (window.empty()) return;
  const Lsn end = log_.end().lsn;
  if (end - filled_ > window.size()) filled_ = end - window.size();
  while (filled_ < end) {
    const std::uint64_t offset = filled_ % window.size();
    const std::size_t bytes =
        std::min<std::uint64_t>({end - filled_, window.size() - offset, kLargestFetch});
    const std::span from = log_bytes(filled_, bytes);
    std::memcpy(window.data() + offset, from.data(), bytes);
    filled_ += bytes;
  }
}

template <typename Body>
std::span<const std::byte> LogReplicator::encode(Kind kind, std::uint8_t flags, const Body& body,
                                                 std::span<const std::byte> payload) {
  const Envelope envelope{.checksum = 0,
                          .sender = self_.member,
                          .incarnation = self_.incarnation,
                          .epoch = self_.epoch,
                          .length = 0,
                          .kind = kind,
                          .flags = flags};
  const auto head = std::as_bytes(std::span(&body, 1));
  return std::span(message_).first(encode_message(group_, envelope, head, payload, message_));
}

std::span<const std::byte> LogReplicator::log_message(Lsn from, std::size_t bytes, Lsn commit,
                                                      std::uint64_t heartbeat) {
  const LogBody body{.lsn = from,
                     .end = log_.end().lsn,
                     .end_chain = log_.end().chain,
                     .commit = commit,
                     .heartbeat = heartbeat};
  return encode(Kind::kLog, 0, body, log_bytes(from, bytes));
}

std::span<const std::byte> LogReplicator::again(const Message<LogBody>& message) {
  const auto body = std::as_bytes(std::span(&message.body, 1));
  return std::span(message_).first(
      encode_message(group_, message.envelope, body, message.payload, message_));
}

void LogReplicator::broadcast(std::span<const std::byte> message) {
  links_.broadcast(message);
  ++counters_.datagrams;
}

ReplicatorCounters LogReplicator::counters() const {
  ReplicatorCounters all = counters_;
  all.refused_datagrams = links_.refused_datagrams();
  all.dropped = links_.dropped();
  all.bytes_sent = links_.bytes_sent();
  all.bytes_read = links_.bytes_read();
  return all;
}

void LogReplicator::tell(Lsn commit, std::uint64_t heartbeat) {
  fill_window();
  const Lsn end = log_.end().lsn;
  if (sent_ == end) return;
  ship(std::exchange(sent_, end), end, commit, heartbeat);
  links_.flush_broadcasts();
}

/// Whom no datagram reaches learns from it what to fetch.
void LogReplicator::beat(Lsn commit, std::uint64_t heartbeat) {
  fill_window();
  links_.broadcast_surely(log_message(log_.end().lsn, 0, commit, heartbeat));
  links_.flush_broadcasts();
  ++counters_.datagrams;
}

void LogReplicator::answer(MemberId to, Lsn lsn, std::span<const std::byte> bytes,
                           std::uint8_t flags) {
  const FetchBody body{.lsn = lsn, .bytes = bytes.size()};
  links_.send_to(to, encode(Kind::kFetched, flags, body, bytes));  // lost: it is asked for again
}

void LogReplicator::serve(const Message<FetchBody>& fetch) {
  const MemberId to = fetch.envelope.sender;
  const Lsn end = log_.end().lsn;
  Lsn lsn = fetch.body.lsn;
  if (lsn >= end) return answer(to, end, {}, kBeyond);
  if (lsn < log_.start()) return answer(to, lsn, {}, kTrimmed);
  const std::size_t most = links_.max_message_bytes(to);
  if (most <= kLogOverheadBytes) return;
  const Lsn until = lsn + std::min({fetch.body.bytes, std::uint64_t{kLargestFetch}, end - lsn});
  for (std::size_t bytes = 0; lsn < until; lsn += bytes) {
    bytes = std::min<std::uint64_t>(until - lsn, payload_room(most));
    answer(to, lsn, log_bytes(lsn, bytes), 0);
  }
}

// --- at any other member

void LogReplicator::follow(const SenderId& self, const SenderId& primary, LogPosition safe,
                           Nanoseconds now) {
  const bool is_same = phase_ != Phase::kIdle && primary.member == primary_.member &&
                       primary.incarnation == primary_.incarnation &&
                       primary.since == primary_.since;
  self_ = self;
  primary_ = primary;
  is_leading_ = false;
  now_ = now;
  if (is_same) return;
  phase_ = Phase::kListening;
  told_ = {};
  same_ = common_ = safe;
  differs_ = follows_ = avoid_reads_ = needs_copy_ = contradicts_ = false;
  answered_end_.reset();
  refused_ = 0;
  failures_ = 0;
  fetch_.reset();
}

void LogReplicator::leave() {
  phase_ = Phase::kIdle;
  is_leading_ = needs_copy_ = false;  // without a primary
  fetch_.reset();
}

Lsn LogReplicator::received() const {
  return phase_ == Phase::kFollowing ? std::max(assembler_.received(), log_.end().lsn)
                                     : log_.end().lsn;
}

Lsn LogReplicator::copy_needs() const {
  const Lsn end = log_.end().lsn;
  // In step, ours is the beginning of the primary's, and what was answered may be long past.
  if (phase_ == Phase::kFollowing) return std::max(end, refused_);
  return std::min(end, answered_end_.value_or(end));
}

void LogReplicator::on_log(const Message<LogBody>& message, Nanoseconds now) {
  if (phase_ == Phase::kIdle) return;
  now_ = now;
  const LogBody& body = message.body;
  if (body.end > told_.lsn) told_ = {body.end, body.end_chain};
  if (phase_ == Phase::kListening) phase_ = Phase::kTrying;
  if (phase_ != Phase::kFollowing || message.payload.empty()) return;
  const Lsn before = assembler_.received();
  assembler_.offer(body.lsn, message.payload);
  if (body.lsn + message.payload.size() > before) pass_on(message);
}

void LogReplicator::on_fetched(const Message<FetchBody>& message, Nanoseconds now) {
  if (phase_ == Phase::kIdle || !fetch_ || fetch_->by_read) return;
  const FetchBody& body = message.body;
  if ((message.envelope.flags & kTrimmed) != 0) {
    if (body.lsn != fetch_->lsn) return;
    needs_copy_ = true;
    return fetch_.reset();
  }
  if ((message.envelope.flags & kBeyond) != 0) {
    if (body.lsn > fetch_->lsn) return;  // it answers an earlier fetch
    answered_end_ = body.lsn;
    return fetch_.reset();
  }
  if (body.lsn != fetch_->lsn || body.bytes == 0 || body.bytes > fetch_->bytes) return;
  on_bytes(body.lsn, message.payload, now);
  // The rest is on its way in messages of its own.
  if (!fetch_) return;
  if (fetch_->bytes == body.bytes) return fetch_.reset();
  fetch_->lsn += body.bytes;
  fetch_->bytes -= body.bytes;
}

void LogReplicator::on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes,
                                    Nanoseconds now) {
  if (phase_ == Phase::kIdle || !fetch_ || !fetch_->by_read || fetch_->cookie != cookie ||
      bytes.size() < fetch_->bytes) {
    return;
  }
  const Fetch fetch = *fetch_;
  fetch_.reset();
  on_bytes(fetch.lsn, bytes.first(fetch.bytes), now);
}

/// Asks for bytes of the primary's log, unless something is being asked for already: by a read of
/// its window if they may still be there, else by a message.
void LogReplicator::ask(Lsn lsn, std::uint64_t bytes, Nanoseconds now) {
  if (fetch_) {
    if (now < fetch_->asked_at + options_.fetch_timeout) return;
    avoid_reads_ = avoid_reads_ || fetch_->by_read;
    fetch_.reset();
  }
  if (!links_.is_connected() || bytes == 0) return;
  Fetch fetch{.lsn = lsn,
              .bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kLargestFetch)),
              .asked_at = now,
              .by_read = false,
              .cookie = ++cookies_};
  const std::uint64_t window = links_.window_bytes();
  if (!avoid_reads_ && window != 0 && lsn < told_.lsn && told_.lsn - lsn <= window) {
    fetch.by_read =
        links_.read_window(lsn, std::min(fetch.bytes, links_.max_read_bytes()), fetch.cookie);
    fetch.bytes = fetch.by_read ? std::min(fetch.bytes, links_.max_read_bytes()) : fetch.bytes;
  }
  avoid_reads_ = false;
  fetch_ = fetch;
  if (fetch.by_read) {
    ++counters_.reads;
    return;
  }
  ask_by_message(fetch);
}

void LogReplicator::ask_by_message(const Fetch& fetch) {
  ++counters_.messages;
  const FetchBody body{.lsn = fetch.lsn, .bytes = fetch.bytes};
  links_.send_to_primary(encode(Kind::kFetch, 0, body, {}));
}

void LogReplicator::on_bytes(Lsn lsn, std::span<const std::byte> bytes, Nanoseconds now) {
  now_ = now;
  switch (phase_) {
    case Phase::kTrying:
      if (lsn == log_.end().lsn) {
        follows_ = decode_record(log_.end(), bytes).has_value();
        if (!follows_) ++failures_;
        avoid_reads_ = !follows_;
      }
      return;
    case Phase::kComparing:
      if (lsn == same_.lsn) compare(bytes);
      return;
    case Phase::kFollowing: {
      const Lsn before = assembler_.received();
      assembler_.offer(lsn, bytes);
      counters_.fetched_bytes += assembler_.received() - before;
      return;
    }
    case Phase::kIdle:
    case Phase::kListening:
      return;
  }
}

/// Looks how far records of the primary's log are those of ours.
void LogReplicator::compare(std::span<const std::byte> bytes) {
  const Lsn begin = same_.lsn;
  LogReader own(log_.bytes(), same_);
  while (same_.lsn < std::min(log_.end().lsn, told_.lsn)) {
    const auto theirs = decode_record(same_, bytes.subspan(same_.lsn - begin));
    if (!theirs) {
      if (same_.lsn != begin) return;  // the next piece begins with it
      // Torn, for it was read while the primary wrote; or nothing that a log holds.
      avoid_reads_ = true;
      ++failures_;
      return;
    }
    failures_ = 0;
    const auto ours = own.next();
    SILURUS_CHECK(ours.has_value());
    if (ours->header.checksum != theirs->header.checksum) {
      differs_ = true;
      return;
    }
    same_ = after(*theirs);
    if ((theirs->header.flags & kBatchEnd) != 0) common_ = same_;
  }
}

/// Ours is in step up to there, and what lies behind it goes.
Status LogReplicator::settle(LogPosition common) {
  if (common != log_.end()) {
    log::info(label() + ": takes back " + std::to_string(log_.end().lsn - common.lsn) +
              " bytes of the log that the group does not have");
    ++counters_.truncations;
    if (Status truncated = log_.truncate(common); !truncated) return truncated;
  }
  assembler_.begin(log_.end());
  phase_ = Phase::kFollowing;
  fetch_.reset();
  gap_at_ = log_.end().lsn;
  gap_since_ = now_;
  return {};
}

Status LogReplicator::find_step(Nanoseconds now) {
  const LogPosition end = log_.end();
  if ((asks_first_ || needs_copy_) && !answered_end_) {
    ask(kBeyondEveryLog, sizeof(RecordHeader), now);
    return {};
  }
  if (needs_copy_) return {};
  if (phase_ == Phase::kTrying) {
    if (follows_ || end == told_) return settle(end);
    if (end.lsn < told_.lsn && failures_ < 2) {
      ask(end.lsn, std::min<std::uint64_t>(kMaxRecordBytes, told_.lsn - end.lsn), now);
      return {};
    }
    phase_ = Phase::kComparing;
    fetch_.reset();
    failures_ = 0;
  }
  // What is committed is in the primary's log: what we know of its end is old. (Or the view store
  // was lost, and with it what each member has: then nothing of ours may be taken back.)
  if (same_.lsn > told_.lsn) return {};
  if (same_.lsn == told_.lsn && same_ != told_) contradicts_ = true;
  if (contradicts_) return {};
  const Lsn both = std::min(end.lsn, told_.lsn);
  if (differs_ || (same_.lsn >= both && end.lsn <= told_.lsn)) return settle(common_);
  if (same_.lsn >= both) {
    // Ours is longer, but than what? A datagram may be old, and what was committed since be here:
    // before anything is taken back, the primary itself is asked.
    if (answered_end_ && told_.lsn >= *answered_end_) return settle(common_);
    if (!answered_end_) ask(end.lsn, sizeof(RecordHeader), now);
    return {};
  }
  if (failures_ > kMaxFailures) contradicts_ = true;
  // Theirs may have a record across the end of ours.
  const Lsn until = std::min(told_.lsn, both + kMaxRecordBytes);
  if (!contradicts_) ask(same_.lsn, until - same_.lsn, now);
  return {};
}

Status LogReplicator::place() {
  if (const std::span batches = assembler_.whole(); !batches.empty()) {
    Status placed = log_.append_copied(batches);
    if (!placed && placed.error().code == ErrorCode::kTooLarge) return {};  // after a checkpoint
    if (!placed && placed.error().code == ErrorCode::kNotFound) {
      needs_copy_ = true;
      refused_ = log_.refused();
      assembler_.begin(log_.end());
      return {};
    }
    if (!placed && placed.error().code == ErrorCode::kNoSpace) {
      // Part of it may be there. We do not count meanwhile: what is missing is asked for again.
      if (!std::exchange(lacks_room_, true)) {
        log::error(label() + ": the group's log cannot be followed: " + placed.error().message);
      }
      assembler_.begin(log_.end());
      return {};
    }
    if (!placed) return placed;
    if (std::exchange(lacks_room_, false)) {
      log::info(label() + ": the group's log is followed again");
    }
    assembler_.take();
  }
  if (assembler_.broken()) {
    ++counters_.refused;
    assembler_.begin(log_.end());
  }
  return {};
}

void LogReplicator::ask_for_gap(Nanoseconds now) {
  const Lsn received = assembler_.received();
  if (received >= told_.lsn) {
    fetch_.reset();
    gap_at_ = received;
    gap_since_ = now;
    return;
  }
  if (received != gap_at_) {
    gap_at_ = received;
    // Going on with what was begun needs no patience.
    if (!fetch_) gap_since_ = now;
  }
  if (fetch_ && fetch_->lsn + fetch_->bytes <= received) fetch_.reset();
  if (now < gap_since_ + options_.gap_patience) return;
  const Lsn end = std::min(told_.lsn, assembler_.gap_end().value_or(told_.lsn));
  ask(received, end - received, now);
}

Status LogReplicator::step(Nanoseconds now) {
  now_ = now;
  if (phase_ == Phase::kTrying || phase_ == Phase::kComparing) {
    if (Status found = find_step(now); !found) return found;
  }
  if (phase_ != Phase::kFollowing) return {};
  if (needs_copy_ && refused_ != 0) return {};  // nothing may follow what was not taken
  if (Status placed = place(); !placed) return placed;
  if (!needs_copy_) ask_for_gap(now);
  return {};
}

void LogReplicator::look(Nanoseconds now) {
  if (phase_ == Phase::kIdle || !links_.may_be_pushed()) {
    next_look_.reset();
    return;
  }
  const std::size_t pushed = links_.take_pushed();
  counters_.pushed += pushed;
  if (pushed > 0 || assembler_.received() < told_.lsn) {
    look_after_ = options_.soonest_look;
  } else if (next_look_ && now >= *next_look_) {
    look_after_ = std::min(2 * look_after_, options_.latest_look);
  }
  next_look_ = now + look_after_;
}

std::optional<Nanoseconds> LogReplicator::deadline() const {
  const auto fetching = fetch_deadline();
  if (!next_look_ || phase_ == Phase::kIdle) return fetching;
  return std::min(*next_look_, fetching.value_or(*next_look_));
}

std::optional<Nanoseconds> LogReplicator::fetch_deadline() const {
  if (phase_ == Phase::kIdle || phase_ == Phase::kListening || contradicts_) return std::nullopt;
  if (needs_copy_ && (phase_ == Phase::kFollowing || answered_end_)) return std::nullopt;
  if (fetch_) return fetch_->asked_at + options_.fetch_timeout;
  if (phase_ != Phase::kFollowing) return now_ + options_.fetch_timeout;
  if (assembler_.received() >= told_.lsn) return std::nullopt;
  const Nanoseconds patience = gap_since_ + options_.gap_patience;
  return now_ < patience ? patience : now_ + options_.fetch_timeout;
}

}  // namespace silurus::replication::group
