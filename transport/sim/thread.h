// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/clock.h"
#include "transport/sim/host.h"

namespace silurus::transport::sim {

/// Code that blocks, in a world in virtual time: a process whose step goes on where the code waits,
/// up to where it waits again (decision 0125). It has a stack of its own, which is a real thread's,
/// but runs only while the world waits for it, so that a seed still is a run. A blocking
/// SimFabric::connect() within it lets the world go on, and all other threads too.
///
///   Thread thread(host, "client", [&](Thread& self) {
///     while (!self.is_over() && client.range(window)) self.sleep(kMillisecond);
///   });
///   world.run_for(kSecond);
///
/// Once its host has crashed nothing wakes it any more, but end() lets it find its way out: nothing
/// that it does has an effect, each wait ends at once, and its clock has leapt over it, so that all
/// its calls run into their deadlines.
class Thread {
 public:
  using Body = std::function<void(Thread&)>;

  /// Runs as soon as the world does. `turn`: CPU time from one wait to the next.
  Thread(Host& host, std::string name, Body body, Nanoseconds turn = kMicrosecond);
  /// After end().
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Runs it to its end, now. Its host has crashed, or the world does not go on.
  void end();
  bool is_done() const { return is_done_; }
  /// Has it look again at what it waits for.
  void wake() { process_->wake(); }
  /// The same, for objects that may outlive it.
  std::function<void()> waker() const;

  // --- within the body
  /// Whether it is to find its way out.
  bool is_over() const { return is_over_ || !host_.alive() || host_.incarnation() != incarnation_; }
  /// Until it is woken: by wake(), by something on a poller that it watches, or for no reason.
  void wait();
  /// The same, or until its clock shows that time.
  void wait_until(Nanoseconds time);
  void sleep(Nanoseconds time);
  void watch(Poller& poller) { process_->watch(poller); }
  /// Its host's, until it is over.
  const Clock& clock() const { return clock_; }
  Host& host() const { return host_; }

 private:
  /// What it leaps when it waits once it is over: calls with long deadlines shall end soon.
  static constexpr Nanoseconds kLeap = kSecond;
  class ThreadClock final : public Clock {
   public:
    explicit ThreadClock(const Thread& thread) : thread_(thread) {}
    Nanoseconds now() const override { return thread_.host_.clock().now() + thread_.leapt_; }

   private:
    const Thread& thread_;
  };
  /// As a semaphore, but never spins or yields: others of this machine may be busy for long.
  class Baton {
   public:
    void release();
    void acquire();

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_here_ = false;
  };
  void run();
  void resume();
  void give_back();

  Host& host_;
  const std::uint32_t incarnation_;
  const Body body_;
  const Nanoseconds turn_;
  ThreadClock clock_{*this};
  Nanoseconds leapt_ = 0;
  bool is_over_ = false;
  bool is_done_ = false;
  std::shared_ptr<Thread*> self_ = std::make_shared<Thread*>(this);
  std::unique_ptr<Process> process_;
  // The baton: the thread that has released one waits for the other.
  Baton to_thread_;
  Baton to_world_;
  std::thread thread_;
};

}  // namespace silurus::transport::sim
