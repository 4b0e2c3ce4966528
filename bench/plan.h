// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "bench/plan_cluster.h"
#include "bench/report.h"

namespace silurus::bench {

/// How a plan's clients ask.
struct PlanWay {
  std::string name;  ///< in rows: "offload"
  Mode mode = Mode::kMessaging;
  PolicyKind policy = PolicyKind::kCost;
  bool has_cache = false;  ///< clients keep inner nodes
};

/// Fast messaging, offloading (with and without the node cache), both rules of the Catfish policy
/// without the cache, and the cost policy without and with it.
std::vector<PlanWay> plan_ways();

/// Has a run's clients ask so. Those that adapt are given `warm_up` operations each for it.
void set_way(PlanRun& run, const PlanWay& way, std::uint64_t warm_up);

/// The points of a plan as they come: a line of a table each, and rows of the report: NAME the
/// throughput, NAME/... the rest.
class PlanTable {
 public:
  void add(Report& report, const std::string& name, const PlanFigures& figures);

 private:
  bool has_head_ = false;
};

/// Experiments of docs/scaling.md, on the model infiniband-100g.
struct PlanExperiment {
  std::string costs = "costs";
  std::vector<std::string> edges = {"0.00001", "0.01", "power-law"};  ///< edges in the paper
  std::vector<std::uint32_t> clients = {1,  2,  4,   8,  16,
                                        32, 64, 128, 256};  ///< numbers in the paper
  std::uint64_t entries = 2'000'000;
  std::uint64_t warm_up = 2500;  ///< operations of each client that adapts
  std::uint64_t operations = 40'000;
};
/// What runs of an experiment have in common. Errors of the files that it reads.
Result<PlanRun> base_run(const PlanExperiment& asked);
/// The Catfish paper's: rows plan/EDGE/MIX/WAY/clients=N.
Status run_catfish_experiment(const PlanExperiment& asked, Report& report);
/// 1 to 1,000 shards of three replicas, up to a million clients: rows plan/scaling/...
Status run_scaling_experiment(const PlanExperiment& asked, Report& report);
/// Searches of one member and of three, with clients enough for either: rows plan/replicas/...
Status run_replicas_experiment(const PlanExperiment& asked, Report& report);

/// Where each way wins, by cores, cost of a request, card, what clients cache, mix and windows, in
/// the cluster of run_grid(): rows plan/grid/WINDOWS/MIX/REQUEST/CLIENT/card=GBITS/cores=N, which
/// compare the best mixture of both ways with the better one, and under them the fixed ways, and of
/// a sample the cost policy; then both rules of the Catfish policy, rows plan/grid/rules/...
Status run_grid_experiment(const PlanExperiment& asked, Report& report);

/// Windows by what the command line says: an edge, or "power-law". kInvalidArgument.
Result<datasets::WindowOptions<2>> plan_windows(const std::string& edge);

/// Where bench/models lies: in share/silurus of an installed program, else in the source.
std::string model_path(const std::string& name);

/// The subcommands `silurus-bench plan` and `silurus-bench calibrate`.
int plan_command(int argc, char** argv, const std::string& command_line);
int calibrate_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
