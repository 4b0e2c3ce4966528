// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <functional>
#include <vector>

#include "common/log.h"
#include "common/units.h"
#include "replication/group/member.h"

// What a member does as the primary.

namespace silurus::replication::group {

bool Member::may_write() const {
  if (role_ != Role::kPrimary || failed_ || applied_.lsn < ready_at_) return false;
  // What was applied while there were too few members is on its way to those that have come.
  if (view_.has_enough() && acknowledged_ < applied_.lsn) return false;
  const Lsn end = log_.end().lsn;
  if (end < kMaxLagBytes) return true;
  // A quorum does not wait for a member that is slow or gone.
  Lsn least = view_.ack == Ack::kQuorum ? agreed(view_) : UINT64_MAX;
  for (const MemberInfo& member : view_.members) {
    if (view_.ack != Ack::kQuorum) least = std::min(least, durable_at(member.id));
  }
  return end - least < kMaxLagBytes || least >= end;
}

Status Member::wrote() {
  // Under way before the flush begins.
  replicator_.tell(applied_.lsn, lease_.heartbeat());
  if (Status durable = log_.commit(); !durable) {
    failed_ = durable.error();
    return durable;
  }
  wake_at(now_);
  return {};
}

bool Member::may_read() const { return clock_.now() < read_until(); }

Nanoseconds Member::read_until() const {
  const bool is_ready = role_ == Role::kPrimary && !failed_ && applied_.lsn >= ready_at_;
  return is_ready ? lease_until() : 0;
}

std::optional<Lsn> Member::applied_at(MemberId member) const {
  if (member == options_.self.id) return applied_.lsn;
  const auto row = rows_.find(member);
  if (role_ != Role::kPrimary || row == rows_.end() || !row->second.in_step) return std::nullopt;
  return row->second.body.applied;
}

/// Whether the log is kept for a member outside of the view.
bool Member::keeps_log_for(const Row& row) const {
  const bool is_there = row.body.applied >= log_.start() && row.body.applied < log_.end().lsn;
  // One that does not get on may hold up writers for half of the time.
  const bool has_patience = (now_ - row.wants_since) / kLongestJoin % 2 == 0;
  return is_there && has_patience && now_ - row.heard <= kLogKeptFor;
}

std::optional<LoadRow> Member::load_at(MemberId member) const {
  if (member == options_.self.id) return load_row_;
  const Row* const row = role_ == Role::kPrimary ? row_of(member) : nullptr;
  return row == nullptr ? std::nullopt : std::optional(row->body.load);
}

std::optional<Lsn> Member::wanted_log() const {
  std::optional<Lsn> wanted;
  if (role_ != Role::kPrimary) return wanted;
  for (const auto& [id, row] : rows_) {
    if (view_.has(id) || !keeps_log_for(row)) continue;
    wanted = std::min(row.body.applied, wanted.value_or(row.body.applied));
  }
  return wanted;
}

std::vector<Joiner> Member::joiners() const {
  std::vector<Joiner> joiners;
  if (role_ != Role::kPrimary) return joiners;
  for (const auto& [id, row] : rows_) {
    if (view_.has(id) || now_ - row.heard > kLogKeptFor) continue;
    joiners.push_back({.info = newest({.id = id, .peers = {}, .clients = {}}),
                       .copies = row.copies,
                       .nodes = row.copies ? row.body.known : 0,
                       .at = row.body.applied,
                       .keeps_log = keeps_log_for(row)});
  }
  return joiners;
}

/// Notes what may be told from here on (told_until()), before it is.
void Member::make_promises() {
  const Nanoseconds until = read_until();
  const bool is_alone = until == INT64_MAX;
  told_until_ = std::max(told_until_, is_alone ? now_ + options_.timing.lease / 2 : until);
}

Nanoseconds Member::lease_until() const {
  const Nanoseconds until = lease_.until(view_, options_.self.id);
  // A member that may have joined without our knowing may also vote.
  return proposal_ ? std::min(until, lease_.until(proposal_->next, options_.self.id)) : until;
}

Status Member::lead(Nanoseconds now) {
  make_promises();  // what others read by now, however long ago the last step was
  if (Status durable = log_.commit(); !durable) return durable;
  // As committed is told what is applied here: else others would show a version before we do, and
  // a client that has read it there would read an older one here.
  replicator_.tell(applied_.lsn, lease_.heartbeat());
  find_commit();
  if (now >= next_heartbeat_) {
    next_heartbeat_ = now + options_.timing.heartbeat;
    replicator_.beat(applied_.lsn, lease_.beat(now));
    look_after_members(now);
  }
  wake_at(next_heartbeat_);
  if (proposal_) {
    try_proposal(now);
  } else {
    take_back_in();
    take_in_joiners();
  }
  return {};
}

/// What is known of another member that is in step, in this epoch; null: nothing.
const Member::Row* Member::row_of(MemberId member) const {
  const auto row = rows_.find(member);
  const bool is_known =
      row != rows_.end() && row->second.epoch == view_.epoch && row->second.in_step;
  return is_known ? &row->second : nullptr;
}

/// What of the log is surely durable at a member.
Lsn Member::durable_at(MemberId member) const {
  if (member == options_.self.id) return log_.durable();
  const Row* const row = row_of(member);
  return row == nullptr ? 0 : row->body.durable;
}

/// How much of the log is committed as far as one view goes: that which is, or may be the next.
Lsn Member::agreed(const View& view) const {
  std::vector<Lsn> durable;
  Lsn known = log_.durable();
  for (const MemberInfo& member : view.members) {
    const Row* const row = row_of(member.id);
    const bool is_self = member.id == options_.self.id;
    // One that may have left this view in an earlier life belongs to the next one only.
    const bool counts = is_self || (row != nullptr && (!row->returned || view.epoch > view_.epoch));
    durable.push_back(counts ? durable_at(member.id) : 0);
    if (!is_self) known = std::min(known, counts ? row->body.known : 0);
  }
  std::ranges::sort(durable, std::greater());
  switch (view.ack) {
    case Ack::kAll:
      return durable.back();
    case Ack::kQuorum: {
      const std::size_t copies =
          std::max(view.quorum(), std::min(view.needed(), view.members.size()));
      return std::min(durable[copies - 1], log_.durable());
    }
    case Ack::kMetadata:
      return known;
  }
  return 0;
}

/// Committed is what the view says, and the one that may take its place at any moment; and nothing
/// before all that earlier primaries may have committed is.
void Member::find_commit() {
  const Lsn least = std::min(agreed(view_), proposal_ ? agreed(proposal_->next) : UINT64_MAX);
  if (least < ready_at_) return;
  commit_ = std::max(commit_, least);
  if (view_.has_enough()) acknowledged_ = std::max(acknowledged_, least);
}

/// Whether all that may be committed by now is so by what the next view says, too.
bool Member::is_enough(const View& next) const {
  return next.ack == Ack::kAll || agreed(next) >= std::max(commit_, ready_at_);
}

/// Whether no member of the next view leads another one before the end of what others were told.
bool Member::keeps_promises(const View& next) const {
  const Nanoseconds promised = lease_.until(next, options_.self.id);
  // What is over takes no promise: one that has started again gives none before it is taken in.
  return std::max(promised, now_) >= told_until_;
}

bool Member::may_follow(const View& next) const { return is_enough(next) && keeps_promises(next); }

/// Votes out members that are silent, or too slow for too long.
void Member::look_after_members(Nanoseconds now) {
  const Timing& timing = options_.timing;
  std::vector<MemberId> leaving;
  std::string why;
  for (const MemberInfo& member : view_.members) {
    if (member.id == options_.self.id) continue;
    Row& row = rows_[member.id];
    const Lsn durable = durable_at(member.id);
    if (row.marked == 0 || durable >= row.mark) {
      row.mark = log_.end().lsn;
      row.marked = now;
    }
    const bool is_silent = now - row.heard > timing.silence;
    const bool is_slow = now - row.marked > timing.slowness;
    if (!is_silent && !is_slow) continue;
    leaving.push_back(member.id);
    const Nanoseconds since = is_silent ? row.heard : row.marked;
    why += (why.empty() ? "" : "; ") + ("member " + std::to_string(member.id)) + " at " +
           member.peers + ", " + (is_silent ? "silent" : "slow") + " for " +
           format_duration(now - since);
  }
  if (leaving.empty() || proposal_) return;
  View next = view_;
  ++next.epoch;
  std::erase_if(next.members, [&](const MemberInfo& member) {
    return std::ranges::find(leaving, member.id) != leaving.end();
  });
  if (!may_follow(next)) return;  // soon
  log::info(label() + ": votes out " + why);
  propose(std::move(next));
}

/// Takes in one member that has caught up.
void Member::take_in_joiners() {
  if (proposal_ || applied_.lsn < ready_at_ || view_.members.size() >= kMaxMembers) return;
  for (const Registration& joiner : registrations_) {
    const MemberId id = joiner.member.id;
    const Row* const row = row_of(id);
    if (view_.has(id) || row == nullptr) continue;
    const Lsn durable = row->body.durable;
    const bool is_silent = now_ - row->heard > options_.timing.silence / 2;
    if (row->incarnation != joiner.incarnation || is_silent || durable < commit_ ||
        durable + kJoinLagBytes < log_.end().lsn) {
      continue;
    }
    View next = view_;
    ++next.epoch;
    next.members.push_back(joiner.member);
    if (!may_follow(next)) continue;
    log::info(label() + ": takes in member " + std::to_string(id) + " at " + joiner.member.peers +
              ", which has caught up");
    return propose(std::move(next));
  }
}

/// A member that restarted, and may have left the view before it did, belongs to the next one
/// again. So does one that is at another address now, which others have to know.
void Member::take_back_in() {
  for (const MemberInfo& member : view_.members) {
    const Row* const row = row_of(member.id);
    if (row == nullptr || (!row->returned && newest(member) == member) ||
        row->body.durable < std::max(commit_, ready_at_)) {
      continue;
    }
    View next = view_;
    ++next.epoch;
    for (MemberInfo& one : next.members) one = newest(one);
    if (!may_follow(next)) continue;
    log::info(label() + ": takes member " + std::to_string(member.id) + " at " + member.peers +
              " back in, which has started again");
    return propose(std::move(next));
  }
}

}  // namespace silurus::replication::group
