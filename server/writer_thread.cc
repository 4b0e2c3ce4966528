// SPDX-License-Identifier: Apache-2.0

#include "server/writer_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/durability.h"

namespace silurus::server {

template <int D>
WriterThread<D>::WriterThread(std::unique_ptr<Combiner<D>> combiner)
    : combiner_(std::move(combiner)) {
  thread_ = std::jthread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "silurus-writer");
}

template <int D>
void WriterThread<D>::end() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

template <int D>
void WriterThread<D>::stop() {
  end();
  combiner_->stop();
}

template <int D>
std::optional<DurabilityStats> WriterThread<D>::durability_stats() const {
  return combiner_->durability_stats();
}

template <int D>
WriteTurn<D> WriterThread<D>::turn(Nanoseconds now, bool may_wait) {
  if (!may_wait) {
    wake();
    return {};
  }
  WriteTurn<D> turn = combiner_->turn(now, true);
  if (combiner_->pending() || turn.flush_at != 0) wake();  // the rest is the thread's
  turn.must_return = false;
  return turn;
}

template <int D>
void WriterThread<D>::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (woken_) return;
    woken_ = true;
  }
  changed_.notify_one();
}

template <int D>
void WriterThread<D>::wait(Nanoseconds until) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return woken_ || stopping_; };
  if (until == 0) {
    changed_.wait(lock, ready);
  } else {
    const Nanoseconds left = std::max<Nanoseconds>(until - clock_.now(), 0);
    changed_.wait_for(lock, std::chrono::nanoseconds(left), ready);
  }
  woken_ = false;
}

template <int D>
void WriterThread<D>::run() {
  for (;;) {
    auto turn = combiner_->turn(clock_.now(), true);
    while (auto job = turn.done.pop_front()) give_back(std::move(job));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    const Nanoseconds now = clock_.now();
    if (turn.must_return && turn.again_at <= now) continue;
    Nanoseconds until = turn.flush_at;
    if (turn.must_return) until = until == 0 ? turn.again_at : std::min(until, turn.again_at);
    wait(until);
  }
}

template class WriterThread<2>;
template class WriterThread<3>;

}  // namespace silurus::server
