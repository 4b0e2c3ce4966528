// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/clock.h"
#include "transport/newcomers.h"
#include "transport/refusals.h"
#include "transport/verbs/handshake.h"

namespace silurus::transport::verbs {

/// The challenges that a listener has sent and that have not been answered: as many as there may be
/// newcomers, and for as long. One thread.
class Challenges {
 public:
  struct Sent {
    ChallengeRequest request;
    Challenge challenge;
    std::string peer;  ///< who asked for it
  };

  /// The counters must outlive it.
  Challenges(const ListenOptions& options, RefusalCounters& refusals)
      : newcomers_(options), refusals_(refusals) {}

  /// One more, to be sent.
  const Challenge& add(const ChallengeRequest& request, const std::string& peer, Nanoseconds now);
  /// One that this peer asked for, and which is still good; null if there is none. Valid until the
  /// next call.
  const Sent* find(std::uint64_t number, const std::string& peer, Nanoseconds now);
  /// It has been answered rightly, and is not to be answered again. False answers leave it, so that
  /// no program can spoil another one's; each has one chance in 2^128.
  void remove(std::uint64_t number);

 private:
  void expire(Nanoseconds now);
  void drop(const Newcomers::TurnedAway& gone);

  Newcomers newcomers_;
  RefusalCounters& refusals_;
  std::map<std::uint64_t, Sent> sent_;
  std::uint64_t next_number_ = 1;
};

}  // namespace silurus::transport::verbs
