// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct ClientsBenchOptions {
  /// A running server, started with --max-clients CLIENTS, as over rdma; empty: one over shm, and
  /// one over tcp, that this starts.
  std::string server_url;
  /// What the server loads, in the unit square.
  std::string data = "uniform:2000000";
  unsigned active = 50;     ///< clients with one search in flight each, driven by one thread
  unsigned clients = 1000;  ///< in all; the server is told to take no more
  unsigned killed = 100;    ///< idle clients whose processes are killed
  std::uint32_t runs = 5;
  double seconds = 0.5;  ///< length of one run
};

/// What idle clients cost busy ones, over shm and tcp, or at a given server: the rate of `active`
/// clients alone and among `clients`, by turns; the memory of rings then, against the default
/// budget; that one client more is refused; that killing some at once gives their places back and
/// leaves the others alone. Adds rows clients/FABRIC/...
Status run_clients(const ClientsBenchOptions& options, Report& report);

/// The subcommand `silurus-bench clients`.
int clients_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
