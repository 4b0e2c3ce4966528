// SPDX-License-Identifier: Apache-2.0

#include "client/primary_finder.h"

#include <algorithm>
#include <utility>

namespace silurus::client {
namespace {

/// Longest pause between two rounds of looking for a primary: most of a fail-over is waiting for
/// the next view, and the pause comes on top.
constexpr Nanoseconds kLongestRoundPause = 20 * kMillisecond;
/// A member that was asked which one is the primary, and does not say within this time, is passed
/// over.
constexpr Nanoseconds kAskFor = 300 * kMillisecond;
/// Time after which a primary counts: the next search for one then begins with short pauses.
constexpr Nanoseconds kSettledAfter = kSecond;
/// A member to which an attempt to connect fails only after this time is not there at all, and left
/// alone for kLetSleep.
constexpr Nanoseconds kLongDial = 100 * kMillisecond;
constexpr Nanoseconds kLetSleep = kSecond;

template <typename... Args>
Error no_primary(Args&&... args) {
  return {ErrorCode::kConnectionLost, (std::string() + ... + std::forward<Args>(args))};
}

}  // namespace

PrimaryFinder::PrimaryFinder(const Options& options, Nanoseconds now)
    : options_(options),
      random_(options.seed),
      seek_until_(now + options.connect_timeout),
      backoff_(options.seed, kLongestRoundPause),
      last_error_(no_primary("no server was found")) {}

// --- members -------------------------------------------------------------------------------------

void PrimaryFinder::learn(const std::string& url) {
  if (url.empty() || find(url) != nullptr || members_.size() >= kMaxClusterMembers) return;
  members_.push_back(std::make_unique<Member>(url, random_()));
}

/// The address of a member whose fabric is the one that we were told to use.
std::string PrimaryFinder::one_of(std::string_view urls) const {
  const auto all = split_urls(urls);
  const std::string_view known = members_.empty() ? std::string_view() : members_[0]->url;
  const std::string_view scheme = known.substr(0, known.find("://"));
  for (const std::string& url : all) {
    if (url.substr(0, url.find("://")) == scheme) return url;
  }
  return all.empty() ? std::string() : all.front();
}

PrimaryFinder::Member* PrimaryFinder::find(std::string_view url) {
  const auto found = std::ranges::find_if(members_, [&](const auto& m) { return m->url == url; });
  return found == members_.end() ? nullptr : found->get();
}

void PrimaryFinder::listed(const Result<std::vector<std::string>>& urls) {
  if (!urls) {
    last_error_ = urls.error();
    return;
  }
  // Those that were members once make room for those that are.
  std::erase_if(members_, [&](const auto& member) {
    return !member->is_linked && std::ranges::count(*urls, member->url) == 0;
  });
  for (const std::string& url : *urls) learn(url);
}

void PrimaryFinder::linked(Member& member) {
  member.next_try = 0;
  member.is_linked = true;
}

void PrimaryFinder::not_linked(Member& member, Nanoseconds took, Nanoseconds now) {
  member.next_try = now + (took > kLongDial ? kLetSleep : member.backoff.next());
}

void PrimaryFinder::dropped(Member& member) {
  member.is_linked = false;
  member.in_view = false;
  if (asked_ == &member) asked_ = nullptr;
}

// --- the search ----------------------------------------------------------------------------------

PrimaryFinder::Action PrimaryFinder::tick(Nanoseconds now) {
  if (primary_ != nullptr || failure_) return {};
  if (asked_ != nullptr) {
    if (now < asked_until_) return {};
    last_error_ = no_primary(asked_->url, " does not answer");
    return {Step::kDrop, std::exchange(asked_, nullptr)};
  }
  if (now >= seek_until_) return {Step::kOutOfTime};
  if (now < next_attempt_) return {};
  Member* const member = next_candidate(now);
  if (member != nullptr) {
    if (!member->is_linked) return {Step::kDial, member};
    return meet(*member, true, now);
  }
  // A whole round in vain.
  cursor_ = 0;
  next_attempt_ = now + backoff_.next();
  return {options_.has_directory ? Step::kReadDirectory : Step::kWait};
}

/// The next one of this round to try; null: there is none left.
PrimaryFinder::Member* PrimaryFinder::next_candidate(Nanoseconds now) {
  if (!hint_.empty()) {
    learn(hint_);
    Member* const member = find(std::exchange(hint_, {}));
    if (member != nullptr && now >= member->next_try) return member;
  }
  // Members that recently cost time in vain come last.
  const bool any_awake =
      std::ranges::any_of(members_, [&](const auto& member) { return now >= member->next_try; });
  while (any_awake && cursor_ < members_.size() && now < candidate(cursor_).next_try) ++cursor_;
  return cursor_ < members_.size() ? &candidate(cursor_++) : nullptr;
}

PrimaryFinder::Action PrimaryFinder::dialled(Member& member, bool is_of_group, Nanoseconds now) {
  linked(member);
  return meet(member, is_of_group, now);
}

PrimaryFinder::Action PrimaryFinder::meet(Member& member, bool is_of_group, Nanoseconds now) {
  if (is_alone() && (!is_of_group || !options_.follow_primary)) return lead_with(member, now);
  asked_ = &member;
  asked_until_ = now + kAskFor;
  return {Step::kAsk, &member};
}

PrimaryFinder::Action PrimaryFinder::not_dialled(Member& member, const Error& error,
                                                 Nanoseconds took, Nanoseconds now) {
  not_linked(member, took, now);
  last_error_ = error;
  if ((is_alone() && !had_primary_) || error.code == ErrorCode::kUnsupported ||
      error.code == ErrorCode::kNoCollection) {
    give_up(error);
    return {Step::kGiveUp};
  }
  return {};
}

void PrimaryFinder::not_asked(const Member& member, Nanoseconds now) {
  if (asked_ == &member) asked_until_ = now;
}

PrimaryFinder::Action PrimaryFinder::heard(Member& member, const Result<ClusterInfo>& info,
                                           Nanoseconds now) {
  const bool was_asked = asked_ == &member;
  if (was_asked) asked_ = nullptr;
  if (!info) {
    if (was_asked) last_error_ = info.error();
    return {};
  }
  std::vector<std::string> others;
  for (const std::string& urls : info->others) {
    others.push_back(one_of(urls));
    learn(others.back());
  }
  if (info->is_primary) {
    for (auto& other : members_) other->in_view = std::ranges::count(others, other->url) != 0;
    return was_asked && primary_ == nullptr ? lead_with(member, now) : Action{};
  }
  if (!was_asked) return {};
  if (primary_ == nullptr && info->is_backup) member.in_view = true;
  const std::string primary = one_of(info->primary);
  if (!primary.empty() && primary != member.url) {
    hint_ = primary;
  } else {
    last_error_ = no_primary("the group has no primary yet");
  }
  return {};
}

PrimaryFinder::Action PrimaryFinder::lead_with(Member& member, Nanoseconds now) {
  primary_ = &member;
  had_primary_ = true;
  led_since_ = now;
  return {Step::kLead, &member};
}

void PrimaryFinder::lost(const Error& why, bool denies, Nanoseconds now) {
  last_error_ = why;
  // The others first: this one was lost.
  const auto place = std::ranges::find(members_, primary_, &std::unique_ptr<Member>::get);
  first_ = static_cast<std::size_t>(place - members_.begin()) + (denies ? 0 : 1);
  dropped(*std::exchange(primary_, nullptr));
  hint_.clear();
  if (now - led_since_ > kSettledAfter) backoff_ = Backoff(random_(), kLongestRoundPause);
  // One that says that it isn't the primary, and that it is, is asked again a little later.
  next_attempt_ = denies ? now + backoff_.next() : now;
  cursor_ = 0;
  seek_until_ = now + options_.reconnect_for;
  if (why.code != ErrorCode::kConnectionLost || options_.reconnect_for <= 0) give_up(why);
}

void PrimaryFinder::give_up(Error why) { failure_ = std::move(why); }

void PrimaryFinder::restart(Nanoseconds now) {
  failure_.reset();
  seek_until_ = now + options_.reconnect_for;
  next_attempt_ = 0;
  cursor_ = 0;
  backoff_ = Backoff(random_(), kLongestRoundPause);
}

}  // namespace silurus::client
