// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "common/clock.h"

namespace silurus::transport {

/// How long a thread pauses before it looks again for what has arrived, so that the CPU time that
/// it uses stays in proportion to its work. Waking up costs more than most requests do (a timer, a
/// switch, cold caches): a thread that is woken for each one, or that spins for the next, uses a
/// whole core for a tenth of its work. A pause collects them. It is long enough that what waking
/// costs is a given share of the work that a pause collects: at a tenth of the load ten times as
/// long as at the full one, plus a constant. A pure function of what it is told; one for each
/// thread.
///
///   if (const auto pause = plan.next(busy)) plan.paused(take_a_pause(*pause)); else
///   sleep_until_called();
class PausePlan {
 public:
  struct Options {
    double overhead = 0.2;  ///< what pauses may cost, as a part of the work
    /// Added to every pause: a thread that is busy most of the time is in no hurry either, and has
    /// fewer pauses to pay.
    Nanoseconds least = 20 * kMicrosecond;
    Nanoseconds most = 5 * kMillisecond;  ///< what a request may wait for at the least load
    /// Pauses of the greatest length without any work, after which it is better to be called.
    int idle_pauses = 4;
  };

  /// What waking costs in all, in multiples of its system call: the rest is in caches that have
  /// gone cold meanwhile, and shows as slower work (docs/decisions/0093-naps.md).
  static constexpr double kWithColdCaches = 3;

  PausePlan() = default;
  explicit PausePlan(const Options& options) : options_(options) {}

  /// How long to pause next; nothing: there is no work, sleep until woken. `busy` is how
  /// long the thread worked since its last pause.
  std::optional<Nanoseconds> next(Nanoseconds busy);
  /// How long the pause was in the end.
  void paused(Nanoseconds took) { last_ = took; }
  /// The CPU time that falling asleep and waking took; told now and then.
  void cost(Nanoseconds cpu_time);
  /// After it was called: whatever was idle, now there is work.
  void called() { fruitless_ = 0; }

  /// Its estimate of the share of time in which there is work, 0 to 1.
  double load() const { return span_ > 0 ? work_ / span_ : 0; }

 private:
  Options options_;
  double work_ = 0;       ///< work of the last cycles, of which earlier ones weigh less
  double span_ = 0;       ///< likewise
  double cost_ = 10'000;  ///< cost of a pause, all in all, ns
  int fruitless_ = 0;     ///< pauses of the longest kind, in a row, that found nothing
  Nanoseconds last_ = 0;
};

}  // namespace silurus::transport
