// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoints.h"

#include <sys/resource.h>

#include <chrono>
#include <utility>

#include "common/log.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

/// Below the priority of threads that serve.
constexpr int kBackgroundNice = 10;

double seconds_since(Nanoseconds start) {
  return static_cast<double>(SystemClock().now() - start) / static_cast<double>(kSecond);
}

}  // namespace

std::string full_log(const Error& obstacle) {
  return "the log is full, and no checkpoint can make room in it: " + obstacle.message +
         (obstacle.code == ErrorCode::kNoSpace ? "; then writing goes on by itself"
                                               : "; mend that, and restart the server");
}

template <int D>
void Checkpoints<D>::start(const rtree::Tree<D>& tree, Basis basis) {
  tree_ = &tree;
  basis_ = std::move(basis);
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
}

template <int D>
void Checkpoints<D>::stop_thread() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

template <int D>
Status Checkpoints<D>::take_last() {
  return take({});
}

template <int D>
void Checkpoints<D>::want() {
  // Relaxed: a wish; what is to be written is read when the basis is taken.
  if (wanted_.exchange(true, std::memory_order_relaxed)) return;
  const std::lock_guard lock(wake_mutex_);
  wake_.notify_one();
}

template <int D>
Status Checkpoints<D>::take_instead(const std::function<Status()>& make) {
  const std::lock_guard lock(one_at_a_time_);
  const Nanoseconds start = SystemClock().now();
  Status made = make();
  if (made) note(made, seconds_since(start));
  return made;
}

template <int D>
void Checkpoints<D>::pause() {
  const std::lock_guard lock(one_at_a_time_);
  pauses_.fetch_add(1, std::memory_order_relaxed);
}

template <int D>
void Checkpoints<D>::run(std::stop_token stop) {
  ::setpriority(PRIO_PROCESS, 0,
                kBackgroundNice);  // on Linux this is about the calling thread alone
  Nanoseconds last = SystemClock().now();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(wake_mutex_);
      // Relaxed: see want().
      wake_.wait_for(lock, stop, std::chrono::nanoseconds(kCheckpointLooks),
                     [&] { return wanted_.load(std::memory_order_relaxed); });
    }
    const bool due = SystemClock().now() - last >= interval_;
    if (stop.stop_requested() || (!due && !wanted_.load(std::memory_order_relaxed))) continue;
    if (Status made = take(stop); !made && made.error().code != ErrorCode::kUnavailable) {
      std::unique_lock lock(wake_mutex_);
      wake_.wait_for(lock, stop, std::chrono::nanoseconds(kCheckpointLooks), [] { return false; });
      continue;  // it is still due
    }
    last = SystemClock().now();
    wanted_.store(false, std::memory_order_relaxed);
  }
}

template <int D>
Status Checkpoints<D>::take(const std::stop_token& stop) {
  const std::lock_guard lock(one_at_a_time_);
  if (pauses_.load(std::memory_order_relaxed) != 0) return {};
  const Nanoseconds start = SystemClock().now();
  auto basis = basis_(stop);
  if (!basis) return fail(basis.error());
  if (!*basis) return {};
  const CheckpointBasis<D>& of = **basis;
  Status made =
      store_.checkpoint(*tree_, of.held.forest, of.position, of.stamp, stop, of.extra, of.adopted);
  note(made, seconds_since(start));
  return made;
}

template <int D>
void Checkpoints<D>::note(const Status& made, double seconds) {
  const std::lock_guard lock(stats_mutex_);
  if (!made) {
    ++stats_.failed;
    if (made.error().code == ErrorCode::kUnavailable) return;  // given up, at the end
    if (!obstacle_) {
      log::error(
          "a checkpoint failed; the log grows until one succeeds, and one is tried every second: " +
          made.error().message);
    }
    obstacle_ = made.error();
    stats_.failing = made.error().message;
    return;
  }
  if (obstacle_) log::info("checkpoints are taken again");
  obstacle_.reset();
  stats_.failing.clear();
  ++stats_.checkpoints;
  stats_.version = store_.checkpointer().last().version;
  stats_.nodes = store_.checkpointer().figures().nodes;
  stats_.seconds = seconds;
}

template <int D>
std::optional<Error> Checkpoints<D>::obstacle() const {
  const std::lock_guard lock(stats_mutex_);
  return obstacle_;
}

template <int D>
CheckpointStats Checkpoints<D>::stats() const {
  const std::lock_guard lock(stats_mutex_);
  return stats_;
}

template class Checkpoints<2>;
template class Checkpoints<3>;

}  // namespace silurus::server
