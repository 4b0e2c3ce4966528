// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/clock.h"

namespace silurus::server::keeper {

/// Whether a server hangs: it has shown no life for a limit. A pure state machine: no clock but the
/// time given. One thread.
///
/// * A server that is ready has to show life once in each limit.
/// * The start of a successor has to advance once in kStartLimit (or in the limit, if that is
///   longer). The start of a first server is watched by the service manager, or by no one.
/// * A server that stops, or that has been killed, is watched no more.
/// * A watcher that did not get to look for half a limit was itself stopped, together with the
///   server perhaps (a control group was frozen): the time counts anew.
class HangWatch {
 public:
  /// Steps of a start that are told lie much closer together.
  static constexpr Nanoseconds kStartLimit = 300 * kSecond;
  static constexpr Nanoseconds kNever = INT64_MAX;

  /// `limit` 0: nothing is watched.
  explicit HangWatch(Nanoseconds limit = 0) : ready_limit_(limit) {}

  void on_start(bool is_successor, Nanoseconds now) {
    limit_ = is_successor && ready_limit_ != 0 ? std::max(kStartLimit, ready_limit_) : 0;
    alive_at_ = looked_at_ = now;
  }
  void on_ready(Nanoseconds now) {
    limit_ = ready_limit_;
    alive_at_ = looked_at_ = now;
  }
  void on_sign_of_life(Nanoseconds now) { alive_at_ = now; }
  /// It stops or has been killed.
  void stop() { limit_ = 0; }

  /// When to look again.
  Nanoseconds due() const {
    if (limit_ == 0) return kNever;
    return std::min(alive_at_ + limit_, looked_at_ + limit_ / kLooksPerLimit);
  }
  /// Looks: whether it hangs. After what it has said is heard.
  bool look(Nanoseconds now) {
    if (limit_ == 0) return false;
    if (now - looked_at_ > limit_ / 2) alive_at_ = now;
    looked_at_ = now;
    return now - alive_at_ >= limit_;
  }
  /// By which its life is measured now; 0: it is not watched.
  Nanoseconds limit() const { return limit_; }

 private:
  static constexpr Nanoseconds kLooksPerLimit = 4;

  Nanoseconds ready_limit_;
  Nanoseconds limit_ = 0;
  Nanoseconds alive_at_ = 0;
  Nanoseconds looked_at_ = 0;
};

}  // namespace silurus::server::keeper
