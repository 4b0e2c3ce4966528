// SPDX-License-Identifier: Apache-2.0

#include "replication/group/member.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/check.h"

namespace silurus::replication::group {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kOutside:
      return "outside";
    case Role::kJoining:
      return "joining";
    case Role::kBackup:
      return "backup";
    case Role::kCandidate:
      return "candidate";
    case Role::kPrimary:
      return "primary";
  }
  return "?";
}

Member::Member(const MemberOptions& options, Log& log, LogPosition applied, Machine& machine,
               Replicator& replicator, Links& links, ViewStore& store, const Clock& clock)
    : options_(options),
      log_(log),
      machine_(machine),
      replicator_(replicator),
      links_(links),
      store_(store),
      clock_(clock),
      now_(clock.now()),
      deadline_(now_),
      commit_(applied.lsn),
      applied_(applied),
      lease_(options.timing.lease),
      promise_(options.timing.lease, now_),
      next_poll_(now_) {
  SILURUS_CHECK(options.self.id != 0 && options.incarnation != 0);
  links_.set_handler(this);
}

Status Member::step() {
  const Nanoseconds now = now_ = clock_.now();
  deadline_ = now + options_.timing.poll;
  if (failed_) return fail(*failed_);
  links_.tick(now);
  if (const auto at = links_.deadline()) wake_at(*at);
  // It dials again and again: the store is not asked more often than heartbeats go.
  if (links_.take_unknown_life()) {
    next_poll_ = std::min(next_poll_, std::max(now, polled_at_ + options_.timing.heartbeat));
  }
  ask_store(now);
  Status done = role_ == Role::kPrimary ? lead(now) : follow(now);
  const bool follows = role_ == Role::kJoining || role_ == Role::kBackup;
  // The primary waits for what is durable here; what is applied may be told with the next row.
  if (done && follows) send_row();
  if (done && !(follows && rest_is_coming())) done = apply();
  if (!done) {
    failed_ = done.error();
    return done;
  }
  if (follows) probe();
  make_promises();
  return {};
}

/// Whether part of a batch is here, and nothing has kept us from applying for long: the primary
/// waits for the batch, and no client for what is committed already.
bool Member::rest_is_coming() {
  if (replicator_.received() <= log_.end().lsn) {
    parts_since_.reset();
    return false;
  }
  if (!parts_since_) parts_since_ = now_;
  const Nanoseconds until = *parts_since_ + options_.timing.heartbeat / 10;
  if (now_ >= until) return false;
  wake_at(until);
  return true;
}

/// Hands what is committed and durable here to the machine.
Status Member::apply() {
  const Lsn until = std::min(commit_, log_.durable());
  if (until <= applied_.lsn) return {};
  auto reached = machine_.apply(log_, applied_, until);
  if (!reached) return fail(reached.error());
  applied_ = *reached;
  if (machine_.has_more()) wake_at(now_);
  return {};
}

// --- messages

void Member::on_group_message(std::span<const std::byte> bytes) {
  now_ = clock_.now();  // a promise counts from when it is made, not from some moment before
  const auto envelope = decode_envelope(options_.group, bytes);
  if (!envelope || envelope->sender == options_.self.id) {
    ++counters_.refused;
    return;
  }
  if (options_.leads == Leads::kAlways && envelope->sender == view_.primary && !proposal_) {
    return give_up_place();
  }
  // Another epoch's messages are as good as lost; a later one's are news.
  if (envelope->epoch != view_.epoch) {
    ++counters_.refused;
    if (envelope->epoch > view_.epoch) next_poll_ = now_;
    // But a row of a member that has not learnt of our epoch yet is a sign of life.
    if (envelope->kind != Kind::kRow) return;
  }
  switch (envelope->kind) {
    case Kind::kLog:
      if (const auto message = decode_log(*envelope, bytes)) return on_log(*message);
      break;
    case Kind::kRow:
      if (const auto message = decode_row(*envelope, bytes)) return on_row(*message);
      break;
    case Kind::kFetch:
      if (const auto message = decode_fetch(*envelope, bytes); message && role_ == Role::kPrimary) {
        return replicator_.serve(*message);
      }
      break;
    case Kind::kFetched:
      if (const auto message = decode_fetch(*envelope, bytes);
          message && envelope->sender == view_.primary &&
          envelope->incarnation == view_.incarnation) {
        return replicator_.on_fetched(*message, now_);
      }
      break;
    case Kind::kProbe:
    case Kind::kProbed:
      if (const auto message = decode_probe(*envelope, bytes)) return on_probe(*message);
      break;
  }
  ++counters_.refused;
}

void Member::on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes) {
  replicator_.on_window_bytes(cookie, bytes, now_);
}

void Member::on_log(const Message<LogBody>& message) {
  const Envelope& envelope = message.envelope;
  if (envelope.sender != view_.primary || envelope.incarnation != view_.incarnation ||
      (role_ != Role::kJoining && role_ != Role::kBackup)) {
    ++counters_.refused;
    return;
  }
  promise_.give(message.body.heartbeat, now_);
  told_commit_ = std::max(told_commit_, message.body.commit);
  replicator_.on_log(message, now_);
}

void Member::on_row(const Message<RowBody>& message) {
  if (role_ != Role::kPrimary) return;
  const Envelope& envelope = message.envelope;
  // What is committed, and who may read, goes by the rows of the view's members alone (agreed(),
  // ReadLease::until()). Rows of others say what they need in order to join.
  if (!view_.has(envelope.sender) && !rows_.contains(envelope.sender)) make_room_for_row();
  Row& row = rows_[envelope.sender];
  if (row.incarnation != envelope.incarnation) {
    row = {.incarnation = envelope.incarnation, .wants_since = row.wants_since};
  }
  row.heard = now_;
  if (view_.has(envelope.sender)) {
    row.wants_since = 0;
  } else if (row.wants_since == 0) {
    row.wants_since = now_;
  }
  if (envelope.epoch != view_.epoch) return;
  row.returned = (envelope.flags & kReturned) != 0;
  if (!row.returned) lease_.promised(envelope.sender, message.body.promised);
  row.epoch = envelope.epoch;
  row.in_step = (envelope.flags & kInStep) != 0;
  row.copies = (envelope.flags & kCopies) != 0;
  // Messages of one connection come in order, but a member may have two for a moment.
  if (row.in_step && message.body.durable < row.body.durable) return;
  row.body = message.body;
}

/// Keeps few rows of members outside of the view: the one that was heard of the longest ago goes.
void Member::make_room_for_row() {
  auto oldest = rows_.end();
  std::size_t outside = 0;
  for (auto row = rows_.begin(); row != rows_.end(); ++row) {
    if (view_.has(row->first)) continue;
    ++outside;
    if (oldest == rows_.end() || row->second.heard < oldest->second.heard) oldest = row;
  }
  if (outside >= kMaxJoiners) rows_.erase(oldest);
}

// --- a member that is not the primary

Status Member::follow(Nanoseconds now) {
  if (role_ == Role::kOutside) {
    try_proposal(now);
    return {};
  }
  if (role_ == Role::kCandidate) {
    consider_candidates(now);
    return {};
  }
  if (Status placed = replicator_.step(now); !placed) return placed;
  if (Status durable = log_.commit(); !durable) return durable;
  if (const auto at = replicator_.deadline()) wake_at(*at);
  if (replicator_.in_step()) {
    commit_ = std::max(commit_, std::min(told_commit_, log_.end().lsn));
    noted_ = replicator_.known();
  }
  if (role_ == Role::kBackup && options_.leads == Leads::kAlways) {
    lead_again(now);
  } else if (role_ == Role::kBackup && options_.leads == Leads::kIfElected) {
    const Nanoseconds until = std::max(promise_.until(), patient_until_);
    if (now >= until) {
      stand_for_election(now);
    } else {
      wake_at(until);
    }
  }
  return {};
}

/// Tells the primary what is in our row, if that is not what it knows already; that more is
/// applied or copied, or what a bulk load would find, is not worth a message.
void Member::send_row() {
  if (!links_.is_connected()) {
    sent_row_.reset();
    return;
  }
  const bool in_step = replicator_.in_step();
  const bool copies = copy_ && !in_step;
  const Lsn wanted = std::max(applied_.lsn, copies ? copy_->log : 0);
  const RowBody body{.received = in_step ? replicator_.received() : wanted,
                     .durable = in_step ? log_.durable() : 0,
                     .applied = in_step ? applied_.lsn : wanted,
                     .known = in_step  ? replicator_.known()
                              : copies ? copy_->nodes
                                       : 0,
                     .promised = promise_.heartbeat(),
                     .load = load_row_};
  const auto is_told = [&](RowBody told) {
    if (in_step) told.applied = body.applied;
    if (copies) told.known = body.known;
    told.load.unused_chunk = body.load.unused_chunk;
    told.load.nodes = body.load.nodes;
    return std::memcmp(&told, &body, sizeof body) == 0;
  };
  if (sent_row_ && !row_was_lost_ && sent_epoch_ == view_.epoch && sent_in_step_ == in_step &&
      is_told(*sent_row_)) {
    return;
  }
  const bool is_returned = view_.ack != Ack::kAll && born_in_ == view_.epoch;
  const auto flags = static_cast<std::uint8_t>(
      (in_step ? kInStep : 0) | (is_returned ? kReturned : 0) | (copies ? kCopies : 0));
  std::array<std::byte, sizeof(Envelope) + sizeof(RowBody)> bytes;
  const std::size_t length = encode(Kind::kRow, flags, std::as_bytes(std::span(&body, 1)), bytes);
  row_was_lost_ = !links_.send_to_primary(std::span(bytes).first(length));
  if (row_was_lost_) wake_at(now_ + options_.timing.heartbeat / 10);
  sent_row_ = body;
  sent_epoch_ = view_.epoch;
  sent_in_step_ = in_step;
}

std::size_t Member::encode(Kind kind, std::uint8_t flags, std::span<const std::byte> body,
                           std::span<std::byte> to) const {
  return encode_message(options_.group,
                        {.checksum = 0,
                         .sender = options_.self.id,
                         .incarnation = options_.incarnation,
                         .epoch = view_.epoch,
                         .length = 0,
                         .kind = kind,
                         .flags = flags},
                        body, {}, to);
}

// --- how old what is applied is

/// At the primary: answers, if what it has committed is all that any member has. At any other
/// member: keeps the answer.
void Member::on_probe(const Message<ProbeBody>& message) {
  const Envelope& envelope = message.envelope;
  if (envelope.kind == Kind::kProbe) {
    if (!may_read()) return;
    const ProbeBody body{.number = message.body.number, .committed = commit_};
    std::array<std::byte, sizeof(Envelope) + sizeof body> bytes;
    const std::size_t length = encode(Kind::kProbed, 0, std::as_bytes(std::span(&body, 1)), bytes);
    links_.send_to(envelope.sender, std::span(bytes).first(length));
    return;
  }
  const bool is_expected = envelope.sender == view_.primary &&
                           envelope.incarnation == view_.incarnation &&
                           message.body.number == probe_;
  if (is_expected && !probe_answer_) probe_answer_ = message.body.committed;
}

/// Asks the primary once in each heartbeat's time, but not before the last answer was of use.
void Member::probe() {
  if (probe_answer_ && applied_.lsn >= *probe_answer_) {
    complete_at_ = probed_at_;
    probe_answer_.reset();
  }
  const Nanoseconds interval = options_.timing.heartbeat;
  // What was not answered is lost.
  const Nanoseconds next = probed_at_ + (probe_answer_ ? 10 : 1) * interval;
  if (now_ < next || !links_.is_connected()) return wake_at(std::max(next, now_ + interval / 4));
  const ProbeBody body{.number = ++probe_, .committed = 0};
  std::array<std::byte, sizeof(Envelope) + sizeof body> bytes;
  const std::size_t length = encode(Kind::kProbe, 0, std::as_bytes(std::span(&body, 1)), bytes);
  probe_answer_.reset();
  probed_at_ = clock_.now();
  links_.send_to_primary(std::span(bytes).first(length));
  wake_at(now_ + interval);
}

}  // namespace silurus::replication::group
