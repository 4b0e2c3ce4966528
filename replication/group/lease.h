// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "common/clock.h"
#include "replication/group/view.h"

// The read lease (Gray and Cheriton, "Leases", SOSP 1989), without synchronised clocks: each side
// measures on its own, from the earlier moment the primary, from the later one the members. All
// that is assumed of clocks is a bound on the drift of their rates.

namespace silurus::replication::group {

/// Clocks gain or lose no more than one part in this number against true time.
constexpr Nanoseconds kDriftDenominator = 1000;

/// A member's half: until its promise ends it joins no view that the primary does not lead.
class Promise {
 public:
  /// A member that has just started may have promised anything in its last life.
  Promise(Nanoseconds lease, Nanoseconds now) : lease_(lease), until_(now + longest()) {}
  /// Promises once more, for the heartbeat of that number, received now.
  void give(std::uint64_t heartbeat, Nanoseconds now) {
    heartbeat_ = std::max(heartbeat_, heartbeat);
    until_ = std::max(until_, now + longest());
  }
  /// Another primary counts its heartbeats anew, and has as long to be heard of as one that was.
  /// What was promised to the one before stays promised.
  void begin(Nanoseconds now) {
    heartbeat_ = 0;
    until_ = std::max(until_, now + longest());
  }
  std::uint64_t heartbeat() const { return heartbeat_; }
  Nanoseconds until() const { return until_; }

 private:
  Nanoseconds longest() const { return lease_ + 2 * lease_ / kDriftDenominator; }
  const Nanoseconds lease_;
  Nanoseconds until_;
  std::uint64_t heartbeat_ = 0;
};

/// The primary's half, for all of its life, whenever it leads: remembers when each heartbeat was
/// sent, and what each member has promised.
class ReadLease {
 public:
  explicit ReadLease(Nanoseconds lease) : lease_(lease) {}

  /// A heartbeat is about to be sent: its number.
  std::uint64_t beat(Nanoseconds now) {
    sent_.push_back(now);
    if (sent_.size() > kRemembered) {
      sent_.pop_front();
      ++first_;
    }
    return first_ + sent_.size() - 1;
  }
  std::uint64_t heartbeat() const { return first_ + sent_.size() - 1; }
  /// A member has promised for the heartbeat of that number; one that was never sent counts
  /// nothing.
  void promised(MemberId member, std::uint64_t heartbeat) {
    if (heartbeat < first_ || heartbeat > this->heartbeat()) return;
    Nanoseconds& until = until_[member];
    until = std::max(until, sent_[heartbeat - first_] + lease_ - 2 * lease_ / kDriftDenominator);
  }
  /// When the lease ends: before that, fewer of the view's other members join another primary
  /// than are needed for that.
  Nanoseconds until(const View& view, MemberId self) const {
    std::vector<Nanoseconds> ends;
    for (const MemberInfo& member : view.members) {
      if (member.id == self) continue;
      const auto found = until_.find(member.id);
      ends.push_back(found == until_.end() ? 0 : found->second);
    }
    std::ranges::sort(ends, std::greater());
    // One more takes a quorum's next view; else any single member may lead it.
    const std::size_t needed = view.ack == Ack::kQuorum ? view.quorum() - 1 : ends.size();
    return needed == 0 ? INT64_MAX : ends[needed - 1];
  }

 private:
  static constexpr std::size_t kRemembered = 1024;
  const Nanoseconds lease_;
  std::deque<Nanoseconds> sent_;
  std::uint64_t first_ = 1;
  std::map<MemberId, Nanoseconds> until_;
};

}  // namespace silurus::replication::group
