// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/clock.h"
#include "protocol/messages.h"

namespace silurus::client {

/// What the heartbeats of one server say, on our own clock.
struct HeartbeatState {
  Nanoseconds since = 0;       ///< the last one was sent at this time or later; 0: none yet
  rtree::Version version = 0;  ///< published then
  std::uint64_t staleness = protocol::kNoEnd;  ///< how old that version may have been then
  Nanoseconds lease_until = 0;                 ///< until then what it publishes is the newest
  Nanoseconds seen = 0;                        ///< when the last one was found
  double cpu_busy = 0;                         ///< 0 to 1
  std::uint32_t queued = 0;

  /// For how long at most its newest version may have been superseded now; kNoEnd: not known.
  std::uint64_t staleness_at(Nanoseconds now) const {
    if (since == 0 || staleness == protocol::kNoEnd) return protocol::kNoEnd;
    if (now < lease_until) return 0;
    return staleness + static_cast<std::uint64_t>(now - since);
  }
};

/// Dates what the heartbeats of one server promise (docs/decisions/0104). When a heartbeat was sent
/// is not known, but that it was after a message of ours that it knows of had gone: what it
/// promises is counted from there. One thread; no clock but the one given.
class Heartbeats {
 public:
  /// `gives_leases`: the server is a member of a group; of one that is alone, what it publishes is
  /// always the newest.
  explicit Heartbeats(bool gives_leases = false) : gives_leases_(gives_leases) {}

  /// A message is about to go to the server.
  void count_message(const Clock& clock) {
    ++sent_;
    if (!gives_leases_ || probe_ != 0) return;
    probe_ = sent_;
    probe_sent_ = clock.now();
  }
  /// Takes what lies in the mailbox. False: it is the heartbeat that was there before.
  bool take(const protocol::Heartbeat& heartbeat, Nanoseconds now);

  const HeartbeatState& state() const { return state_; }
  /// Sequence number of the last heartbeat.
  std::uint64_t sequence() const { return sequence_; }

 private:
  bool gives_leases_;
  HeartbeatState state_;
  std::uint64_t sequence_ = 0;
  std::uint64_t sent_ = 0;      ///< messages
  std::uint64_t probe_ = 0;     ///< number of the message that a heartbeat shall know of; 0: none
  Nanoseconds probe_sent_ = 0;  ///< it went at this time or later
};

}  // namespace silurus::client
