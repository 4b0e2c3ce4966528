// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct DurableBenchOptions {
  std::string memory_directory = "/dev/shm";  ///< where a flush waits for no disk
  std::string disk_directory = ".";           ///< on an ordinary disk
  std::string data = "uniform:1000000";       ///< what checkpoints and restarts are measured with
  double seconds = 1.0;                       ///< length of one run
  unsigned runs = 5;
  std::uint64_t seed = 1;
  bool peers = false;       ///< compare with SQLite and PostGIS on the disk too
  bool only_peers = false;  ///< and with nothing else
};

/// What durability costs: inserts over shm with and without it, log bytes an insert, searches while
/// checkpoints are taken, restart and replay against loading and inserting.
Status run_durable(const DurableBenchOptions& options, Report& report);

/// Durable inserts on the disk against those of SQLite's R*Tree and PostGIS
/// (bench/peers/inserts.h).
Status measure_peers(const DurableBenchOptions& options, Report& report);

/// silurus-bench durable.
int durable_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
