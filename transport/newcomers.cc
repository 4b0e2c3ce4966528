// SPDX-License-Identifier: Apache-2.0

#include "transport/newcomers.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace silurus::transport {

Newcomers::Newcomers(const ListenOptions& options)
    : most_(std::max<std::uint32_t>(options.max_handshakes, 1)),
      hello_timeout_(options.hello_timeout) {}

std::optional<Newcomers::TurnedAway> Newcomers::make_room() {
  if (newcomers_.size() < most_) return std::nullopt;
  std::size_t most_of_a_peer = 0;
  for (const auto& [peer, count] : crowd_) most_of_a_peer = std::max(most_of_a_peer, count);
  const auto oldest = std::find_if(newcomers_.begin(), newcomers_.end(), [&](const auto& newcomer) {
    return crowd_.at(newcomer.second.peer) == most_of_a_peer;
  });
  return turn_away(
      oldest, RefusalReason::kHandshakes,
      {ErrorCode::kUnavailable,
       std::to_string(newcomers_.size()) + " clients are in the middle of connecting, " +
           std::to_string(most_of_a_peer) + " of them of " + oldest->second.peer +
           ", and this was the oldest: connect again, or shorten --handshake-timeout"});
}

void Newcomers::add(Number number, std::string peer, Nanoseconds now) {
  SILURUS_CHECK(newcomers_.empty() || newcomers_.rbegin()->first < number);
  ++crowd_[peer];
  newcomers_.emplace(number, Newcomer{std::move(peer), now + hello_timeout_});
}

bool Newcomers::remove(Number number) {
  const auto found = newcomers_.find(number);
  if (found == newcomers_.end()) return false;
  forget(found);
  return true;
}

std::optional<Newcomers::TurnedAway> Newcomers::expire(Nanoseconds now) {
  if (newcomers_.empty() || newcomers_.begin()->second.deadline > now) return std::nullopt;
  return turn_away(
      newcomers_.begin(), RefusalReason::kHandshakeTime,
      {ErrorCode::kDeadlineExceeded, "no hello came in the time of --handshake-timeout; closed"});
}

std::optional<Nanoseconds> Newcomers::next_deadline() const {
  if (newcomers_.empty()) return std::nullopt;
  return newcomers_.begin()->second.deadline;
}

Newcomers::TurnedAway Newcomers::turn_away(std::map<Number, Newcomer>::iterator which,
                                           RefusalReason reason, Error error) {
  TurnedAway gone{which->first, which->second.peer, reason, std::move(error)};
  forget(which);
  return gone;
}

void Newcomers::forget(std::map<Number, Newcomer>::iterator which) {
  const auto crowd = crowd_.find(which->second.peer);
  if (--crowd->second == 0) crowd_.erase(crowd);
  newcomers_.erase(which);
}

}  // namespace silurus::transport
