#include "transport/waiter.h"

#include <sched.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <limits>

namespace silurus::transport {
namespace {

constexpr int kRoundsPerClockRead = 16;
constexpr Nanoseconds kSpinBeforeYield = 2 * kMicrosecond;
constexpr Nanoseconds kForever = std::numeric_limits<Nanoseconds>::max();

Nanoseconds now() { return SystemClock().now(); }

/// Lets the core's other thread run for a moment.
void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

}  // namespace

Result<std::unique_ptr<Waiter>> Waiter::create(const WaiterOptions& options,
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

std::size_t Waiter::progress() {
  std::size_t events = 0;
  for (Poller* poller : pollers_) events += poller->progress();
  return events;
}

bool Waiter::take_wake() {
  // acquire: pairs with the store in wake(), so that what its caller did before is seen.
  return woken_.load(std::memory_order_acquire) &&
         woken_.exchange(false, std::memory_order_acquire);
}

std::size_t Waiter::wait(Nanoseconds timeout) {
  std::size_t events = progress();
  if (events != 0 || take_wake() || timeout == 0) return events;
  const Nanoseconds start = now();
  const Nanoseconds deadline = timeout < 0 ? kForever : start + timeout;
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
    if (events != 0 || take_wake()) return events;
    if (now() >= deadline) return 0;
  }
}

/// True if it need wait no longer; false when the time is up.
bool Waiter::spin(Nanoseconds until, std::size_t& events) {
  const Nanoseconds start = now();
  bool yield = false;
  for (;;) {
    for (int i = 0; i < kRoundsPerClockRead; ++i) {
      events = progress();
      if (events != 0 || take_wake()) return true;
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
  // seq_cst, this store and the load below against the store and the load in wake(): of two
  // threads that each store and then look at the other's word, at least one sees the other.
  sleeping_.store(true, std::memory_order_seq_cst);
  if (!woken_.load(std::memory_order_seq_cst)) {
    timespec time{timeout / kSecond, timeout % kSecond};
    ++sleeps_;
    ppoll(fds_.data(), fds_.size(), timeout < 0 ? nullptr : &time, nullptr);
    if ((fds_.back().revents & POLLIN) != 0) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake_fd_.get(), &ignored, sizeof(ignored));
    }
  }
  // relaxed: a wake() that still sees true writes to the eventfd, and the next sleep ends at once.
  sleeping_.store(false, std::memory_order_relaxed);
}

void Waiter::wake() {
  // seq_cst: see sleep().
  woken_.store(true, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst)) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof(one));
  }
}

}  // namespace silurus::transport
