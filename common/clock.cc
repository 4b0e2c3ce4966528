// SPDX-License-Identifier: Apache-2.0

#include "common/clock.h"

#include <ctime>

namespace silurus {

Nanoseconds SystemClock::now() const {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

}  // namespace silurus
