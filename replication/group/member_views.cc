// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/log.h"
#include "replication/group/member.h"

// How a member takes part in the agreement on views.

namespace silurus::replication::group {
namespace {

std::string name_of(const MemberInfo& member) {
  return "member " + std::to_string(member.id) + " at " + member.peers;
}

}  // namespace

Registration Member::registration() const {
  Registration registration{.member = options_.self, .incarnation = options_.incarnation};
  if (role_ == Role::kCandidate) {
    registration.candidate_for = view_.epoch + 1;
    registration.durable = log_.durable();
    registration.log_epoch = log_.last_epoch();
    registration.copy_chain = is_copy() ? log_.end().chain : 0;
  }
  return registration;
}

void Member::ask_store(Nanoseconds now) {
  const bool is_due = now >= next_poll_;
  if (is_due) {
    polled_at_ = now;
    const bool is_urgent = role_ == Role::kCandidate || role_ == Role::kOutside;
    next_poll_ = now + (is_urgent ? options_.timing.candidacy / 2 : options_.timing.poll);
  }
  if ((is_due || announce_now_) && !is_announcing_) {
    is_announcing_ = true;
    announce_now_ = false;
    store_.announce(registration(), [this](Status announced) {
      is_announcing_ = false;
      if (!announced) ++counters_.store_errors;
    });
  }
  if (is_due && is_reading_) read_again_ = true;  // what is under way may not know yet
  if (is_due && !is_reading_) {
    is_reading_ = true;
    store_.read([this](Result<ViewStore::State> state) {
      is_reading_ = false;
      if (std::exchange(read_again_, false)) next_poll_ = now_;
      on_store(std::move(state));
    });
  }
  wake_at(next_poll_);
}

void Member::on_store(Result<ViewStore::State> state) {
  if (!state) {
    ++counters_.store_errors;
    if (!store_is_away_) {
      log::warning(label() + ": the view store is away; the group goes on as it is: " +
                   state.error().message);
    }
    store_is_away_ = true;
    return;
  }
  if (store_is_away_) log::info(label() + ": the view store answers again");
  store_is_away_ = false;
  has_heard_of_store_ = true;
  registrations_ = std::move(state->registrations);
  std::map<MemberId, Incarnation> lives;
  for (const Registration& one : registrations_) lives[one.member.id] = one.incarnation;
  links_.set_registered(std::move(lives));
  if (!state->view) {
    if (role_ == Role::kOutside && options_.leads != Leads::kNever && !proposal_) {
      revision_ = 0;
      propose({.epoch = 1,
               .members = {options_.self},
               .primary = options_.self.id,
               .incarnation = options_.incarnation,
               .since = 1,
               .ack = options_.ack,
               .min_members = options_.min_members.value_or(0)});
      try_proposal(now_);
    }
    return;
  }
  if (state->view->epoch < view_.epoch) return;  // asked before we knew better
  revision_ = state->revision;
  enter(*state->view);
}

void Member::enter(const View& view) {
  if (view.epoch <= view_.epoch) return;
  const View before = std::move(view_);
  view_ = view;
  proposal_.reset();
  replicator_.enter(view_);
  if (!born_in_) born_in_ = view.has(options_.self.id) ? view.epoch : 0;
  ++counters_.views;
  const bool leads = view.primary == options_.self.id && view.incarnation == options_.incarnation;
  log_change(before);
  if (leads) {
    for (const MemberInfo& member : before.members) {
      if (view.has(member.id)) continue;
      links_.expel(member.id);
      rows_.erase(member.id);
      ++counters_.voted_out;
    }
    const bool is_elected = role_ != Role::kPrimary;
    if (is_elected) {
      become_primary();
    } else if (view.ack == Ack::kQuorum && log_.has_room(kMaxRecordBytes)) {
      mark_log();
    }
    for (const MemberInfo& member : view.members) {
      Row& row = rows_[member.id];
      if (is_elected || !before.has(member.id)) row.heard = now_;
      row.mark = log_.end().lsn;
      row.marked = now_;
    }
    replicator_.lead(self());
    next_heartbeat_ = now_;  // the others learn of it by that
    return;
  }
  role_ = view.has(options_.self.id) ? Role::kBackup : Role::kJoining;
  announce_now_ = true;
  if (!view.is_same_term(before)) {
    promise_.begin(now_);
    told_commit_ = 0;
    // The promise to the one before has ended, most likely: this one has yet to be heard.
    patient_until_ = now_ + options_.timing.lease / 2;
  }
  if (view.primary == options_.self.id) {  // in a life that is over
    links_.set_primary({}, 0, now_);
    return replicator_.leave();
  }
  // A member that would take its place wants to know of any life of it that is there still.
  const bool is_heir = options_.leads == Leads::kAlways;
  links_.set_primary(*view.find(view.primary), is_heir ? 0 : view.incarnation, now_);
  replicator_.follow(self(), {view.primary, view.incarnation, view.epoch, view.since}, applied_,
                     now_);
}

/// One line of what is different from the view before.
void Member::log_change(const View& before) const {
  std::string text = label() + ": view " + std::to_string(view_.epoch) + " of " +
                     std::to_string(view_.members.size()) + " members, ";
  const bool is_ours = view_.primary == options_.self.id;
  if (is_ours && view_.incarnation == options_.incarnation) {
    text += "led by us";
  } else {
    text += std::string(view_.has(options_.self.id) ? "with us" : "without us") + ", led by " +
            (is_ours ? "our last life" : "member " + std::to_string(view_.primary));
  }
  for (const MemberInfo& member : view_.members) {
    if (!before.has(member.id)) text += "; new: " + name_of(member);
  }
  for (const MemberInfo& member : before.members) {
    if (!view_.has(member.id)) text += "; gone: " + name_of(member);
  }
  log::info(text);
}

void Member::become_primary() {
  ++counters_.elections;
  role_ = Role::kPrimary;
  acknowledged_ = 0;
  links_.set_primary({}, 0, now_);
  replicator_.leave();
  rows_.clear();
  // Nothing of an earlier view is sure to be committed, nor sure not to be: it is, now, before
  // anything else. The record also makes this epoch's log differ from any other's.
  mark_log();
  ready_at_ = log_.end().lsn;
  replicator_.lead(self());
}

/// A record of this epoch, which each member's log will end with or go on from. Members whose tree
/// is a copy have no other record, and with Ack::kQuorum it is by the last one's epoch that they
/// count.
void Member::mark_log() {
  Stamp stamp = std::max(machine_.stamp(), log_.found().last_stamp);
  LogReader rest(log_.bytes(), applied_);
  while (rest.position().lsn < log_.end().lsn) {
    const auto record = rest.next();
    SILURUS_CHECK(record.has_value());
    stamp = std::max(stamp, record->header.stamp);
  }
  if (Status marked = log_.append_restart(stamp, view_.epoch, options_.incarnation); !marked) {
    failed_ = marked.error();
  }
}

// --- a change of the view

void Member::propose(View next) {
  next.count();
  proposal_ = Proposal{.next = std::move(next), .revision = revision_};
  wake_at(now_);
}

void Member::try_proposal(Nanoseconds now) {
  if (!proposal_ || proposal_->under_way) return;
  if (now < proposal_->retry_at) return wake_at(proposal_->retry_at);
  proposal_->under_way = true;
  proposal_->retry_at = now + options_.timing.candidacy;
  store_.replace(proposal_->revision, proposal_->next,
                 [this, epoch = proposal_->next.epoch](Result<std::uint64_t> revision) {
                   if (!proposal_ || proposal_->next.epoch != epoch) return;
                   on_replaced(std::move(revision));
                 });
}

void Member::on_replaced(Result<std::uint64_t> revision) {
  proposal_->under_way = false;
  if (!revision) {  // it may have been done, and may still be: it is ours until something else is
    ++counters_.store_errors;
    return wake_at(proposal_->retry_at);
  }
  if (*revision == 0) {  // another one, or the same one at an earlier try: reading tells
    next_poll_ = now_;
    return wake_at(now_);
  }
  revision_ = *revision;
  enter(View(proposal_->next));
}

/// The primary is gone, as far as this member can see: it leaves the view, never to return, so that
/// nothing is committed in it any more, and looks for others to make the next one with.
void Member::stand_for_election(Nanoseconds now) {
  log::info(label() + ": has heard nothing of the primary, member " +
            std::to_string(view_.primary) +
            ", for as long as it promised to wait, and stands for "
            "election");
  role_ = Role::kCandidate;
  candidate_since_ = now;
  links_.set_primary({}, 0, now);
  replicator_.leave();
  announce_now_ = true;
  next_poll_ = now;
  wake_at(now);
}

/// The first member of a static group has started again. What was ever committed is durable here,
/// by each Ack, so it needs no other member, and goes on with the members that there were; but not
/// before the read lease of its last life, or of the one whose place it takes, is over: clients may
/// still be reading what that one has left in memory.
void Member::lead_again(Nanoseconds now) {
  if (proposal_) return try_proposal(now);
  const bool takes_over = view_.primary != options_.self.id;
  if (takes_over && links_.is_connected()) return give_up_place();
  if (now < promise_.until()) return wake_at(promise_.until());
  links_.set_primary({}, 0, now);  // the view before is left and never entered again
  replicator_.leave();
  View next = view_;
  next.epoch += takes_over ? kEpochsOfALeader : 1;
  next.primary = options_.self.id;
  next.incarnation = options_.incarnation;
  next.since = next.epoch;
  next.min_members = options_.min_members.value_or(next.min_members);
  for (MemberInfo& one : next.members) one = newest(one);
  propose(std::move(next));
  try_proposal(now);
}

/// Fails, since the member whose place this one was to take is still there. The failure is final:
/// it would otherwise take that place at some later moment, for example when that member starts
/// again.
void Member::give_up_place() {
  failed_ = Error{ErrorCode::kConflict,
                  "--take-over: member " + std::to_string(view_.primary) +
                      ", whose place this one was to take, is still there: stop it first, "
                      "permanently, or start this one without --lead"};
  wake_at(now_);
}

/// A member as it says of itself, if it has said anything.
MemberInfo Member::newest(const MemberInfo& member) const {
  if (member.id == options_.self.id) return options_.self;
  for (const Registration& one : registrations_) {
    if (one.member.id == member.id) return one.member;
  }
  return member;
}

/// Whether this candidate, by what it knows itself, may lead the next view. With Ack::kQuorum that
/// depends on others, too.
bool Member::has_all_committed() const {
  if (view_.ack != Ack::kMetadata) return true;
  // A primary had durable what it committed. Any other knows how long the log must be, unless it
  // has forgotten in a restart.
  return view_.primary == options_.self.id || (noted_ && log_.durable() >= *noted_);
}

/// Whether all that this member has is a copy of a tree: no record has come since.
bool Member::is_copy() const {
  return log_.last_epoch() == 0 && applied_.lsn == log_.end().lsn && applied_.lsn == log_.durable();
}

/// Whether another candidate has nothing but a copy, and this log holds all that is in it. The
/// record by which the primary would have made them comparable never came. A copy is of what was
/// committed, of which there is one history: it is here as far as anything is applied, and behind
/// that if the log has the same chain.
bool Member::has_all_of_copy(const Registration& other) const {
  if (other.copy_chain == 0 || other.durable > log_.durable()) return false;
  LogReader log(log_.bytes(), applied_);
  while (log.position().lsn < other.durable && log.next()) {
  }
  const LogPosition& reached = log.position();
  return reached.lsn > other.durable
             ? reached.lsn == applied_.lsn
             : reached.lsn == other.durable && reached.chain == other.copy_chain;
}

void Member::consider_candidates(Nanoseconds now) {
  wake_at(next_poll_);
  if (proposal_) return try_proposal(now);
  const MemberId self = options_.self.id;
  const auto own = std::pair(log_.last_epoch(), log_.durable());
  const bool by_quorum = view_.ack == Ack::kQuorum;
  View next{.epoch = view_.epoch + 1,
            .members = {options_.self},
            .primary = self,
            .incarnation = options_.incarnation,
            .since = view_.epoch + 1,
            .ack = view_.ack,
            .min_members = options_.min_members.value_or(view_.min_members),
            .most_members = view_.most_members};
  std::size_t yet_to_stand = 0;
  Nanoseconds better = 0;  // how many have a longer log
  for (const Registration& other : registrations_) {
    const MemberId id = other.member.id;
    if (id == self || !view_.has(id)) continue;
    if (id == view_.primary && other.incarnation == view_.incarnation) continue;  // it is gone
    // Among members in step the longer log is the newer one; else the epoch says which it is.
    const auto theirs = std::pair(by_quorum ? other.log_epoch : own.first, other.durable);
    if (other.candidate_for != next.epoch) {
      ++yet_to_stand;
    } else if (by_quorum && has_all_of_copy(other) && (theirs != own || self < id)) {
      next.members.push_back(other.member);
    } else if (theirs > own || (theirs == own && id < self)) {
      ++better;
    } else if (!by_quorum || other.log_epoch != 0) {
      next.members.push_back(other.member);
    }
  }
  const Nanoseconds patience = options_.timing.candidacy;
  // Alone, or with too few, it could only refuse writes that it takes once others have come.
  const bool is_better_with_others =
      !by_quorum && !next.has_enough() && next.members.size() + yet_to_stand >= next.needed();
  const Nanoseconds wait = is_better_with_others ? options_.timing.lease / 2 : patience;
  const Nanoseconds waited = now - candidate_since_;
  // What is known of the others must be newer than our own candidacy.
  const bool is_informed = waited >= patience / 2;
  const bool is_turn = better == 0 ? (yet_to_stand == 0 && is_informed) || waited >= wait
                                   : waited >= std::max(wait, patience * (2 + better));
  // Enough members that one of every quorum is among them; our log is as good as any of theirs.
  const std::size_t needed = by_quorum ? view_.members.size() - view_.quorum() + 1 : 1;
  const bool is_able = has_all_committed() && next.members.size() >= needed &&
                       (needed == 1 || own.first != 0 || is_copy());
  if (!is_turn || !is_able || registrations_.empty()) return wake_at(now + patience / 4);
  if (by_quorum) {
    // One that does not stand is a member all the same, until the new primary has seen to it that
    // what is committed is so without it.
    next.members.clear();
    for (const MemberInfo& member : view_.members) next.members.push_back(newest(member));
  }
  propose(std::move(next));
  try_proposal(now);
}

}  // namespace silurus::replication::group
