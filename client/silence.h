// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/clock.h"

namespace silurus::client {

/// Whether a server is silent: it owes an answer, and for some heartbeats' time neither a message
/// nor a heartbeat has come. It has died or hangs, or is too busy to get to its heartbeats; in each
/// case its memory may still answer. One thread; no clock but the time given.
class Silence {
 public:
  /// Intervals of heartbeats without any of them: one or two may be late, not this many.
  static constexpr Nanoseconds kHeartbeats = 5;
  /// At least that much: less says that some process had to wait for a core.
  static constexpr Nanoseconds kShortest = 20 * kMillisecond;

  explicit Silence(Nanoseconds heartbeat = 0)
      : limit_(std::max(kHeartbeats * heartbeat, kShortest)) {}

  /// What has come so far, and how many answers are owed. Returns whether it is silent.
  bool look(std::uint64_t messages, std::uint64_t heartbeat, std::uint32_t owed, Nanoseconds now) {
    const bool shows_life = messages != messages_ || heartbeat != heartbeat_;
    // What has been owed only since some moment after the last look is owed from now on.
    if (shows_life || owed == 0 || owed_ == 0) heard_at_ = now;
    messages_ = messages;
    heartbeat_ = heartbeat;
    owed_ = owed;
    is_silent_ = now - heard_at_ >= limit_;
    return is_silent_;
  }
  /// By the last look.
  bool is_silent() const { return is_silent_; }
  /// Interval at which look() has to be called while an answer is owed.
  Nanoseconds look_every() const { return limit_ / 2; }

 private:
  Nanoseconds limit_;
  bool is_silent_ = false;
  std::uint64_t messages_ = 0;
  std::uint64_t heartbeat_ = 0;
  Nanoseconds heard_at_ = 0;
  std::uint32_t owed_ = 0;
};

}  // namespace silurus::client
