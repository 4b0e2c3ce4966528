// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct PeersBenchOptions {
  std::string data = "uniform:2000000";  ///< what all load; in the unit square
  std::vector<std::string> peers = {};   ///< which of the known peers; none: all
  std::vector<std::uint32_t> clients = {1, 4};
  std::vector<std::uint32_t> in_flight = {1, 16};  ///< operations in flight for each client
  std::uint32_t runs = 3;       ///< runs of each measurement, Silurus and peer by turns
  double seconds = 0.5;         ///< length of one run
  std::uint32_t checked = 200;  ///< answers compared, of each kind of query
  std::uint64_t seed = 1;       ///< for the queries
  std::string directory;        ///< for files and sockets; empty: of temporary files
};

/// Compares Silurus over shm with other systems, one after the other: starts and loads each, checks
/// that their answers agree, asks the same queries, stops it. Adds rows peers/QUERY/clients=N/
/// in-flight=M/SYSTEM and .../vs-SYSTEM; systems that are missing are named and left out.
/// kProtocol: an answer differs and rounding does not explain it.
Status run_peers(const PeersBenchOptions& options, Report& report);

/// The subcommand `silurus-bench peers`.
int peers_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
