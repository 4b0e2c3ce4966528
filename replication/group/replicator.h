// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "replication/group/wire.h"
#include "replication/log.h"

namespace silurus::replication::group {

/// The member that speaks for a group, and its role.
struct SenderId {
  MemberId member = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Epoch since = 0;  ///< View::since, if it is a primary
};

struct ReplicatorCounters {
  std::uint64_t datagrams = 0;          ///< sent to all, heartbeats included
  std::uint64_t refused_datagrams = 0;  ///< datagrams that multicast had no room for
  std::uint64_t dropped = 0;            ///< messages to one member that found no room
  std::uint64_t bytes_sent = 0;         ///< a datagram counts once
  std::uint64_t bytes_read = 0;         ///< bytes of the primary's log, one-sidedly
  std::uint64_t reads = 0;              ///< fetches by one-sided read
  std::uint64_t messages = 0;           ///< fetches by message
  std::uint64_t fetched_bytes = 0;      ///< that were of use
  std::uint64_t truncations = 0;        ///< parts of a log that was not the primary's
  std::uint64_t refused = 0;            ///< pieces that were no part of the log that we follow
  std::uint64_t pushed = 0;             ///< messages found in our window
  std::uint64_t forwarded = 0;          ///< pieces passed on to the next member
};

/// Brings the primary's log to the other members: how, is what replicators differ in. What is
/// committed, which members the group has and which may read is the Member's business. One thread;
/// no clock of its own: time is handed in.
class Replicator {
 public:
  virtual ~Replicator() = default;

  /// Another view, before lead() or follow() says what this member is in it.
  virtual void enter(const View& /*view*/) {}

  // --- at the primary
  /// From now on this member is the primary, or still is it in a new epoch.
  virtual void lead(const SenderId& self) = 0;
  /// Sends what the log has behind what was sent, and with it, or alone, what is committed and the
  /// number of the newest heartbeat.
  virtual void tell(Lsn commit, std::uint64_t heartbeat) = 0;
  /// Tells again though there is nothing new.
  virtual void beat(Lsn commit, std::uint64_t heartbeat) = 0;
  /// A member of this epoch asks for part of the log.
  virtual void serve(const Message<FetchBody>& fetch) = 0;

  // --- at any other member
  /// From now on the primary is that one. Whether this log is in step with its log is unknown, and
  /// is found out first. `safe`: the end of a batch that is surely in both. A new epoch of the same
  /// term changes nothing else.
  virtual void follow(const SenderId& self, const SenderId& primary, LogPosition safe,
                      Nanoseconds now) = 0;
  /// Follows no member any more: what comes is dropped.
  virtual void leave() = 0;
  /// A message of this epoch's primary.
  virtual void on_log(const Message<LogBody>& message, Nanoseconds now) = 0;
  virtual void on_fetched(const Message<FetchBody>& message, Nanoseconds now) = 0;
  virtual void on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes,
                               Nanoseconds now) = 0;
  /// Puts what has come into the log (not durably), and asks for what is missing. An error is that
  /// of the log, and final.
  virtual Status step(Nanoseconds now) = 0;
  /// When step() must be called though nothing comes; nothing: never.
  virtual std::optional<Nanoseconds> deadline() const = 0;

  /// This log is the primary's, as far as it goes.
  virtual bool in_step() const = 0;
  virtual Lsn received() const = 0;
  /// All that is committed lies before it; of a member in step, and the primary has said so since
  /// this member began to follow it.
  virtual Lsn known() const = 0;
  /// The primary's log does not reach back to where this one ends: nodes must be copied.
  virtual bool needs_copy() const = 0;
  /// And must have this log's records as far as there: those behind it the primary does not have,
  /// so they were never committed.
  virtual Lsn copy_needs() const = 0;
  /// What is committed here is not in the primary's log: one of them is another group's, or the
  /// view store has lost what each member has. Nothing is taken back then, and nothing followed.
  virtual bool contradicts() const = 0;
  /// What was sent and fetched so far, in whatever role.
  virtual ReplicatorCounters counters() const = 0;
};

}  // namespace silurus::replication::group
