// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/clock.h"
#include "replication/log_size.h"
#include "server/time_of_day.h"

namespace silurus::server {

/// Where and how a server's writes are made durable.
struct DurabilityOptions {
  std::string path;  ///< a data directory or a devdax device
  /// Whether an answer waits until its write is durable. If not, a crash may take back what was
  /// acknowledged in the last `flush_interval` and the time that a flush takes.
  bool sync = true;
  Nanoseconds flush_interval = 10 * kMillisecond;
  Nanoseconds checkpoint_interval = 60 * kSecond;
  std::uint64_t log_bytes = replication::kDefaultLogBytes;  ///< size of a new directory's log
  bool accept_damage = false;                               ///< see replication::RecoveryOptions
  /// Told of each step of a recovery that takes its time; may be empty.
  std::function<void(const std::string& step)> progress = {};
  /// The time of day, for the stamps of batches. It may jump.
  std::function<std::int64_t()> unix_ns = system_unix_ns;
};

}  // namespace silurus::server
