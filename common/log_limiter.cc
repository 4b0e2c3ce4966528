// SPDX-License-Identifier: Apache-2.0

#include "common/log_limiter.h"

#include <utility>

namespace silurus::log {

LogLimiter::State& LogLimiter::state_of(std::string_view peer, Nanoseconds now) {
  const auto found = peers_.find(peer);
  if (found != peers_.end()) return found->second;
  if (peers_.size() >= kMaxPeers) {
    std::erase_if(peers_, [&](const auto& one) { return one.second.next <= now; });
  }
  if (peers_.size() >= kMaxPeers) return others_;
  return peers_[std::string(peer)];
}

std::optional<std::string> LogLimiter::line(std::string_view peer, std::string_view message,
                                            Nanoseconds now) {
  State& state = state_of(peer, now);
  if (now < state.next) {
    ++state.held_back;
    return std::nullopt;
  }
  state.next = now + kInterval;
  std::string line(message);
  const std::uint64_t held_back = std::exchange(state.held_back, 0);
  if (held_back == 0) return line;
  return line + " (" + std::to_string(held_back) + " more such lines of " +
         (&state == &others_ ? "others" : std::string(peer)) + " were held back)";
}

}  // namespace silurus::log
