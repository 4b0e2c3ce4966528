#pragma once

#include <cstdint>

#include "silurus/time.h"

namespace silurus {

/// How a thread waits for what others do.
enum class WaitPolicy : std::uint8_t {
  kAdaptive,  ///< spin a little, then sleep
  kSpin,      ///< never sleep: the least latency, a whole core
  kSleep,     ///< never spin: the least CPU where little happens
  kNap,       ///< look now and then: CPU time in proportion to the work
};

struct WaitOptions {
  WaitPolicy policy = WaitPolicy::kAdaptive;
  /// How long kAdaptive spins. About what it costs to sleep and be woken (system call, scheduler,
  /// doorbell at the peer), so that waiting costs at most twice the better choice.
  Nanoseconds spin = 30 * kMicrosecond;
};

}  // namespace silurus
