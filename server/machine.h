// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "common/result.h"
#include "server/options.h"

namespace silurus::server {

/// What the machine has that options can ask too much of.
struct Machine {
  std::uint64_t memory_bytes = 0;  ///< physical memory; 0: unknown
  std::vector<int> cpus;           ///< cores that its threads may be pinned to
};

/// Before there are threads: looks at the calling one's affinity by changing it for a moment.
Machine this_machine();

/// Refuses what this machine can never give: more memory than it has, cores that it has not or that
/// this process may not use. The error says how much there is.
Status check_machine(const ServerOptions& options, const Machine& machine);

}  // namespace silurus::server
