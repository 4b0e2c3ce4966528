// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "common/clock.h"

// Time limits of tests. A test never depends on something happening within a short time: it waits
// for a condition, and a limit only ends a test that would wait for ever. All limits are given for
// an idle machine, and scaled by how much slower this one is at that moment:
//
//   ASSERT_TRUE(wait_until([&] { return server.is_empty(); }));   // a minute of an idle machine
//   Client::connect(url, {.connect_timeout = patient(5 * kSecond)});
//
// This is the only file of tests/ that sleeps, besides lines that carry a comment "pacing: ..."
// (scripts/lint): sleeps that decide no test's outcome.

namespace silurus::testing_support {

/// Measures how many times slower than an idle machine this one works, at least 1: a fixed amount
/// of work takes `kReference` there, and more on a slow machine, under a sanitizer, in an emulator,
/// and where others use the cores. It is long enough (several time slices of the scheduler) for
/// this thread to wait for its turn as often as others have to. Where more threads want to run
/// than there are cores, the ratio of the two counts too: it knows the last minute. Thread-safe.
class Slowness {
 public:
  /// Measured at most a second ago (or twenty times what measuring costs).
  static double now() {
    static Slowness one;
    return one.current();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kReference{20};
  static constexpr int kRounds = 10'000'000;
  static constexpr double kMost = 40;
  /// What is left of the greatest factor after each measurement: the next moment may be as busy.
  static constexpr double kKept = 0.9;

  double current() {
    std::unique_lock lock(mutex_, std::try_to_lock);
    const double last = factor_.load(std::memory_order_relaxed);  // nothing else is read by it
    if (!lock && last > 0) return last;                           // another thread measures
    if (!lock) lock.lock();
    const auto begun = Clock::now();
    if (begun < next_) return factor_;
    work();
    const auto took = Clock::now() - begun;
    const double by_work = std::chrono::duration<double>(took) / kReference;
    factor_ = std::max({1.0, kKept * factor_, std::min(kMost, std::max(by_work, by_load()))});
    next_ = Clock::now() + std::max<Clock::duration>(std::chrono::seconds(1), 20 * took);
    return factor_;
  }
  /// A chain of operations of which each needs the result of the one before.
  static void work() {
    std::uint64_t x = 88172645463325252U;
    for (int i = 0; i < kRounds; ++i) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
    }
    static std::atomic<std::uint64_t> sink;
    sink.store(x, std::memory_order_relaxed);  // pairs with nothing: keeps the work from vanishing
  }
  static double by_load() {
    static const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load / cores : 0;
  }

  std::mutex mutex_;
  std::atomic<double> factor_ = 0;  ///< 0: not yet measured
  Clock::time_point next_;
};

/// Time that this machine needs now for what takes an idle one that time.
inline Nanoseconds patient(Nanoseconds idle) {
  return static_cast<Nanoseconds>(static_cast<double>(idle) * Slowness::now());
}
/// The same as an option of a program, rounded up: "1200ms".
inline std::string patient_option(Nanoseconds idle) {
  return std::to_string(patient(idle) / kMillisecond + 1) + "ms";
}

/// A time limit that passes the slower the busier the machine is: what a test would wait for at
/// most on an idle one. Looked at now and then; a thread that could not run for long has not waited
/// for all of that time.
class Patience {
 public:
  explicit Patience(Nanoseconds idle = kLong) : left_(static_cast<double>(idle)) {}
  bool is_over() {
    const Nanoseconds now = clock_.now();
    const Nanoseconds passed = std::min(now - std::exchange(last_, now), kLongestStep);
    left_ -= static_cast<double>(passed) / Slowness::now();
    return left_ <= 0;
  }

  static constexpr Nanoseconds kLong = 60 * kSecond;

 private:
  static constexpr Nanoseconds kLongestStep = 2 * kSecond;
  SystemClock clock_;
  Nanoseconds last_ = clock_.now();
  double left_;
};

/// Between two looks at a condition, at most.
inline constexpr std::chrono::microseconds kLongestPause{20'000};

/// Looks until it is so, at most for the time. True as soon as it is.
template <typename IsSo>
bool wait_until(IsSo&& is_so, Nanoseconds idle = Patience::kLong) {
  Patience patience(idle);
  for (auto pause = std::chrono::microseconds(100);; pause = std::min(2 * pause, kLongestPause)) {
    if (is_so()) return true;
    if (patience.is_over()) return is_so();
    std::this_thread::sleep_for(pause);  // pacing: between two looks
  }
}

/// Lets time pass where that decides nothing: whatever happens meanwhile, or doesn't, the outcome
/// is the same. Each call says what the time is for ("pacing: ...").
inline void pace(Nanoseconds time) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(time));  // pacing: see each call
}

/// Whether the thread of this process sleeps now, in whatever system call.
inline bool is_asleep(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") S") == 0;
}

}  // namespace silurus::testing_support
