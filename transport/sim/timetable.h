// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "common/clock.h"

namespace silurus::transport::sim {

/// What a device that does one thing after the other has taken on: by slots of time, each filled up
/// to what fits, so that work of an earlier time is served earlier, in whatever order the
/// calls are made. Within a slot there is no order. One thread.
class Timetable {
 public:
  /// Takes on something of that length (ns), given to the device at that time, no sooner than
  /// now; returns when it is done. Nothing is asked again about times before `now`.
  Nanoseconds claim(Nanoseconds now, Nanoseconds at, double duration);

 private:
  /// Short beside what a packet takes from host to host, long beside what it takes on the wire.
  static constexpr Nanoseconds kSlot = 250;
  struct Slot {
    float taken = 0;         ///< ns
    std::uint32_t skip = 0;  ///< to a slot that may have room, if this one has none
  };

  Slot& slot(std::int64_t number);
  /// The first slot from this one on that has room.
  std::int64_t find_room(std::int64_t number);

  std::int64_t first_ = 0;  ///< number of the first slot kept: its time / kSlot
  std::deque<Slot> slots_;
};

}  // namespace silurus::transport::sim
