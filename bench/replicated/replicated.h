// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct ReplicatedBenchOptions {
  std::string directory = ".";  ///< on the medium that all logs are kept on
  std::vector<std::string> protocols = {"multicast"};
  std::vector<std::string> acks = {"all", "quorum"};  ///< etcd's puts are durable at a quorum
  std::vector<std::uint32_t> in_flight = {1, 32, 256};
  double seconds = 1.0;  ///< length of one run
  unsigned runs = 5;
  std::uint64_t seed = 1;
};

/// Durable inserts into three replicas over shm against puts of three members of etcd and against a
/// server alone, all on this machine and this medium; and what a replicated insert costs the
/// primary's link.
Status run_replicated(const ReplicatedBenchOptions& options, Report& report);

/// silurus-bench replicated.
int replicated_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
