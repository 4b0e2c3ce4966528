// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct LoadBenchOptions {
  std::string data = "uniform:2000000";  ///< what the server loads, in the unit square
  std::vector<std::string> waits = {"periodic", "adaptive", "spin",
                                    "sleep"};              ///< the server's values of --wait
  std::vector<std::uint32_t> percents = {1, 10, 50, 100};  ///< load in percent of the peak load
  std::uint32_t clients = 8;  ///< that the load is dealt out to; all driven by one thread
  std::uint32_t runs = 3;
  double seconds = 0.5;  ///< length of one run
  std::uint64_t seed = 1;
};

/// What a server's way of waiting costs at less than full load: searches of small windows over shm
/// arrive at random (a Poisson process) at shares of the rate that the same server reaches when
/// it is always asked; latency counts from when a search was due, late or not. Adds rows
/// load/WAIT/N% with CPU time and latencies, and for each the server's CPU time against the same
/// share of what it uses at its peak.
Status run_load(const LoadBenchOptions& options, Report& report);

/// The subcommand `silurus-bench load`.
int load_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
