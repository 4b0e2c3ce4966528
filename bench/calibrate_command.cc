// SPDX-License-Identifier: Apache-2.0

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>

#include "bench/calibrate.h"
#include "bench/command_line.h"
#include "bench/plan.h"
#include "bench/report.h"

namespace silurus::bench {
namespace {

/// Into a file, or to stdout if none is named.
Status write(const std::string& text, const std::string& path) {
  if (path.empty()) {
    std::printf("%s", text.c_str());
    return {};
  }
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) return fail(errno_error(ErrorCode::kIo, "cannot write " + path, errno));
  return {};
}

}  // namespace

Result<PlanCosts> calibrate(const CalibrateOptions& options) {
  const auto entries = plan_entries(options.entries);
  if (!entries) return fail(entries.error());
  const auto windows = calibration_windows(**entries);
  if (windows.empty()) return fail(ErrorCode::kOutOfMemory, "no room for the tree");
  PlanCosts costs;
  costs.machine = machine_name();
  const auto tree = calibrate_tree(**entries, windows, options.rounds);
  if (!tree) return fail(tree.error());
  costs.search = tree->search;
  costs.interleaved = tree->interleaved;
  costs.writer = tree->writer;
  const auto messages = calibrate_messages(**entries, windows, *tree, options.rounds);
  if (!messages) return fail(messages.error());
  costs.server = messages->server;
  costs.client = messages->client;
  costs.offload = messages->offload;
  const auto tcp = calibrate_tcp(options.rounds);
  if (!tcp) return fail(tcp.error());
  costs.tcp = *tcp;
  costs.btree = calibrate_btree(options.btree_keys, options.rounds);
  return costs;
}

int calibrate_command(int argc, char** argv, const std::string& command_line) {
  CalibrateOptions chosen;
  std::string output;
  CommandLine line("silurus-bench calibrate",
                   "Measures what Silurus' work costs a core of this machine, for silurus-bench "
                   "plan");
  line.option("entries", "boxes in the tree", chosen.entries);
  line.option("btree-keys", "of the B+tree that stands for XStore's", chosen.btree_keys);
  line.option("rounds", "of each measurement", chosen.rounds);
  line.option("output", "write the costs to FILE, not to stdout", output, "FILE");
  return line.perform(
      argc, argv,
      [&] { return chosen.rounds > 0 && chosen.entries >= 100'000 && chosen.btree_keys >= 1000; },
      "--entries is at least 100,000, --btree-keys 1,000, --rounds 1",
      [&]() -> Status {
        const auto costs = calibrate(chosen);
        if (!costs) return fail(costs.error());
        return write(costs_toml(*costs, command_line), output);
      });
}

}  // namespace silurus::bench
