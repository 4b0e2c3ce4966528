// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "silurus/time.h"

namespace silurus {

/// A monotonic clock. Protocol code never asks the system for the time: it is handed a Clock, so
/// that the very same code runs in virtual time (transport/sim). Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanoseconds now() const = 0;
};

/// CLOCK_BOOTTIME: goes on while the machine sleeps, so that leases end meanwhile.
class SystemClock final : public Clock {
 public:
  Nanoseconds now() const override;
};

/// A clock that stands still until it is told to move: for tests of policies and leases.
class ManualClock final : public Clock {
 public:
  Nanoseconds now() const override { return now_; }
  void advance(Nanoseconds by) { now_ += by; }

 private:
  Nanoseconds now_ = 1'000'000'000;
};

}  // namespace silurus
