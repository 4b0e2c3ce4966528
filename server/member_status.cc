// SPDX-License-Identifier: Apache-2.0

#include "server/member_status.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "protocol/messages.h"
#include "server/limits.h"

namespace silurus::server {
void MemberStatus::update(const replication::group::Member& member, Nanoseconds now) {
  using replication::group::Role;
  // Relaxed, but for read_until_: figures, or hints of what the group's thread alone decides.
  const bool is_news = member.epoch() != epoch_.load(std::memory_order_relaxed) ||
                       member.role() != std::exchange(role_, member.role());
  committed_.store(member.committed(), std::memory_order_relaxed);
  applied_.store(member.applied().lsn, std::memory_order_relaxed);
  is_primary_.store(member.role() == Role::kPrimary, std::memory_order_relaxed);
  epoch_.store(member.epoch(), std::memory_order_relaxed);
  complete_at_.store(member.complete_at(), std::memory_order_relaxed);
  // Release: pairs with the acquire in read_until() and told_until().
  told_until_.store(member.told_until(), std::memory_order_release);
  read_until_.store(member.read_until(), std::memory_order_release);
  if (!is_news && now < next_look_) return;
  next_look_ = now + kMemberStatusInterval;
  const std::lock_guard lock(mutex_);
  if (member.needs_copy() && !facts_.needs_copy) {
    log::info(member.label() +
              ": the group's log does not reach back to where this member's ends: it needs a copy");
  }
  if (member.contradicts() && !facts_.contradicts) {
    log::error(
        member.label() +
        ": this member's tree contradicts the group's: nothing is taken over from the group. "
        "If the group is right, empty the data directory");
  }
  note_copies_of(member);
  facts_.primary = member.view().primary;
  facts_.role = to_string(member.role());
  facts_.store_is_away = member.store_is_away();
  facts_.fails_over = member.fails_over();
  facts_.needs_copy = member.needs_copy();
  facts_.contradicts = member.contradicts();
  facts_.counters = member.counters();
  facts_.replicated = member.replicated();
  facts_.members.clear();
  for (const auto& info : member.view().members) {
    facts_.members.push_back({info, true, member.applied_at(info.id)});
  }
}

/// How many members have everything, and whether that is enough. Under the mutex.
void MemberStatus::note_copies_of(const replication::group::Member& member) {
  const replication::group::View& view = member.view();
  const bool leads = member.role() == replication::group::Role::kPrimary;
  facts_.copies = view.members.size();
  facts_.copies_needed = view.needed();
  facts_.min_members = view.min_members;
  facts_.joiners = member.joiners();
  const std::string refusal = leads && !view.has_enough() ? too_few_members(view) : "";
  if (facts_.refusal.empty() && !refusal.empty()) {
    log::warning(member.label() + ": writes are refused: " + refusal);
  }
  if (leads && !facts_.refusal.empty() && refusal.empty()) {
    log::info(member.label() + ": writes are taken again: the group has " +
              std::to_string(facts_.copies) + " copies");
  }
  facts_.refusal = refusal;
}

void MemberStatus::give_up(const Error& reason) {
  read_until_.store(0, std::memory_order_release);  // as in update()
  told_until_.store(0, std::memory_order_release);
  is_primary_.store(false, std::memory_order_relaxed);
  complete_at_.store(-1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  facts_.role = "failed";
  facts_.failure = reason.message;
}

void MemberStatus::note_copies(const replication::TransferSourceCounters& copies) {
  const std::lock_guard lock(mutex_);
  facts_.copies_given = copies;
}

void MemberStatus::note_copy_obstacle(const std::string& why) {
  const std::lock_guard lock(mutex_);
  facts_.copy_obstacle = why;
}

void MemberStatus::note_load(const BulkLoad& load) {
  const std::lock_guard lock(mutex_);
  facts_.load = load;
}

std::uint64_t MemberStatus::staleness_ns(Nanoseconds now) const {
  if (may_read(now)) return 0;
  const Nanoseconds complete = complete_at_.load(std::memory_order_relaxed);
  if (complete < 0) return protocol::kNoEnd;
  return static_cast<std::uint64_t>(std::max<Nanoseconds>(now - complete, 0));
}

Error MemberStatus::not_primary() const {
  const std::lock_guard lock(mutex_);
  std::string text = "this member of " + cluster_ + " is ";
  if (!facts_.failure.empty()) return {ErrorCode::kNotPrimary, text + "out: " + facts_.failure};
  text += facts_.role.empty() ? "outside of any view" : facts_.role;
  if (facts_.primary == self_) return {ErrorCode::kNotPrimary, text + " without its lease"};
  const auto primary = std::ranges::find(facts_.members, facts_.primary,
                                         [](const auto& member) { return member.info.id; });
  text += primary == facts_.members.end()
              ? "; the primary is unknown"
              : "; when it last looked the primary was at " + primary->info.clients;
  return {ErrorCode::kNotPrimary, text};
}

MemberStatus::Facts MemberStatus::facts(Nanoseconds now) const {
  Facts facts;
  {
    const std::lock_guard lock(mutex_);
    facts = facts_;
  }
  facts.cluster = cluster_;
  facts.shard = shard_;
  facts.self = self_;
  facts.epoch = epoch();
  facts.committed_lsn = committed_.load(std::memory_order_relaxed);
  facts.applied_lsn = applied_.load(std::memory_order_relaxed);
  const Nanoseconds until = read_until();
  facts.lease_left = until == INT64_MAX ? INT64_MAX : std::max<Nanoseconds>(until - now, 0);
  return facts;
}

}  // namespace silurus::server
