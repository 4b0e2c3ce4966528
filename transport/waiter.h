// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "silurus/wait.h"
#include "transport/fabric.h"
#include "transport/unique_fd.h"
#include "transport/wake_flag.h"

namespace silurus::transport {

class PausePlan;
class WaitPlan;
struct Worked;

using silurus::WaitOptions;
using silurus::WaitPolicy;

/// Waits for something to happen on the pollers of one thread. One thread; wake() alone is for any.
///
/// Spinning is polite: after the first few microseconds each round gives up the core if another
/// thread wants it (sched_yield), since with more threads than cores the peer that we wait for may
/// be waiting for this very core.
///
///   auto waiter = Waiter::create({}, {poller});
///   while (!stopping) (*waiter)->wait(-1);   // callbacks run from in here
class Waiter {
 public:
  ~Waiter();
  /// Real pollers only (fd() >= 0): virtual time has nothing to wait for. They outlive the waiter.
  static Result<std::unique_ptr<Waiter>> create(const WaitOptions& options,
                                                std::vector<Poller*> pollers);

  /// Drives the pollers until they have handled something (the answer: how many events), wake()
  /// was called (0), or `timeout` has passed (0; negative: never).
  std::size_t wait(Nanoseconds timeout);
  /// The same, after that work: kAdaptive pauses only if it is told of it.
  std::size_t wait(Nanoseconds timeout, const Worked& worked);
  /// Whether the next wait would begin with spinning: what the caller may as well do by itself.
  bool is_to_spin() const;
  /// Any thread: ends this wait(), or else the next.
  void wake();

  /// Times that it slept: a test's or a benchmark's view of the policy.
  std::uint64_t sleeps() const { return sleeps_; }

 private:
  Waiter(const WaitOptions& options, std::vector<Poller*> pollers, UniqueFd wake);
  std::size_t progress();
  std::size_t wait_as_planned(Nanoseconds deadline);
  std::size_t handled(std::size_t events);
  std::size_t pause_until(Nanoseconds deadline);
  /// What a sleep or a pause took.
  struct Rest {
    Nanoseconds time;
    std::optional<Nanoseconds> cpu_time;  ///< measured now and then
  };
  template <typename Sleep>
  Rest measure(Sleep&& sleep);
  Rest pause(Nanoseconds time);
  bool spin(Nanoseconds until, std::size_t& events);
  void sleep(Nanoseconds timeout);
  /// Waits for some of the descriptors, the last of which is our own.
  void wait_for(pollfd* fds, std::size_t count, Nanoseconds timeout);

  WaitOptions options_;
  std::vector<Poller*> pollers_;
  UniqueFd wake_fd_;
  std::vector<pollfd> fds_;  ///< descriptors of the pollers, then our own
  std::uint64_t sleeps_ = 0;
  std::unique_ptr<PausePlan> pauses_;  ///< for kPeriodic
  std::unique_ptr<WaitPlan> plan_;     ///< for kAdaptive
  bool has_exact_timers_ = false;
  Nanoseconds returned_ = 0;  ///< when wait() ended the last time
  /// When spin() looked at the clock the last time: not when something came, which has to be
  /// handled at once.
  Nanoseconds spun_until_ = 0;
  WakeFlag<> flag_;
};

}  // namespace silurus::transport
