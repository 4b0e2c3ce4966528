// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bench/plan.h"
#include "bench/plan_queue.h"
#include "transport/ring.h"

// What docs/scaling.md shows.

namespace silurus::bench {
namespace {

/// Adds a row for a prediction; its name says what is not a number.
void add_prediction(Report& report, const std::string& name, const PlanPrediction& prediction,
                    double shards) {
  std::printf("%-58s %12.3f %10.1f  %s (%.0f %%)\n", name.c_str(),
              shards * prediction.ops_per_second / 1e6, prediction.latency * 1e6,
              prediction.bottleneck.c_str(), 100 * prediction.busy);
  report.record({.name = name, .value = shards * prediction.ops_per_second, .unit = "ops/s"});
  report.record({.name = name + "/mean-latency", .value = prediction.latency * 1e6, .unit = "us"});
  report.record({.name = name + "/busy " + prediction.bottleneck,
                 .value = 100 * prediction.busy,
                 .unit = "%"});
}

/// Predictions of all sizes for one way and mix, and how far one is from the simulation.
Status scale_one(const PlanExperiment& asked, PlanRun run, const PlanWay& way, Report& report) {
  const std::string mix = run.insert_share > 0 ? "mixed90" : "search";
  const std::string name = "plan/scaling/" + mix + "/" + way.name;
  set_way(run, way, asked.warm_up);
  run.clients = 256;  // full, as the interesting sizes are
  const auto measured = run_plan(run);
  if (!measured) return fail(measured.error());
  for (const unsigned clients : {64u, 256u}) {
    run.clients = clients;
    const auto simulated = run_plan(run);
    if (!simulated) return fail(simulated.error());
    const auto predicted = solve(network_of(run, *measured, 1), clients);
    report.add({.name = name + "/check/total-clients=" + std::to_string(clients),
                .value = predicted.ops_per_second,
                .unit = "ops/s",
                .baseline = "simulation",
                .ratio = predicted.ops_per_second / simulated->ops_per_second});
  }
  const PlanNetwork network = network_of(run, *measured, 3);
  for (const double shards : {1.0, 10.0, 100.0, 1000.0}) {
    for (const double clients : {1e3, 1e4, 1e5, 1e6}) {
      char size[64];
      std::snprintf(size, sizeof size, "/shards=%.0f/total-clients=%.0f", shards, clients);
      add_prediction(report, name + size, solve(network, std::max(1.0, clients / shards)), shards);
    }
  }
  return {};
}

}  // namespace

Result<PlanRun> base_run(const PlanExperiment& asked) {
  PlanRun run;
  const auto model = read_model(model_path("infiniband-100g"));
  if (!model) return fail(model.error());
  const auto costs = read_costs(model_path(asked.costs));
  if (!costs) return fail(costs.error());
  const auto entries = plan_entries(asked.entries);
  if (!entries) return fail(entries.error());
  run.model = *model;
  run.costs = *costs;
  run.entries = *entries;
  run.operations = asked.operations;
  return run;
}

Status run_scaling_experiment(const PlanExperiment& asked, Report& report) {
  auto run = base_run(asked);
  if (!run) return fail(run.error());
  std::printf("%-58s %12s %10s  busiest\n", "", "M ops/s", "mean us");
  for (const bool is_mixed : {false, true}) {
    run->insert_share = is_mixed ? 0.1 : 0;
    run->windows = *plan_windows("0.00001");
    for (const PlanWay& way : plan_ways()) {
      if (way.name != "messaging" && way.name != "offload-cached") continue;
      if (auto ok = scale_one(asked, *run, way, report); !ok) return ok;
    }
  }
  // A client keeps a ring each way at each shard, at one of three replicas.
  for (const double clients : {1e3, 1e4, 1e5, 1e6}) {
    char name[64];
    std::snprintf(name, sizeof name, "plan/scaling/ring-memory/total-clients=%.0f", clients);
    report.add({.name = name,
                .value = clients / 3 * 2 * transport::kMinRingBytes / (1 << 20),
                .unit = "MiB"});
  }
  return {};
}

Status run_replicas_experiment(const PlanExperiment& asked, Report& report) {
  auto run = base_run(asked);
  if (!run) return fail(run.error());
  run->windows = *plan_windows("0.00001");
  PlanTable table;
  set_way(*run, plan_ways().front(), asked.warm_up);
  run->clients = 768;
  double one = 0;
  for (const unsigned servers : {1u, 3u}) {
    run->servers = servers;
    const auto figures = run_plan(*run);
    if (!figures) return fail(figures.error());
    const std::string name = "plan/replicas/members=" + std::to_string(servers);
    table.add(report, name, *figures);
    if (servers == 1) one = figures->ops_per_second;
    if (servers == 1) continue;
    report.record({.name = name + "/vs-one",
                   .value = figures->ops_per_second,
                   .unit = "ops/s",
                   .baseline = "one member",
                   .ratio = figures->ops_per_second / one,
                   .bar = 1.8});
  }
  return {};
}

}  // namespace silurus::bench
