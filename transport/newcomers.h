// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "transport/fabric.h"
#include "transport/refusals.h"

namespace silurus::transport {

/// Keeps account of the clients that are in the middle of connecting to a listener, and says which
/// of them have to go: there are ListenOptions::max_handshakes at most, each for hello_timeout. One
/// more pushes out the oldest of the peer (peer.h), or peers, with the most of them, so that no
/// peer can keep others from connecting. No clock and no socket. One thread (or the caller's lock).
class Newcomers {
 public:
  using Number = std::uint64_t;
  /// A client that is turned away, and why. It is a newcomer no more.
  struct TurnedAway {
    Number number;
    std::string peer;
    RefusalReason reason;
    Error error;
  };

  explicit Newcomers(const ListenOptions& options);

  /// The one that has to go before another comes; nothing if there is room.
  std::optional<TurnedAway> make_room();
  /// One more, whose number is greater than those of all before it.
  void add(Number number, std::string peer, Nanoseconds now);
  /// It has connected, or gone. False: it is none, as one that was turned away.
  bool remove(Number number);
  /// The oldest, if its time is over.
  std::optional<TurnedAway> expire(Nanoseconds now);
  /// When expire() is to be called next; nothing if there are no newcomers.
  std::optional<Nanoseconds> next_deadline() const;
  std::size_t size() const { return newcomers_.size(); }

 private:
  struct Newcomer {
    std::string peer;
    Nanoseconds deadline;
  };
  TurnedAway turn_away(std::map<Number, Newcomer>::iterator which, RefusalReason reason,
                       Error error);
  void forget(std::map<Number, Newcomer>::iterator which);

  const std::size_t most_;
  const Nanoseconds hello_timeout_;
  std::map<Number, Newcomer> newcomers_;      ///< the oldest first
  std::map<std::string, std::size_t> crowd_;  ///< newcomers by peer
};

}  // namespace silurus::transport
