#include "server/writer_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "server/worker.h"

namespace silurus::server {

template <int D>
WriterThread<D>::WriterThread(Writer<D>& writer) : writer_(writer) {
  writer_.leave_to([this] { wake(); });
  thread_ = std::jthread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "silurus-writer");
}

template <int D>
WriterThread<D>::~WriterThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
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
    const auto turn = writer_.run_turn(clock_.now());
    for (WriteJob<D>* job = turn.done; job != nullptr;) {
      WriteJob<D>* done = std::exchange(job, job->next);
      done->owner->complete(done);
    }
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
