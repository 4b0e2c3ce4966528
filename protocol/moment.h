#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/messages.h"

namespace silurus::protocol {

/// The moment that a time of day means: all that was published up to then. A stamp of
/// replication/hybrid_clock.h (48 bits of Unix time in units of 2^-16 s, 16 bits of count) whose
/// count is full; client and tool may not include that. What lies before
/// kFirstStamp (the first day of 1970) is kFirstStamp: a moment is never taken for a version.
constexpr Moment moment_at(std::int64_t unix_ns) {
  constexpr std::uint64_t kSecondNs = 1'000'000'000;
  const auto ns = static_cast<std::uint64_t>(unix_ns < 0 ? 0 : unix_ns);
  const std::uint64_t units = (ns / kSecondNs << 16) + ((ns % kSecondNs << 16) / kSecondNs);
  return std::max<Moment>((units << 16) | 0xffff, kFirstStamp);
}

}  // namespace silurus::protocol
