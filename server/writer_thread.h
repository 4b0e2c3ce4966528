#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "server/writer.h"

namespace silurus::server {

/// The thread that runs a writer's batches where each of them waits for a disk: workers go on
/// serving searches meanwhile, and what arrives during one flush is the next batch
/// (docs/decisions/0072). Jobs done go back to their owners.
template <int D>
class WriterThread {
 public:
  explicit WriterThread(Writer<D>& writer);
  /// After the batch under way.
  ~WriterThread();
  WriterThread(const WriterThread&) = delete;
  WriterThread& operator=(const WriterThread&) = delete;

 private:
  void wake();
  void run();
  /// Returns when there may be something to do; `until` 0: only if woken.
  void wait(Nanoseconds until);

  Writer<D>& writer_;
  SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace silurus::server
