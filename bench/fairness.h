// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct FairnessBenchOptions {
  std::uint64_t entries = 500'000;   ///< in the unit square
  std::uint64_t crowd = 500'000;     ///< besides those, all of one box, a point, of other ids
  double seconds = 3;                ///< that each attack is watched
  std::vector<std::string> attacks;  ///< by name; empty: all
};

/// What the worst that one client, or a hundred, can do costs another one: a bystander asks for a
/// small window each millisecond, of a server of one thread, over shm and over tcp, first alone and
/// then during each attack; and of the primary of a group of three, on the same machine, over shm.
/// Adds rows fairness/FABRIC/ATTACK/p99 and .../worst, in milliseconds, and for the group
/// fairness/group/ATTACK/view-changes.
Status run_fairness(const FairnessBenchOptions& options, Report& report);

/// The subcommand `silurus-bench fairness`.
int fairness_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
