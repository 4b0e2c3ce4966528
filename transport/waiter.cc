#include "transport/waiter.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <cerrno>
#include <ctime>
#include <limits>

#include "transport/nap_plan.h"

namespace silurus::transport {
namespace {

constexpr int kRoundsPerClockRead = 16;
constexpr Nanoseconds kSpinBeforeYield = 2 * kMicrosecond;
constexpr std::uint64_t kNapsPerMeasurement = 16;
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
  if (options_.policy == WaitPolicy::kNap) naps_ = std::make_unique<NapPlan>();
}

Waiter::~Waiter() = default;

std::size_t Waiter::progress() {
  std::size_t events = 0;
  for (Poller* poller : pollers_) events += poller->progress();
  return events;
}

std::size_t Waiter::wait(Nanoseconds timeout) {
  std::size_t events = progress();
  if (events != 0 || flag_.take() || timeout == 0) return events;
  const Nanoseconds start = now();
  const Nanoseconds deadline = timeout < 0 ? kForever : start + timeout;
  if (options_.policy == WaitPolicy::kNap) {
    events = nap_until(deadline);
    returned_ = now();
    return events;
  }
  for (Nanoseconds time = start;; time = now()) {
    if (options_.policy != WaitPolicy::kSleep) {
      const bool for_ever = options_.policy == WaitPolicy::kSpin;
      const Nanoseconds until = for_ever ? deadline : std::min(deadline, time + options_.spin);
      if (spin(until, events)) return events;
      if (for_ever) return 0;
      time = now();
    }
    if (time >= deadline) return 0;
    sleep(deadline == kForever ? -1 : deadline - time);
    events = progress();
    if (events != 0 || flag_.take()) return events;
    if (now() >= deadline) return 0;
  }
}

/// One nap after the other until there is something to do, or nothing for so long that it sleeps.
std::size_t Waiter::nap_until(Nanoseconds deadline) {
  // What was done since the last wait; the looking in vain at its end is small beside a nap.
  Nanoseconds busy = returned_ == 0 ? 0 : now() - returned_;
  for (;;) {
    const Nanoseconds left = deadline == kForever ? kForever : deadline - now();
    if (left <= 0) return 0;
    const std::optional<Nanoseconds> time = naps_->next(busy);
    if (time) {
      nap(std::min(*time, left));
      for (Poller* poller : pollers_) poller->look();
    } else {
      sleep(deadline == kForever ? -1 : left);
      naps_->called();
    }
    const std::size_t events = progress();
    if (events != 0 || flag_.take()) return events;
    busy = 0;
  }
}

void Waiter::nap(Nanoseconds time) {
  if (sleeps_ == 0) prctl(PR_SET_TIMERSLACK, 1);  // else the kernel adds 50 us to each
  // Asking for the CPU time is a system call itself, twice.
  const bool measured = sleeps_ % kNapsPerMeasurement == 0;
  const Nanoseconds start = now(), cpu_start = measured ? thread_cpu_time() : 0;
  // Of the descriptors only our own: what arrives meanwhile is what the nap is to collect.
  wait_for(&fds_.back(), 1, time);
  naps_->napped(now() - start);
  if (measured) naps_->cost(thread_cpu_time() - cpu_start);
}

/// True if it need wait no longer; false when the time is up.
bool Waiter::spin(Nanoseconds until, std::size_t& events) {
  const Nanoseconds start = now();
  bool yield = false;
  for (;;) {
    for (int i = 0; i < kRoundsPerClockRead; ++i) {
      events = progress();
      if (events != 0 || flag_.take()) return true;
      relax();
    }
    const Nanoseconds time = now();
    if (time >= until) return false;
    yield = yield || time - start >= kSpinBeforeYield;
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
