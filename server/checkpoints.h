// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/store.h"
#include "rtree/tree.h"

namespace silurus::server {

/// What a checkpoint is made of, all of one moment.
template <int D>
struct CheckpointBasis {
  typename replication::Collections<D>::Held held;
  replication::LogPosition position;  ///< the first record that is not in it; durable
  replication::Stamp stamp = 0;
  std::vector<std::byte> extra = {};  ///< see replication::Volume::extras
  /// A bulk load in it that the last checkpoint does not have (Store::checkpoint).
  std::optional<rtree::Run> adopted = {};
};

struct CheckpointStats {
  std::uint64_t checkpoints = 0;
  std::uint64_t version = 0;
  std::uint64_t nodes = 0;  ///< written by the last one
  double seconds = 0;
  std::uint64_t failed = 0;  ///< tries
  std::string failing = {};  ///< why the last try failed; empty: it did not
};

/// What is said of writes where the log is full, and checkpoints, which would make room in it, fail
/// for that reason.
std::string full_log(const Error& obstacle);

/// The background thread that takes a store's checkpoints: now and then, and when it is asked to.
template <int D>
class Checkpoints {
 public:
  /// Takes the basis of the next one; nothing if there is nothing new. Called by the background
  /// thread, and by stop(). It may take its time, but not once a stop is requested: then it fails
  /// (kUnavailable).
  using Basis = std::function<Result<std::optional<CheckpointBasis<D>>>(std::stop_token stop)>;

  /// The store must outlive it.
  Checkpoints(replication::Store<D>& store, Nanoseconds interval)
      : store_(store), interval_(interval) {}
  ~Checkpoints() { stop_thread(); }

  /// Begins to take checkpoints of the tree.
  void start(const rtree::Tree<D>& tree, Basis basis);
  /// Ends that; the one under way is given up.
  void stop_thread();
  /// After stop_thread(): a last one, so that the next start is quick.
  Status take_last();

  // --- any thread
  /// Has one taken at once.
  void want();
  /// Runs what makes a checkpoint by other means, with no other one meanwhile. Its error says
  /// nothing of those that are taken here: it is no obstacle.
  Status take_instead(const std::function<Status()>& make);
  /// Waits for the one under way; then none is taken until resume() was called as often.
  void pause();
  void resume() { pauses_.fetch_sub(1, std::memory_order_relaxed); }  // take() looks again
  /// Why the last try failed; nothing: it did not. As long as there is an obstacle, another try is
  /// made every second, so that what was full may have room again.
  std::optional<Error> obstacle() const;
  CheckpointStats stats() const;

 private:
  void run(std::stop_token stop);
  Status take(const std::stop_token& stop);
  void note(const Status& made, double seconds);

  replication::Store<D>& store_;
  const Nanoseconds interval_;
  const rtree::Tree<D>* tree_ = nullptr;
  Basis basis_;
  std::mutex one_at_a_time_;
  std::mutex wake_mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> wanted_{false};
  std::atomic<int> pauses_{0};  ///< counted up with one_at_a_time_
  mutable std::mutex stats_mutex_;
  CheckpointStats stats_;
  std::optional<Error> obstacle_;
  std::jthread thread_;
};

}  // namespace silurus::server
