// SPDX-License-Identifier: Apache-2.0

#include "transport/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>

namespace silurus::transport {
namespace {

constexpr int kEventsPerPoll = 256;

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail(errno_error(ErrorCode::kIo, "cannot create an epoll instance", errno));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(errno_error(ErrorCode::kIo, "cannot create an eventfd", errno));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWake;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot watch an eventfd", errno));
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Result<EventLoop::Registration> EventLoop::add(int fd, std::uint32_t events, EventSink& sink) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  const Registration registration = std::uint64_t{slots_[index].generation} << 32 | index;
  epoll_event event{};
  event.events = events;
  event.data.u64 = registration;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot watch a file descriptor", errno));
  }
  free_.pop_back();
  slots_[index].sink = &sink;
  return registration;
}

void EventLoop::modify(Registration registration, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = registration;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::remove(Registration& registration, int fd) {
  if (registration == kNone) return;
  const auto index = static_cast<std::uint32_t>(registration);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  slots_[index].sink = nullptr;
  ++slots_[index].generation;
  free_.push_back(index);
  registration = kNone;
}

EventSink* EventLoop::find(Registration registration) {
  const auto index = static_cast<std::uint32_t>(registration);
  if (index >= slots_.size() || slots_[index].generation != registration >> 32) return nullptr;
  return slots_[index].sink;
}

std::size_t EventLoop::poll() {
  std::array<epoll_event, kEventsPerPoll> events;
  const int count = epoll_wait(epoll_.get(), events.data(), kEventsPerPoll, 0);
  std::size_t told = 0;
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == kWake) {
      told += run_posted();
    } else if (EventSink* sink = find(event.data.u64)) {
      sink->on_ready(event.events);
      ++told;
    }
  }
  return told;
}

void EventLoop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

std::size_t EventLoop::run_posted() {
  std::uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &ignored, sizeof(ignored));
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
  return tasks.size();
}

Result<std::unique_ptr<Timer>> Timer::create(EventLoop& loop, std::function<void()> expired) {
  UniqueFd fd(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot create a timerfd", errno));
  std::unique_ptr<Timer> timer(new Timer(loop, std::move(fd), std::move(expired)));
  auto registration = loop.add(timer->fd_.get(), EPOLLIN, *timer);
  if (!registration) return fail(std::move(registration.error()));
  timer->registration_ = *registration;
  return timer;
}

Timer::~Timer() { loop_.remove(registration_, fd_.get()); }

void Timer::set(Nanoseconds deadline) {
  itimerspec spec{};
  spec.it_value.tv_sec = deadline / kSecond;
  spec.it_value.tv_nsec = deadline % kSecond;
  timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void Timer::on_ready(std::uint32_t) {
  std::uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &ignored, sizeof(ignored));
  expired_();
}

}  // namespace silurus::transport
