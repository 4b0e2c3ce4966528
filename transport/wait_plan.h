// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "common/clock.h"

namespace silurus::transport {

/// What a thread did between two waits.
struct Worked {
  Nanoseconds time = 0;      ///< in all
  Nanoseconds busy = 0;      ///< part of that with something to do
  Nanoseconds in_vain = 0;   ///< part at its end: looking for something to do by itself
  std::uint32_t met = 0;     ///< times that it found something so
  std::uint64_t events = 0;  ///< that it handled (Poller::progress)
};

/// Whether it pays to spin for the next event, in CPU time: a spin costs the time until something
/// comes, and saves a sleep with its wake-up if something does. The average over the last spins
/// decides. Where spinning does not pay, one wait in some is spun all the same, to notice when it
/// does again.
class SpinGain {
 public:
  /// Whether to spin now.
  bool pays();
  /// The same for later, without counting as a wait.
  bool is_likely() const { return loss_ <= 0; }
  /// A spin, whether it ended with an event, and what a sleep with its wake-up costs.
  void spun(Nanoseconds took, bool came, double price);

 private:
  double loss_ = 0;  ///< what a spin costs more than it saves, on average
  int sleeps_ = 0;   ///< in a row, without a spin
  bool trying_ = false;
};

/// Whether, and how long, a thread pauses instead of hearing of each event at once, so that it is
/// woken once for many: a search costs less than to be woken for it. A pause delays what comes
/// during it, and so it must not hold back clients that ask one thing after the other: those would
/// just ask less. Hence pauses are tried. While it does not pause, the thread watches how many
/// events come; it begins with short pauses and doubles them as long as as many come as before. If
/// fewer do, it watches again: if they then come as before, the pauses were to blame, and there are
/// none for a pause, twice as long each time. Pauses end from time to time in any case, for another
/// watch.
///
/// There are no pauses where they collect next to nothing (then it is cheaper to be called), nor
/// where the thread is busy half of the time (then spinning costs no more than the work).
/// A pure function of what it is told.
class PauseControl {
 public:
  /// One wait and the work before it.
  struct Cycle {
    Nanoseconds time;
    Nanoseconds busy;
    std::uint64_t events;
  };

  /// No pause takes longer than that; 0: there are none.
  explicit PauseControl(Nanoseconds longest) : longest_(longest) {}

  /// How long to pause now; 0: wait in another way. `cost`: of a pause, CPU time in all, ns.
  Nanoseconds next(const Cycle& cycle, double cost);
  Nanoseconds pause() const { return pause_; }

 private:
  struct Window {
    double time = 0;
    double busy = 0;
    double events = 0;
    double rate() const { return time > 0 ? events / time : 0; }
    double load() const { return time > 0 ? busy / time : 0; }
  };

  void watch(double cost);
  void review(bool found_nothing, double cost);
  void judge(double rate);
  Nanoseconds wanted(const Window& seen, double most_load, double cost) const;
  void end();

  Nanoseconds longest_;
  Nanoseconds pause_ = 0;
  Nanoseconds good_ = 0;  ///< the longest pause of late that held no client back
  Window window_;
  Nanoseconds elapsed_ = 0;  ///< in all cycles
  double rate_ = 0;          ///< events a time, while it watched
  double suspect_rate_ = 0;  ///< with pauses, when it was lower; 0: it was not
  Nanoseconds began_ = 0;    ///< with pauses
  Nanoseconds phase_ = 0;    ///< how long there may be pauses before the next watch
  Nanoseconds penalty_ = 0;  ///< how long there are none after they were to blame
  Nanoseconds not_before_ = 0;
};

/// How a thread waits that neither always spins nor always sleeps (WaitPolicy::kAdaptive): spins
/// only where the gaps of the last events promise a gain, pauses where one pause collects many
/// events, and else sleeps until it is called. A pure function of what it is told; one for each
/// thread.
///
///   plan.add(worked);
///   const auto choice = plan.next();
///   if (choice.way == Way::kSpin) plan.spun(time, came);  // and if nothing came, sleep
///   else plan.rested(time);
class WaitPlan {
 public:
  struct Options {
    Nanoseconds spin = 30 * kMicrosecond;  ///< the longest spin
    Nanoseconds longest_pause = 0;         ///< 0: no pauses
  };
  enum class Way : std::uint8_t { kSpin, kSleep, kPeriodic };
  struct Choice {
    Way way;
    Nanoseconds time;  ///< greatest length of a spin or a pause
  };

  explicit WaitPlan(const Options& options) : options_(options), pauses_(options.longest_pause) {}

  /// What was done since the last next().
  void add(const Worked& worked);
  /// How to wait now. Once for each wait, and once more after each sleep or pause that nothing
  /// ended.
  Choice next();
  /// It spun for that time; if nothing came it goes on to sleep.
  void spun(Nanoseconds took, bool came);
  /// It slept or paused for that time.
  void rested(Nanoseconds took) { cycle_.time += took; }
  /// The CPU time that a sleep or a pause took; told now and then.
  void cost(Nanoseconds cpu_time);

  /// Whether the next wait spins, by what is known now.
  bool is_to_spin() const { return pauses_.pause() == 0 && gain_.is_likely(); }

 private:
  Options options_;
  SpinGain gain_;
  PauseControl pauses_;
  double cost_ = 10'000;         ///< cost of a sleep or a pause in all, ns
  PauseControl::Cycle cycle_{};  ///< since next()
  Nanoseconds in_vain_ = 0;
};

}  // namespace silurus::transport
