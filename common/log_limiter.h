// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

namespace silurus::log {

/// Keeps one peer from filling the log: of what is said of it, one line in kInterval, which also
/// counts those that were held back before it. What is kept is bounded: of more than kMaxPeers
/// within one interval, the others are counted as one. One thread.
///
///   if (const auto line = limiter.line(peer, "disconnecting " + name, now)) log::warning(*line);
class LogLimiter {
 public:
  static constexpr Nanoseconds kInterval = 10 * kSecond;
  static constexpr std::size_t kMaxPeers = 256;

  /// What to log now; nothing: it is held back, and counted.
  std::optional<std::string> line(std::string_view peer, std::string_view message, Nanoseconds now);

 private:
  struct State {
    Nanoseconds next = 0;  ///< no line before this
    std::uint64_t held_back = 0;
  };
  State& state_of(std::string_view peer, Nanoseconds now);

  std::map<std::string, State, std::less<>> peers_;
  State others_;
};

}  // namespace silurus::log
