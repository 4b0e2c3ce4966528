// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "server/combiner.h"

namespace silurus::server {

/// The thread that runs a combiner's batches where each of them waits for a disk: workers go on
/// serving searches meanwhile, and what arrives during one flush is the next batch
/// (docs/decisions/0072). Jobs done go back to their owners.
template <int D>
class WriterThread final : public WriteDriver<D> {
 public:
  explicit WriterThread(std::unique_ptr<Combiner<D>> combiner);
  ~WriterThread() override { end(); }
  WriterThread(const WriterThread&) = delete;
  WriterThread& operator=(const WriterThread&) = delete;

  std::unique_ptr<WriteJob<D>> submit(std::unique_ptr<WriteJob<D>> job) override {
    return combiner_->submit(std::move(job));
  }
  /// Wakes the thread; unless the caller may wait for the flush itself, which saves waking two
  /// threads.
  WriteTurn<D> turn(Nanoseconds now, bool may_wait) override;
  std::unique_ptr<LoadJob<D>> load(std::unique_ptr<LoadJob<D>> job) override {
    return combiner_->load(std::move(job));
  }
  bool waits_for_device() const override { return true; }
  std::uint64_t batches() const override { return combiner_->batches(); }
  std::uint64_t delays() const override { return combiner_->delays(); }
  replication::Stamp stamp() const override { return combiner_->stamp(); }
  std::optional<DurabilityStats> durability_stats() const override;
  void stop() override;

 private:
  void wake();
  void run();
  /// Ends the thread, after the batch under way.
  void end();
  /// Returns when there may be something to do; `until` 0: only if woken.
  void wait(Nanoseconds until);

  const std::unique_ptr<Combiner<D>> combiner_;
  SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace silurus::server
