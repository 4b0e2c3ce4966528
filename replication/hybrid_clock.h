// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

#include "replication/record.h"

namespace silurus::replication {

/// A hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical physical clocks",
/// OPODIS 2014): its readings follow the time of day as closely as they can and never go back, even
/// if the time of day does, or is another machine's. A stamp is 48 bits of Unix time in units of
/// 2^-16 s, as in that paper, and 16 bits that count within a unit. After the time of day has
/// fallen back, it counts until that has caught up (lead_ns() says how far it has to). Not
/// thread-safe.
class HybridClock {
 public:
  static constexpr int kCountBits = 16;
  static constexpr int kFractionBits = 16;

  /// The stamp of a moment, without a count.
  static Stamp from_unix_ns(std::int64_t unix_ns) {
    const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(unix_ns, 0));
    const std::uint64_t units =
        (ns / kSecondNs << kFractionBits) + ((ns % kSecondNs << kFractionBits) / kSecondNs);
    return units << kCountBits;
  }
  /// The moment of a stamp, rounded down to a unit.
  static std::int64_t to_unix_ns(Stamp stamp) {
    const std::uint64_t units = stamp >> kCountBits;
    const std::uint64_t fraction = units & ((std::uint64_t{1} << kFractionBits) - 1);
    return static_cast<std::int64_t>((units >> kFractionBits) * kSecondNs +
                                     (fraction * kSecondNs >> kFractionBits));
  }

  /// A stamp that differs from the time of day by more than this says nothing of the time: some
  /// clock has jumped. It still says what came after what.
  static constexpr std::int64_t kMaxSkewNs = 1'000'000'000;
  /// How far a stamp is ahead of that time of day, which has fallen back since, or is another
  /// machine's; 0: it is not.
  static std::int64_t lead_ns(Stamp stamp, std::int64_t unix_ns) {
    return std::max<std::int64_t>(to_unix_ns(stamp) - std::max<std::int64_t>(unix_ns, 0), 0);
  }

  /// A stamp above all before it, for an event of our own at that time of day.
  Stamp next(std::int64_t unix_ns) {
    last_ = std::max(last_ + 1, from_unix_ns(unix_ns));
    return last_;
  }
  /// Learns of a stamp (read from a log, or sent by another machine): later ones are above it.
  void observe(Stamp stamp) { last_ = std::max(last_, stamp); }
  Stamp last() const { return last_; }

 private:
  static constexpr std::uint64_t kSecondNs = 1'000'000'000;
  Stamp last_ = 0;
};

}  // namespace silurus::replication
