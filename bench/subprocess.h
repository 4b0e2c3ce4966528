// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace silurus::bench {

struct SubprocessOptions {
  std::vector<std::string> words;  ///< the program's path, and its arguments
  std::string log = {};            ///< a file for what it prints; empty: prints where we do
  std::string user = {};           ///< who it runs as, if we are root; empty: as we do
  std::vector<int> cpus = {};      ///< that it may run on; empty: any
  int stop_signal = SIGTERM;       ///< asks it to end
};

/// A program of our own, in a process of its own: asked to stop when this object goes, killed if it
/// does not. If the benchmark itself is killed, the kernel sends it `stop_signal`. Movable.
class Subprocess {
 public:
  /// kNotFound: there is no such program, or no such user.
  static Result<Subprocess> start(const SubprocessOptions& options);
  Subprocess(Subprocess&& other) noexcept;
  Subprocess& operator=(Subprocess&&) = delete;
  ~Subprocess();

  pid_t pid() const { return pid_; }
  /// Its exit status (or minus the signal that ended it), once it has ended.
  std::optional<int> status();
  /// Waits for its end.
  int wait();
  /// The last lines of its log, for messages.
  std::string last_words() const;
  /// CPU time of it and of the processes that it has started and that still run, in seconds.
  double cpu_seconds() const;

 private:
  explicit Subprocess(const SubprocessOptions& options, pid_t pid)
      : pid_(pid), stop_signal_(options.stop_signal), log_(options.log) {}

  pid_t pid_;  ///< 0 once it has ended, or has been moved from
  int stop_signal_;
  std::string log_;
  std::optional<int> status_ = {};
};

/// Calls `ready` every few milliseconds until it says true; fails if the process ends before, or
/// when the time is up. `what` is what is being started: "redis-server".
template <typename Ready>
Status wait_until_ready(Subprocess& process, const std::string& what, Nanoseconds timeout,
                        const Ready& ready);

void sleep_for(Nanoseconds time);

// --- implementation

template <typename Ready>
Status wait_until_ready(Subprocess& process, const std::string& what, Nanoseconds timeout,
                        const Ready& ready) {
  const SystemClock clock;
  for (const Nanoseconds deadline = clock.now() + timeout; clock.now() < deadline;) {
    if (ready()) return {};
    if (const auto status = process.status()) {
      return fail(ErrorCode::kUnavailable,
                  what + " ended with status " + std::to_string(*status) +
                      " before it answered; it said: " + process.last_words());
    }
    sleep_for(5 * kMillisecond);
  }
  return fail(ErrorCode::kDeadlineExceeded,
              what + " was not ready in time; it said: " + process.last_words());
}

}  // namespace silurus::bench
