// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "silurus/inline_function.h"

namespace silurus::server {

/// Where work goes that would keep a worker from its clients for long (building a tree). A server
/// has a thread for it; a simulation runs it on the spot. Any thread.
class Executor {
 public:
  using Task = InlineFunction<void()>;
  virtual ~Executor() = default;
  /// Runs the task, now or later, once.
  virtual void run(Task task) = 0;
};

/// Runs tasks within run().
class InlineExecutor final : public Executor {
 public:
  void run(Task task) override { task(); }
};

}  // namespace silurus::server
