// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "client/call.h"
#include "client/write_window.h"
#include "common/clock.h"
#include "common/result.h"
#include "silurus/options.h"
#include "silurus/statistics.h"

namespace silurus::client {

/// The calls of one client, above its links: each stays in its slot from its beginning to its end,
/// while links come and go under it. What a lost link, or a server that is not the primary, leaves
/// undone waits in a queue for the next one, as far as it may be asked twice: searches; writes that
/// were not sent, or whose outcome the group remembers; requests for text, the beginning of a load.
/// The rest ends with the error.
///
/// Each call's callback is called exactly once. In steady state nothing is allocated: slots keep
/// their memory. One thread. Callbacks run within end(), lose() and end_queue(), and may open other
/// calls.
template <int D>
class PendingCalls {
 public:
  static constexpr std::uint32_t kMaxInFlight = 4096;
  static constexpr std::uint32_t kIndexBits = 13;
  static constexpr std::uint32_t kMostCalls = 1u << kIndexBits;  ///< with the client's own

  /// `options.reconnect_for`: 0 if there is no next link.
  PendingCalls(const Clock& clock, const ClientOptions& options);

  /// kUnavailable: every slot is taken.
  Status check_room() const;
  /// Whether a call of the client's own finds room: also while all calls of its user are under way.
  bool has_room_for_own() const { return !free_.empty() || calls_.size() < kMostCalls; }
  /// Takes a slot for a call with this callback. check_room() was fine.
  std::uint32_t open(AnyCallback<D>&& callback, const Treatment& treatment, Nanoseconds now);
  /// Calls the callback, and gives the slot back unless an answer is yet to come.
  void end(std::uint32_t index, const Error* error, Nanoseconds now);
  /// Moves a search that was sent to a slot of its own, where it goes on in another way; its old
  /// slot, which is forgotten, waits for the answer. Nothing: there is no slot.
  std::optional<std::uint32_t> move_on(std::uint32_t index);
  /// The server of a link shows life again: what the offloader has given back while it was silent
  /// may be handed over once more, should it fall silent anew.
  void forget_given_back(const Link<D>* link);
  /// Gives back the slot of a forgotten call, when its answer is here or cannot come any more.
  void release(std::uint32_t index);

  Call<D>& operator[](std::uint32_t index) { return *calls_[index]; }
  const Call<D>& operator[](std::uint32_t index) const { return *calls_[index]; }
  /// What the call's message says besides its request.
  request::Envelope envelope(std::uint32_t index) const;
  /// Slots that there have been; each of them is valid above.
  std::uint32_t size() const { return static_cast<std::uint32_t>(calls_.size()); }
  /// What names the call in messages.
  std::uint32_t id(std::uint32_t index) const {
    return (calls_[index]->generation << kIndexBits) | index;
  }
  /// The slot of the call that has this name now.
  std::optional<std::uint32_t> find(std::uint32_t name) const;
  /// Calls that were opened and have not ended, but for the client's own.
  std::size_t in_flight() const { return in_flight_; }

  // --- the queue of calls that wait for a server
  void queue(std::uint32_t index);
  /// Takes the call from its link and queues it: the server answered that it is not the primary.
  void put_back(std::uint32_t index);
  /// The same, since the answer is not as fresh as it must be.
  void refuse_answer(std::uint32_t index, Nanoseconds now);
  /// The link of the call is lost: the call is queued again, or ended with `why`. `remembers`: the
  /// link's server was of a group, which remembers writes.
  void lose(std::uint32_t index, const Error& why, bool remembers);
  bool is_queue_empty() const { return queue_.empty(); }
  /// Takes all of the queue: writes in the order of their numbers, after the others.
  std::vector<std::uint32_t> take_queue();
  /// The earliest deadline in the queue; INT64_MAX: none.
  Nanoseconds queue_deadline() const;
  /// Ends all of the queue.
  void end_queue(const Error& why);
  /// From here on nothing is queued again: what is lost ends.
  void stop_repeating() { is_repeating_ = false; }
  bool is_repeating() const { return is_repeating_; }

  // --- deadlines
  /// For every live call that is due by its deadline: `end_overdue(index)`. `shows_life(link)` is
  /// asked once for each link with a call that has patience. Returns how many were due.
  template <typename ShowsLife, typename EndOverdue>
  std::size_t end_due(Nanoseconds now, ShowsLife&& shows_life, EndOverdue&& end_overdue);
  /// The deadline of a call was set anew.
  void note_deadline(const Call<D>& call, Nanoseconds now) {
    next_deadline_ = std::min(next_deadline_, call.next_look(now));
  }

  /// The newest version that an answer was of.
  rtree::Version newest() const { return newest_; }
  /// When an answer was refused last; INT64_MIN / 2: never.
  Nanoseconds refused_at() const { return refused_at_; }
  bool is_fresh(const Call<D>& call, Nanoseconds now) const {
    return !is_repeating_ ||
           (call.version() >= call.freshness.at_least && now <= call.freshness.until);
  }

  WriteWindow writes;
  ClientStatistics statistics;  ///< what was counted on all links

 private:
  static_assert(kMaxInFlight < kMostCalls, "the client's own calls find room, too");

  bool may_repeat(const Call<D>& call, const Error& why, bool remembers) const;
  void forget_ended();
  std::uint32_t take_slot();
  void record(const Call<D>& call, bool has_failed, Nanoseconds now);

  const Clock& clock_;
  const Nanoseconds deadline_;
  const Nanoseconds patience_;
  const bool has_client_id_;
  bool is_repeating_;
  std::vector<std::unique_ptr<Call<D>>> calls_;  ///< grows to what was needed at once
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> queue_;  ///< names of calls, in order of arrival; some have ended
  std::size_t in_flight_ = 0;
  Nanoseconds next_deadline_ = INT64_MAX;  ///< or the next look for signs of life
  rtree::Version newest_ = 0;
  Nanoseconds refused_at_ = INT64_MIN / 2;
};

template <int D>
template <typename ShowsLife, typename EndOverdue>
std::size_t PendingCalls<D>::end_due(Nanoseconds now, ShowsLife&& shows_life,
                                     EndOverdue&& end_overdue) {
  if (now < next_deadline_) return 0;
  next_deadline_ = INT64_MAX;
  std::size_t count = 0;
  std::vector<std::pair<Link<D>*, bool>> lives;
  const auto lives_on = [&](Link<D>* link) {
    const auto known = std::ranges::find(lives, link, &std::pair<Link<D>*, bool>::first);
    if (known != lives.end()) return known->second;
    return lives.emplace_back(link, shows_life(*link)).second;
  };
  for (std::uint32_t index = 0; index < size(); ++index) {
    Call<D>& call = *calls_[index];
    if (!call.is_live()) continue;
    if (call.patience != 0 && call.link != nullptr && lives_on(call.link)) {
      call.deadline = now + call.patience;
    }
    if (call.deadline > now) {
      note_deadline(call, now);
      continue;
    }
    ++statistics.deadlines_exceeded;
    ++count;
    end_overdue(index);
  }
  if (count > 0) forget_ended();
  return count;
}

}  // namespace silurus::client
