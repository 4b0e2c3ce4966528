// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "transport/unique_fd.h"

namespace silurus::transport {

/// Is told when its file descriptor is ready.
class EventSink {
 public:
  /// `events`: EPOLLIN, EPOLLOUT, EPOLLHUP, ... May add and remove any sink, itself too.
  virtual void on_ready(std::uint32_t events) = 0;

 protected:
  ~EventSink() = default;
};

/// epoll, and a way for other threads to hand work over. Level-triggered. Belongs to one poller and
/// its thread; post() alone is for any thread.
class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();

  using Registration = std::uint64_t;
  static constexpr Registration kNone = ~std::uint64_t{0};
  Result<Registration> add(int fd, std::uint32_t events, EventSink& sink);
  void modify(Registration registration, int fd, std::uint32_t events);
  /// The sink hears no more, not even what this round has found already. Sets kNone; kNone is fine.
  void remove(Registration& registration, int fd);

  /// Tells the sinks what has happened; does not wait. Returns how many were told.
  std::size_t poll();
  /// Any thread: runs the task in a later poll().
  void post(std::function<void()> task);

  int fd() const { return epoll_.get(); }

 private:
  struct Slot {
    EventSink* sink = nullptr;
    std::uint32_t generation = 0;
  };
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  EventSink* find(Registration registration);
  std::size_t run_posted();

  static constexpr std::uint64_t kWake = kNone - 1;

  UniqueFd epoll_;
  UniqueFd wake_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  ///< under mutex_
};

/// A deadline in an event loop: on_ready of the sink when it has passed.
class Timer final : private EventSink {
 public:
  static Result<std::unique_ptr<Timer>> create(EventLoop& loop, std::function<void()> expired);
  ~Timer();
  /// Absolute, of SystemClock; 0: never.
  void set(Nanoseconds deadline);

 private:
  Timer(EventLoop& loop, UniqueFd fd, std::function<void()> expired)
      : loop_(loop), fd_(std::move(fd)), expired_(std::move(expired)) {}
  void on_ready(std::uint32_t events) override;

  EventLoop& loop_;
  UniqueFd fd_;
  std::function<void()> expired_;
  EventLoop::Registration registration_ = EventLoop::kNone;
};

}  // namespace silurus::transport
