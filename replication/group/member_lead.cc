#include <algorithm>

#include "common/log.h"
#include "replication/group/member.h"

// What a member does as the primary.

namespace silurus::replication::group {

bool Member::may_write() const {
  if (role_ != Role::kPrimary || failed_ || applied_.lsn < ready_at_) return false;
  const Lsn end = log_.end().lsn;
  return std::ranges::all_of(view_.members, [&](const MemberInfo& member) {
    Lsn durable = 0;
    return end < kMaxLagBytes ||
           (is_durable_at(member.id, &durable) && durable + kMaxLagBytes > end);
  });
}

Status Member::wrote() {
  // Under way before the flush begins.
  replicator_.tell(commit_, lease_.heartbeat());
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

Nanoseconds Member::lease_until() const {
  const Nanoseconds until = lease_.until(view_, options_.self.id);
  // Whoever may have become a member without our knowing may also vote.
  return proposal_ ? std::min(until, lease_.until(proposal_->next, options_.self.id)) : until;
}

Status Member::lead(Nanoseconds now) {
  if (Status durable = log_.commit(); !durable) return durable;
  replicator_.tell(commit_, lease_.heartbeat());
  find_commit();
  if (now >= next_heartbeat_) {
    next_heartbeat_ = now + options_.timing.heartbeat;
    replicator_.beat(commit_, lease_.beat(now));
    look_after_members(now);
  }
  wake_at(next_heartbeat_);
  if (proposal_) {
    try_proposal(now);
  } else {
    take_in_joiners();
  }
  return {};
}

/// What of the log is surely durable at a member; false if nothing is known of it in this epoch.
bool Member::is_durable_at(MemberId member, Lsn* durable) const {
  if (member == options_.self.id) {
    *durable = log_.durable();
    return true;
  }
  const auto row = rows_.find(member);
  if (row == rows_.end() || row->second.epoch != view_.epoch || !row->second.in_step) return false;
  *durable = row->second.body.durable;
  return true;
}

/// Committed is what is durable at every member of the view, and of the one that may take its place
/// at any moment.
void Member::find_commit() {
  Lsn least = log_.durable();
  const auto consider = [&](const View& view) {
    for (const MemberInfo& member : view.members) {
      Lsn durable = 0;
      if (!is_durable_at(member.id, &durable)) durable = 0;
      least = std::min(least, durable);
    }
  };
  consider(view_);
  if (proposal_) consider(proposal_->next);
  commit_ = std::max(commit_, least);
}

/// Votes out whoever is silent, or too slow for too long.
void Member::look_after_members(Nanoseconds now) {
  const Timing& timing = options_.timing;
  std::vector<MemberId> leaving;
  for (const MemberInfo& member : view_.members) {
    if (member.id == options_.self.id) continue;
    Row& row = rows_[member.id];
    Lsn durable = 0;
    if (!is_durable_at(member.id, &durable)) durable = 0;
    if (row.marked == 0 || durable >= row.mark) {
      row.mark = log_.end().lsn;
      row.marked = now;
    }
    const bool is_silent = now - row.heard > timing.silence;
    const bool is_slow = now - row.marked > timing.slowness;
    if (is_silent || is_slow) leaving.push_back(member.id);
  }
  if (leaving.empty() || proposal_) return;
  View next = view_;
  ++next.epoch;
  std::erase_if(next.members, [&](const MemberInfo& member) {
    return std::ranges::find(leaving, member.id) != leaving.end();
  });
  log::info("votes out " + std::to_string(leaving.size()) + " members that are silent or too slow");
  propose(std::move(next));
}

/// Takes in one member that has caught up.
void Member::take_in_joiners() {
  if (applied_.lsn < ready_at_ || view_.members.size() >= kMaxMembers) return;
  for (const Registration& joiner : registrations_) {
    const MemberId id = joiner.member.id;
    Lsn durable = 0;
    if (view_.has(id) || !is_durable_at(id, &durable)) continue;
    const Row& row = rows_.at(id);
    const bool is_silent = now_ - row.heard > options_.timing.silence / 2;
    if (row.incarnation != joiner.incarnation || is_silent || durable < commit_ ||
        durable + kJoinLagBytes < log_.end().lsn) {
      continue;
    }
    View next = view_;
    ++next.epoch;
    next.members.push_back(joiner.member);
    return propose(std::move(next));
  }
}

}  // namespace silurus::replication::group
