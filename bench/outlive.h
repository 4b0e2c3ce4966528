// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct OutliveBenchOptions {
  std::uint64_t entries = 200'000;  ///< in the unit square
  double seconds = 4;               ///< that each event is watched
  unsigned hogs = 4;                ///< processes that take the server's core
};

/// What a client notices when its server dies, hangs or is replaced, under a keeper
/// (silurus-server --outlive, docs/decisions/0150), over shm; and when other processes take its
/// server's core. It asks for a small window at a time.
/// Adds rows outlive/MODE/EVENT/failed, .../answers and .../longest-pause, in milliseconds, for the
/// modes adaptive and offload and the events crash, hang (for half of the time) and restart; and
/// outlive/busy/MODE/p99, in microseconds, of messaging and offload.
Status run_outlive(const OutliveBenchOptions& options, Report& report);

/// The subcommand `silurus-bench outlive`.
int outlive_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
