// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct TreeBenchOptions {
  std::uint64_t entries = 2'000'000;
  std::uint64_t seed = 1;
  std::uint32_t runs = 7;  ///< runs of each measurement, ours and Boost's by turns
  bool uniform = true;
  bool roads = true;
  /// Fill trees one entry at a time too (Boost's takes half a minute for 2 M entries).
  bool fill_by_inserts = true;
};

/// Compares the tree with Boost.Geometry's rstar<16>, packed and filled one by one, in one process
/// and on one thread but where the row says otherwise; adds rows tree/uniform/... and
/// tree/roads/.... Fails if an answer differs from Boost's.
Status run_tree(const TreeBenchOptions& options, Report& report);

/// The subcommand `silurus-bench tree`.
int tree_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
