// SPDX-License-Identifier: Apache-2.0

#include "transport/wait_plan.h"

#include <algorithm>
#include <utility>

#include "transport/pause_plan.h"

namespace silurus::transport {
namespace {

constexpr double kKeptOfBefore = 0.875;  ///< weight of what was known before, at each new figure
constexpr int kSleepsPerTrial = 16;
constexpr std::uint32_t kMostMet = 8;  ///< in one cycle, that count

/// Events of one watch: the fewer, the less is spent on being woken for each.
constexpr double kWatchedEvents = 64;
/// The same after pauses with which fewer came: those have clients ask at the same time, and only
/// some rounds later as evenly as before.
constexpr double kWatchedForJudgement = 256;
/// Events by which pauses are judged.
constexpr double kReviewedEvents = 128;
/// What a pause is to collect at least. It must be more than chance makes of none.
constexpr double kLeastCollected = 4;
/// Pauses hold clients back if with them less than this share of the events comes. Chance alone
/// makes it so in one review of some hundred (64 events against 128).
constexpr double kKeptUp = 0.6;
/// The share of the time with work above which pauses do not begin, and above which they end. A
/// thread that pauses works on many requests together, which takes it less than one after the
/// other.
constexpr double kMostLoadToBegin = 0.5;
constexpr double kMostLoad = 0.4;
constexpr double kOverhead = 0.2;  ///< what pauses may cost, as a share of the work
constexpr Nanoseconds kShortestPhase = 32 * kMillisecond;
constexpr Nanoseconds kLongestPhase = 512 * kMillisecond;
constexpr Nanoseconds kShortestPenalty = 128 * kMillisecond;
constexpr Nanoseconds kLongestPenalty = 8 * kSecond;

}  // namespace

// --- spinning

bool SpinGain::pays() {
  if (loss_ <= 0 || trying_ || ++sleeps_ >= kSleepsPerTrial) {
    sleeps_ = 0;
    return true;
  }
  return false;
}

void SpinGain::spun(Nanoseconds took, bool came, double price) {
  const double loss = static_cast<double>(took) - (came ? price : 0);
  loss_ = kKeptOfBefore * loss_ + (1 - kKeptOfBefore) * loss;
  trying_ = came;
}

// --- pausing

Nanoseconds PauseControl::next(const Cycle& cycle, double cost) {
  if (longest_ == 0) return 0;
  window_.time += static_cast<double>(cycle.time);
  window_.busy += static_cast<double>(cycle.busy);
  window_.events += static_cast<double>(cycle.events);
  elapsed_ += cycle.time;
  if (pause_ == 0) {
    watch(cost);
  } else {
    review(cycle.events == 0, cost);
  }
  return pause_;
}

/// Without pauses: how many events come, and whether to begin.
void PauseControl::watch(double cost) {
  if (window_.events < (suspect_rate_ != 0 ? kWatchedForJudgement : kWatchedEvents)) {
    // So few that the longest pause would not collect enough: what was long ago says nothing.
    const double longest = static_cast<double>(longest_) * kWatchedForJudgement / kLeastCollected;
    if (window_.time > longest) window_ = {};
    return;
  }
  const Window seen = std::exchange(window_, {});
  if (suspect_rate_ != 0) judge(seen.rate());
  if (elapsed_ < not_before_) return;
  const Nanoseconds longest = wanted(seen, kMostLoadToBegin, cost);
  if (longest == 0) return;
  rate_ = seen.rate();
  began_ = elapsed_;
  pause_ =
      std::min(longest, std::max(static_cast<Nanoseconds>(kLeastCollected / rate_), good_ / 2));
}

/// Whether it was for the pauses that fewer events came.
void PauseControl::judge(double rate) {
  const bool is_to_blame = suspect_rate_ < kKeptUp * rate;
  if (is_to_blame) phase_ = good_ = 0;
  penalty_ = is_to_blame ? std::clamp(2 * penalty_, kShortestPenalty, kLongestPenalty) : 0;
  not_before_ = elapsed_ + penalty_;
  suspect_rate_ = 0;
}

/// With pauses: whether to go on, and with how long ones.
void PauseControl::review(bool found_nothing, double cost) {
  const bool is_late = window_.time * kKeptUp * rate_ > kReviewedEvents;
  if (window_.events < kReviewedEvents && !is_late) return;
  const Window seen = std::exchange(window_, {});
  if (seen.rate() < kKeptUp * rate_) {
    // Clients that are held back ask as soon as they are answered: each pause finds some of them.
    if (!found_nothing) suspect_rate_ = seen.rate();
    return end();
  }
  const Nanoseconds longest = wanted(seen, kMostLoad, cost);
  const bool is_time_to_watch = elapsed_ - began_ > std::max(phase_, kShortestPhase);
  if (longest == 0 || is_time_to_watch) {
    if (is_time_to_watch) phase_ = std::clamp(2 * phase_, 2 * kShortestPhase, kLongestPhase);
    return end();
  }
  good_ = pause_;
  pause_ = std::min(longest, 2 * pause_);
}

/// The pause that costs no more than its share of the work that it collects; 0: none is worth it.
Nanoseconds PauseControl::wanted(const Window& seen, double most_load, double cost) const {
  if (seen.load() > most_load) return 0;
  double pause = static_cast<double>(longest_);
  if (seen.load() > 0) pause = std::min(pause, cost / (kOverhead * seen.load()));
  return pause * seen.rate() < kLeastCollected ? 0 : static_cast<Nanoseconds>(pause);
}

void PauseControl::end() {
  pause_ = 0;
  window_ = {};
}

// --- both

void WaitPlan::add(const Worked& worked) {
  for (std::uint32_t i = 0; i < std::min(worked.met, kMostMet); ++i) gain_.spun(0, true, cost_);
  in_vain_ += worked.in_vain;
  cycle_.time += worked.time;
  cycle_.busy += worked.busy;
  cycle_.events += worked.events;
}

WaitPlan::Choice WaitPlan::next() {
  const Nanoseconds pause = pauses_.next(std::exchange(cycle_, {}), cost_);
  if (pause == 0 && gain_.pays()) return {Way::kSpin, options_.spin};
  in_vain_ = 0;
  if (pause != 0) return {Way::kPeriodic, pause};
  return {Way::kSleep, 0};
}

void WaitPlan::spun(Nanoseconds took, bool came) {
  cycle_.time += took;
  gain_.spun(took + std::exchange(in_vain_, 0), came, cost_);
}

void WaitPlan::cost(Nanoseconds cpu_time) {
  cost_ = kKeptOfBefore * cost_ +
          (1 - kKeptOfBefore) * PausePlan::kWithColdCaches * static_cast<double>(cpu_time);
}

}  // namespace silurus::transport
