// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/clock.h"
#include "common/random.h"

namespace silurus::client {

/// How long to wait before trying again: twice as long each time, up to a limit, and of that a
/// random part between a half and the whole, so that clients that lost one server together do not
/// come back together. No clock and no dice but its own.
class Backoff {
 public:
  static constexpr Nanoseconds kFirst = 10 * kMillisecond;
  static constexpr Nanoseconds kLongest = kSecond;

  explicit Backoff(std::uint64_t seed, Nanoseconds longest = kLongest)
      : random_(seed), limit_(longest) {}

  Nanoseconds next() {
    const Nanoseconds half = longest_ / 2;
    longest_ = std::min(2 * longest_, limit_);
    return half + static_cast<Nanoseconds>(random_.below(static_cast<std::uint64_t>(half) + 1));
  }

 private:
  Random random_;
  Nanoseconds limit_;
  Nanoseconds longest_ = kFirst;
};

}  // namespace silurus::client
