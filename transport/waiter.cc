// SPDX-License-Identifier: Apache-2.0

#include "transport/waiter.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <cerrno>
#include <ctime>
#include <limits>
#include <utility>

#include "transport/pause_plan.h"
#include "transport/wait_plan.h"

namespace silurus::transport {
namespace {

constexpr int kRoundsPerClockRead = 16;
constexpr Nanoseconds kSpinBeforeYield = 2 * kMicrosecond;
constexpr std::uint64_t kSleepsPerMeasurement = 16;
constexpr Nanoseconds kForever = std::numeric_limits<Nanoseconds>::max();

Nanoseconds now() { return SystemClock().now(); }

Nanoseconds thread_cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

/// Lets the core's other thread run for a moment.
void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

}  // namespace

Result<std::unique_ptr<Waiter>> Waiter::create(const WaitOptions& options,
                                               std::vector<Poller*> pollers) {
  for (const Poller* poller : pollers) {
    if (poller->fd() < 0) {
      return fail(ErrorCode::kInvalidArgument,
                  "a poller in virtual time has nothing to sleep on; run its world instead");
    }
  }
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(errno_error(ErrorCode::kIo, "cannot create an eventfd", errno));
  return std::unique_ptr<Waiter>(new Waiter(options, std::move(pollers), std::move(wake)));
}

Waiter::Waiter(const WaitOptions& options, std::vector<Poller*> pollers, UniqueFd wake)
    : options_(options), pollers_(std::move(pollers)), wake_fd_(std::move(wake)) {
  for (const Poller* poller : pollers_) fds_.push_back({poller->fd(), POLLIN, 0});
  fds_.push_back({wake_fd_.get(), POLLIN, 0});
  if (options_.policy == WaitPolicy::kPeriodic) {
    PausePlan::Options pauses;
    if (options_.longest_pause != 0) pauses.most = options_.longest_pause;
    pauses_ = std::make_unique<PausePlan>(pauses);
  }
  if (options_.policy == WaitPolicy::kAdaptive) {
    plan_ = std::make_unique<WaitPlan>(
        WaitPlan::Options{.spin = options_.spin, .longest_pause = options_.longest_pause});
  }
}

Waiter::~Waiter() = default;

std::size_t Waiter::progress() {
  std::size_t events = 0;
  for (Poller* poller : pollers_) events += poller->progress();
  return events;
}

std::size_t Waiter::wait(Nanoseconds timeout) { return wait(timeout, Worked{}); }

std::size_t Waiter::wait(Nanoseconds timeout, const Worked& worked) {
  if (plan_ != nullptr) plan_->add(worked);
  std::size_t events = handled(progress());
  if (events != 0 || flag_.take() || timeout == 0) return events;
  const Nanoseconds deadline = timeout < 0 ? kForever : now() + timeout;
  switch (options_.policy) {
    case WaitPolicy::kSpin:
      spin(deadline, events);
      return events;
    case WaitPolicy::kPeriodic:
      events = pause_until(deadline);
      returned_ = now();
      return events;
    case WaitPolicy::kAdaptive:
      return handled(wait_as_planned(deadline));
    case WaitPolicy::kSleep:
      break;
  }
  for (Nanoseconds left = deadline - now(); left > 0; left = deadline - now()) {
    sleep(deadline == kForever ? -1 : left);
    events = progress();
    if (events != 0 || flag_.take()) return events;
  }
  return 0;
}

bool Waiter::is_to_spin() const { return plan_ != nullptr && plan_->is_to_spin(); }

/// Tells the plan of what happened within a wait: of all else its caller tells.
std::size_t Waiter::handled(std::size_t events) {
  if (plan_ != nullptr && events != 0) plan_->add({.events = events});
  return events;
}

/// In one way after the other, until there is something to do or the time is up.
std::size_t Waiter::wait_as_planned(Nanoseconds deadline) {
  for (Nanoseconds time = now(); time < deadline; time = now()) {
    const WaitPlan::Choice choice = plan_->next();
    const Nanoseconds until = std::min(deadline, time + choice.time);
    std::size_t events = 0;
    if (choice.way == WaitPlan::Way::kSpin) {
      const bool came = spin(until, events);
      plan_->spun(spun_until_ - time, came);
      if (came) return events;
      time = spun_until_;
    }
    if (time >= deadline) return 0;
    Rest rest;
    if (choice.way == WaitPlan::Way::kPeriodic) {
      rest = pause(until - time);
      for (Poller* poller : pollers_) poller->look();
    } else {
      const Nanoseconds longest = deadline == kForever ? -1 : deadline - time;
      rest = measure([&] { sleep(longest); });
    }
    plan_->rested(rest.time);
    if (rest.cpu_time) plan_->cost(*rest.cpu_time);
    events = progress();
    if (events != 0 || flag_.take()) return events;
  }
  return 0;
}

/// One pause after the other until there is something to do, or until there was nothing for the
/// time after which it sleeps.
std::size_t Waiter::pause_until(Nanoseconds deadline) {
  // What was done since the last wait; the looking in vain at its end is small beside a pause.
  Nanoseconds busy = returned_ == 0 ? 0 : now() - returned_;
  for (;;) {
    const Nanoseconds left = deadline == kForever ? kForever : deadline - now();
    if (left <= 0) return 0;
    const std::optional<Nanoseconds> time = pauses_->next(busy);
    if (time) {
      const Rest rest = pause(std::min(*time, left));
      pauses_->paused(rest.time);
      if (rest.cpu_time) pauses_->cost(*rest.cpu_time);
      for (Poller* poller : pollers_) poller->look();
    } else {
      sleep(deadline == kForever ? -1 : left);
      pauses_->called();
    }
    const std::size_t events = progress();
    if (events != 0 || flag_.take()) return events;
    busy = 0;
  }
}

Waiter::Rest Waiter::pause(Nanoseconds time) {
  // Else the kernel adds 50 us to each.
  if (!std::exchange(has_exact_timers_, true)) prctl(PR_SET_TIMERSLACK, 1);
  // Our own descriptor alone ends the pause: what arrives meanwhile is what it is to collect.
  return measure([&] { wait_for(&fds_.back(), 1, time); });
}

/// What a sleep or a pause takes: its CPU time only now and then, since to ask for that is a system
/// call itself, twice.
template <typename Sleep>
Waiter::Rest Waiter::measure(Sleep&& sleep) {
  const std::uint64_t before = sleeps_;
  const bool measured = before % kSleepsPerMeasurement == 0;
  const Nanoseconds start = now(), cpu_start = measured ? thread_cpu_time() : 0;
  sleep();
  Rest rest{now() - start, {}};
  if (measured && sleeps_ != before) rest.cpu_time = thread_cpu_time() - cpu_start;
  return rest;
}

/// True if it need wait no longer; false when the time is up.
bool Waiter::spin(Nanoseconds until, std::size_t& events) {
  const Nanoseconds start = now();
  spun_until_ = start;
  bool yield = false;
  for (;;) {
    for (int i = 0; i < kRoundsPerClockRead; ++i) {
      events = progress();
      if (events != 0 || flag_.take()) return true;
      relax();
    }
    spun_until_ = now();
    if (spun_until_ >= until) return false;
    yield = yield || spun_until_ - start >= kSpinBeforeYield;
    if (yield) sched_yield();
  }
}

void Waiter::sleep(Nanoseconds timeout) {
  bool armed = true;
  for (Poller* poller : pollers_) armed = poller->arm() && armed;
  if (!armed) return;
  wait_for(fds_.data(), fds_.size(), timeout);
}

void Waiter::wait_for(pollfd* fds, std::size_t count, Nanoseconds timeout) {
  if (flag_.begin_sleep()) {
    timespec time{timeout / kSecond, timeout % kSecond};
    ++sleeps_;
    fds_.back().revents = 0;
    ppoll(fds, count, timeout < 0 ? nullptr : &time, nullptr);
    if ((fds_.back().revents & POLLIN) != 0) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake_fd_.get(), &ignored, sizeof(ignored));
    }
  }
  flag_.end_sleep();
}

void Waiter::wake() {
  if (!flag_.raise()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof(one));
}

}  // namespace silurus::transport
