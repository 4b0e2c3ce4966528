// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/backoff.h"
#include "client/cluster_info.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"

namespace silurus::client {

/// Finds the primary of a group: goes round the members, asks each which one it is, follows what
/// they say, pauses after a round in vain (Backoff), and then asks the directory, if there is one.
///
/// A pure state machine: no connection, no clock, no dice but its own. Its owner asks tick() for
/// the next step, carries it out, and tells how it went:
///
///   for (auto action = finder.tick(now); action.step == Step::kDial;) {
///     auto link = dial(action.member->url);
///     action = link ? finder.dialled(*action.member, link->is_of_group(), now)
///                   : finder.not_dialled(*action.member, link.error(), time_spent, now);
///   }
///
/// One thread. Members keep their places in memory while they are linked.
class PrimaryFinder {
 public:
  struct Options {
    Nanoseconds connect_timeout = 0;  ///< time for the first search
    Nanoseconds reconnect_for = 0;    ///< time for each further one; 0: there is none
    bool follow_primary = true;       ///< false: the one member is taken whatever it is
    bool has_directory = false;
    std::uint64_t seed = 1;
  };
  struct Member {
    Member(std::string address, std::uint64_t seed) : url(std::move(address)), backoff(seed) {}
    std::string url;
    Backoff backoff;
    Nanoseconds next_try = 0;  ///< not before this, if there are others
    bool is_linked = false;
    bool in_view = false;  ///< by what the primary says, or itself while there is none
  };

  enum class Step : std::uint8_t {
    kWait,           ///< nothing to do before next_tick()
    kDial,           ///< connect to the member, then dialled() or not_dialled()
    kDrop,           ///< disconnect the member, which has not answered; then tick()
    kAsk,            ///< ask the member for its group, then heard() at any time later
    kLead,           ///< the member is the primary
    kReadDirectory,  ///< then listed()
    kGiveUp,         ///< failure() says why
    kOutOfTime,      ///< no primary within the time that there was: give_up()
  };
  struct Action {
    Step step = Step::kWait;
    Member* member = nullptr;  ///< that the step is about; null if the step names none
  };

  PrimaryFinder(const Options& options, Nanoseconds now);

  /// Adds a member, unless it is known, or there are kMaxClusterMembers.
  void learn(const std::string& url);

  // --- what to do, and how it went
  Action tick(Nanoseconds now);
  Action dialled(Member& member, bool is_of_group, Nanoseconds now);
  /// `took`: how long the attempt lasted, which ended now.
  Action not_dialled(Member& member, const Error& error, Nanoseconds took, Nanoseconds now);
  /// The member's answer to the question; also to one that the owner asked for reasons of its own.
  Action heard(Member& member, const Result<ClusterInfo>& info, Nanoseconds now);
  /// The question could not be sent.
  void not_asked(const Member& member, Nanoseconds now);
  void listed(const Result<std::vector<std::string>>& urls);
  /// The owner has connected to a member for reasons of its own.
  void linked(Member& member);
  /// The client has tried to connect, in vain.
  void not_linked(Member& member, Nanoseconds took, Nanoseconds now);
  /// The client has disconnected a member that is not the primary.
  void dropped(Member& member);
  /// The link to the primary is lost, or given up since it `denies` to be that. The search begins
  /// again, or ends: failure().
  void lost(const Error& why, bool denies, Nanoseconds now);
  void give_up(Error why);
  /// Begins the search again after a failure.
  void restart(Nanoseconds now);

  // --- what is known
  const std::vector<std::unique_ptr<Member>>& members() const { return members_; }
  /// Null while it is looked for.
  Member* primary() const { return primary_; }
  /// The member that was asked, and has not answered yet; null: none.
  Member* asked() const { return asked_; }
  /// Why none is being looked for any more.
  const std::optional<Error>& failure() const { return failure_; }
  /// What went wrong last.
  const Error& last_error() const { return last_error_; }
  /// When the search ends in vain.
  Nanoseconds until() const { return seek_until_; }
  /// When to call tick() next, while there is no primary and no failure.
  Nanoseconds next_tick() const { return asked_ != nullptr ? asked_until_ : next_attempt_; }
  /// There is one server, and nothing that could name others.
  bool is_alone() const { return members_.size() == 1 && !options_.has_directory; }
  bool had_primary() const { return had_primary_; }

 private:
  Action meet(Member& member, bool is_of_group, Nanoseconds now);
  Action lead_with(Member& member, Nanoseconds now);
  Member* next_candidate(Nanoseconds now);
  Member& candidate(std::size_t i) { return *members_[(first_ + i) % members_.size()]; }
  std::string one_of(std::string_view urls) const;
  Member* find(std::string_view url);

  const Options options_;
  Random random_;
  std::vector<std::unique_ptr<Member>> members_;
  Member* primary_ = nullptr;
  Member* asked_ = nullptr;
  Nanoseconds asked_until_ = 0;
  std::string hint_;        ///< where the primary is said to be
  std::size_t first_ = 0;   ///< the member that a round begins with
  std::size_t cursor_ = 0;  ///< members that this round has tried
  bool had_primary_ = false;
  Nanoseconds seek_until_;
  Nanoseconds next_attempt_ = 0;
  Nanoseconds led_since_ = 0;
  Backoff backoff_;
  Error last_error_;
  std::optional<Error> failure_;
};

}  // namespace silurus::client
