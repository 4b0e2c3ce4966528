// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "common/clock.h"

namespace silurus::server::keeper {

/// How a server ended.
struct LifeEnd {
  int exit_status = 0;        ///< if no signal ended it
  int signal = 0;             ///< that ended it; 0: none
  bool was_ready = false;     ///< clients could connect
  Nanoseconds ready_for = 0;  ///< since then
  bool was_asked = false;     ///< the keeper ended it, for a new one: by an order, or since it hung
  bool has_hung_in_start = false;  ///< the keeper killed it, since its start did not advance
};

/// What follows.
struct Verdict {
  bool restarts = false;
  int exit_status = 0;    ///< the keeper's, if no successor is started
  Nanoseconds pause = 0;  ///< before the successor is started
  /// The old life is let go before that, although no successor can serve yet: there may not be
  /// memory enough for both.
  bool lets_go = false;
};

/// Whether and when a successor is started. A pure state machine: no process, no clock. One thread.
///
/// * A clean end (status 0) and wrong usage (2) end the keeper, with that status; so does a server
///   that could not even start the first time.
/// * What the keeper ended for a new one is followed by that at once, also if it was not ready yet.
/// * The first end after a while of service is followed by a successor at once, further ones after
///   pauses that double. After kMostFailures without a while of service in between, one more ends
///   the keeper.
/// * A successor that was killed (SIGKILL, as of the kernel when memory runs out) before it was
///   ready may have lacked the memory that the old life takes; not so one that the keeper killed.
class RestartPolicy {
 public:
  static constexpr int kMostFailures = 10;
  static constexpr Nanoseconds kSettledAfter = 60 * kSecond;
  static constexpr Nanoseconds kFirstPause = 100 * kMillisecond;
  static constexpr Nanoseconds kLongestPause = 10 * kSecond;

  Verdict on_end(const LifeEnd& end);

 private:
  bool any_was_ready_ = false;
  int failures_ = 0;  ///< in succession
};

/// "died of SIGSEGV", "ended with status 1": for the log.
std::string to_string(const LifeEnd& end);

}  // namespace silurus::server::keeper
