// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "silurus/time.h"

namespace silurus {

/// How a thread waits for what others do.
enum class WaitPolicy : std::uint8_t {
  kAdaptive,  ///< spin where that pays, pause or sleep where it does not
  kSpin,      ///< never sleep: the least latency, a whole core
  kSleep,     ///< never spin: the least CPU where little happens
  kPeriodic,  ///< look now and then: CPU time in proportion to the work
};

struct WaitOptions {
  WaitPolicy policy = WaitPolicy::kAdaptive;
  /// How long kAdaptive spins at most. About what it takes to sleep and be woken (system call,
  /// scheduler, doorbell at the peer), so that waiting takes at most twice the better choice.
  Nanoseconds spin = 30 * kMicrosecond;
  /// The longest pause. 0: kAdaptive never pauses (a server's workers do), and kPeriodic for 5 ms
  /// at most.
  Nanoseconds longest_pause = 0;
};

}  // namespace silurus
