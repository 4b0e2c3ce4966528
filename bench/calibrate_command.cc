#include <cstdio>
#include <cxxopts.hpp>
#include <fstream>
#include <string>

#include "bench/calibrate.h"
#include "bench/plan.h"
#include "bench/report.h"

namespace silurus::bench {

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
  cxxopts::Options options(
      "silurus-bench calibrate",
      "Measures what Silurus' work costs a core of this machine, for silurus-bench plan");
  options.add_options()                                                 //
      ("entries", "boxes in the tree", cxxopts::value(chosen.entries))  //
      ("btree-keys", "of the B+tree that stands for XStore's",
       cxxopts::value(chosen.btree_keys))                                                   //
      ("rounds", "of each measurement", cxxopts::value(chosen.rounds))                      //
      ("output", "write the costs to FILE, not to stdout", cxxopts::value(output), "FILE")  //
      ("h,help", "print this text");
  try {
    const auto given = options.parse(argc, argv);
    if (given.count("help") != 0) {
      std::printf("%s", options.help().c_str());
      return 0;
    }
    if (!given.unmatched().empty() || chosen.rounds == 0 || chosen.entries < 100'000 ||
        chosen.btree_keys < 1000) {
      std::fprintf(stderr,
                   "silurus-bench calibrate: --entries is at least 100,000, --btree-keys 1,000, "
                   "--rounds 1; there are no other arguments\n");
      return 2;
    }
  } catch (const cxxopts::exceptions::exception& error) {
    std::fprintf(stderr, "silurus-bench calibrate: %s\n", error.what());
    return 2;
  }
  const auto costs = calibrate(chosen);
  if (!costs) {
    std::fprintf(stderr, "silurus-bench calibrate: %s\n", costs.error().message.c_str());
    return 1;
  }
  const std::string text = costs_toml(*costs, command_line);
  if (output.empty()) {
    std::printf("%s", text.c_str());
    return 0;
  }
  std::ofstream file(output);
  file << text;
  file.close();
  if (!file) {
    std::fprintf(stderr, "silurus-bench calibrate: cannot write %s\n", output.c_str());
    return 1;
  }
  return 0;
}

}  // namespace silurus::bench
