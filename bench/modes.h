// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct ModesBenchOptions {
  std::string data = "uniform:2000000";  ///< what the server loads, in the unit square
  std::uint64_t seed = 1;
  std::uint32_t runs = 3;  ///< runs of each measurement, the modes by turns
  double seconds = 0.25;   ///< length of one run
  std::vector<unsigned> clients = {1, 2, 4, 8, 16, 32};
  std::vector<std::string> edges = {"0.00001", "0.001", "0.01", "power-law"};
  /// Servers that run already, instead of ones of our own: one with one-sided reads, and one over
  /// TCP.
  std::string server_url;
  std::string tcp_url;
};

/// Compares the ways of asking a server: TCP (sleeping between messages, and spinning), messaging,
/// offloading, adaptively (both policies), over query sizes, mixes and numbers of clients; adds
/// rows modes/EDGE/MIX/WAY/clients=N and, under them, latency, round trips and bytes; and
/// modes/keyed/... of entries read by their ids (modes_keyed.h).
Status run_modes(const ModesBenchOptions& options, Report& report);

/// The subcommand `silurus-bench modes`.
int modes_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
