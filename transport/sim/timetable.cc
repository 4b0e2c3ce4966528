// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/timetable.h"

#include <algorithm>
#include <cmath>

namespace silurus::transport::sim {

namespace {

/// Less than that is left of a slot only by rounding.
constexpr float kNothing = 0.001F;

}  // namespace

Timetable::Slot& Timetable::slot(std::int64_t number) {
  const auto index = static_cast<std::size_t>(number - first_);
  if (index >= slots_.size()) slots_.resize(index + 1);
  return slots_[index];
}

std::int64_t Timetable::find_room(std::int64_t number) {
  std::int64_t found = number;
  while (slot(found).skip != 0) found += slot(found).skip;
  // All on the way lead there from now on.
  for (std::int64_t at = number; at != found;) {
    Slot& passed = slot(at);
    const std::int64_t next = at + passed.skip;
    passed.skip = static_cast<std::uint32_t>(found - at);
    at = next;
  }
  return found;
}

Nanoseconds Timetable::claim(Nanoseconds now, Nanoseconds at, double duration) {
  const std::int64_t current = now / kSlot;
  if (slots_.empty()) first_ = current;
  for (; first_ < current && !slots_.empty(); ++first_) slots_.pop_front();
  first_ = std::max(first_, slots_.empty() ? current : first_);
  std::int64_t number = std::max(at / kSlot, first_);
  double left = duration;
  double done_at = static_cast<double>(at);
  while (left > 0) {
    number = find_room(number);
    Slot& here = slot(number);
    const double room = static_cast<double>(kSlot) - static_cast<double>(here.taken);
    const double taken = std::min(left, room);
    here.taken += static_cast<float>(taken);
    left -= taken;
    done_at = static_cast<double>(number * kSlot) + static_cast<double>(here.taken);
    if (static_cast<float>(kSlot) - here.taken < kNothing) here.skip = 1;
    if (left < kNothing) break;
  }
  return std::max(at + static_cast<Nanoseconds>(std::ceil(duration)),
                  static_cast<Nanoseconds>(std::ceil(done_at)));
}

}  // namespace silurus::transport::sim
