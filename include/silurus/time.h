// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

namespace silurus {

/// Nanoseconds of a monotonic clock with an arbitrary start. Only differences mean anything.
using Nanoseconds = std::int64_t;

constexpr Nanoseconds kMicrosecond = 1'000;
constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kSecond = 1'000'000'000;

/// Number of a version of the tree. The empty tree is version 1; each publication adds one.
using Version = std::uint64_t;

/// A moment in the life of a tree: the number of a version, or, from kFirstStamp on, a time of day
/// as moment_at() tells it.
using Moment = std::uint64_t;
constexpr Moment kFirstStamp = Moment{1} << 48;

/// The moment of a time of day, in nanoseconds of Unix time: all that was published up to then. A
/// stamp of the log (replication/hybrid_clock.h: 48 bits of Unix time in units of 2^-16 s, 16 bits
/// of count) whose count is full. What lies before the second day of 1970 is kFirstStamp: such a
/// moment is never taken for a version.
constexpr Moment moment_at(std::int64_t unix_ns) {
  constexpr std::uint64_t kSecondNs = 1'000'000'000;
  const auto ns = static_cast<std::uint64_t>(unix_ns < 0 ? 0 : unix_ns);
  const std::uint64_t units = (ns / kSecondNs << 16) + ((ns % kSecondNs << 16) / kSecondNs);
  return std::max<Moment>((units << 16) | 0xffff, kFirstStamp);
}

}  // namespace silurus
