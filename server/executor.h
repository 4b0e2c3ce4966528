#pragma once

#include <functional>

namespace silurus::server {

/// Where work goes that would keep a worker from its clients for long (building a tree). A server
/// has a thread for it; a simulation runs it on the spot. Any thread.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs the task, now or later, once.
  virtual void run(std::function<void()> task) = 0;
};

/// Runs tasks within run().
class InlineExecutor final : public Executor {
 public:
  void run(std::function<void()> task) override { task(); }
};

}  // namespace silurus::server
