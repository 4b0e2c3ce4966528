// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/thread.h"

#include <utility>

#include "common/check.h"

namespace silurus::transport::sim {

Thread::Thread(Host& host, std::string name, Body body, Nanoseconds turn)
    : host_(host), incarnation_(host.incarnation()), body_(std::move(body)), turn_(turn) {
  process_ = host.spawn(std::move(name), [this](Process&) { resume(); });
  thread_ = std::thread([this] { run(); });
}

Thread::~Thread() {
  end();
  *self_ = nullptr;
  thread_.join();
}

std::function<void()> Thread::waker() const {
  return [self = self_] {
    if (*self != nullptr) (*self)->wake();
  };
}

void Thread::end() {
  SILURUS_CHECK(host_.thread() != this);
  is_over_ = true;
  if (!is_done_) resume();
  SILURUS_CHECK(is_done_);
}

void Thread::Baton::release() {
  const std::lock_guard lock(mutex_);
  is_here_ = true;
  changed_.notify_one();
}

void Thread::Baton::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_here_; });
  is_here_ = false;
}

void Thread::run() {
  to_thread_.acquire();
  body_(*this);
  is_done_ = true;
  to_world_.release();
}

void Thread::resume() {
  if (is_done_) return;
  Thread* const outer = host_.enter(this);
  to_thread_.release();
  to_world_.acquire();
  host_.enter(outer);
}

void Thread::give_back() {
  SILURUS_CHECK(host_.thread() == this);
  host_.charge_within_step(turn_);
  to_world_.release();
  to_thread_.acquire();
}

void Thread::wait() {
  if (is_over_) {
    leapt_ += kLeap;
  } else {
    give_back();
  }
}

void Thread::wait_until(Nanoseconds time) {
  if (!is_over_ && time > clock_.now()) process_->wake_at(time);
  wait();
}

void Thread::sleep(Nanoseconds time) {
  const Nanoseconds until = clock_.now() + time;
  while (clock_.now() < until) wait_until(until);
}

}  // namespace silurus::transport::sim
