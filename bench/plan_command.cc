// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/command_line.h"
#include "bench/plan.h"
#include "bench/plan_xstore.h"

namespace silurus::bench {
namespace {

/// What the command line asks for.
struct Asked {
  std::string experiment = "cells";
  std::string model = "infiniband-100g";
  std::string costs = "costs";
  std::vector<std::uint32_t> clients;
  std::vector<std::string> edges;
  std::vector<std::string> ways;
  double inserts = 0;
  std::uint32_t servers = 1;
  std::uint32_t cores = 0;
  std::uint32_t machines = 8;
  std::uint32_t in_flight = 1;
  std::uint64_t entries = 2'000'000;
  std::uint64_t seed = 1;
  std::uint64_t warm_up = 2500;
  std::uint64_t operations = 50'000;
};

Status run_cells(const Asked& asked, const PlanModel& model, const PlanCosts& costs,
                 Report& report) {
  PlanRun run;
  run.model = model;
  run.costs = costs;
  auto entries = plan_entries(asked.entries);
  if (!entries) return fail(entries.error());
  run.entries = *entries;
  run.servers = asked.servers;
  if (asked.cores != 0) run.model.host.server_cores = asked.cores;
  run.machines = asked.machines;
  run.in_flight = asked.in_flight;
  run.insert_share = asked.inserts;
  run.operations = asked.operations;
  run.seed = asked.seed;
  PlanTable table;
  const std::vector<std::string> small = {"0.00001"};
  const std::vector<std::uint32_t> some = {1, 16, 64, 256};
  for (const std::string& edge : asked.edges.empty() ? small : asked.edges) {
    const auto windows = plan_windows(edge);
    if (!windows) return fail(windows.error());
    run.windows = *windows;
    for (const unsigned clients : asked.clients.empty() ? some : asked.clients) {
      run.clients = clients;
      for (const PlanWay& way : plan_ways()) {
        if (!asked.ways.empty() && std::ranges::find(asked.ways, way.name) == asked.ways.end()) {
          continue;
        }
        if (way.mode != Mode::kMessaging && !run.model.card.one_sided) continue;
        set_way(run, way, asked.warm_up);
        const auto figures = run_plan(run);
        if (!figures) return fail(figures.error());
        const std::string mix = asked.inserts > 0 ? "mixed" : "search";
        table.add(
            report,
            "plan/" + edge + "/" + mix + "/" + way.name + "/clients=" + std::to_string(clients),
            *figures);
      }
    }
  }
  return {};
}

Status run(const Asked& asked, Report& report) {
  const bool is_xstore = asked.experiment == "xstore";
  const auto model = read_model(model_path(is_xstore ? "xstore" : asked.model));
  if (!model) return fail(model.error());
  const auto costs = read_costs(model_path(asked.costs));
  if (!costs) return fail(costs.error());
  if (is_xstore) return report_xstore(*model, *costs, report);
  PlanExperiment experiment = {.costs = asked.costs, .entries = asked.entries};
  if (!asked.edges.empty()) experiment.edges = asked.edges;
  if (!asked.clients.empty()) experiment.clients = asked.clients;
  if (asked.experiment == "catfish") return run_catfish_experiment(experiment, report);
  if (asked.experiment == "scaling") return run_scaling_experiment(experiment, report);
  if (asked.experiment == "replicas") return run_replicas_experiment(experiment, report);
  if (asked.experiment == "grid") return run_grid_experiment(experiment, report);
  return run_cells(asked, *model, *costs, report);
}

bool is_sensible(const Asked& asked) {
  const std::vector<std::string> experiments = {"cells",    "xstore",  "catfish",
                                                "replicas", "scaling", "grid"};
  for (const auto clients : asked.clients) {
    if (clients == 0 || clients > 4096) return false;
  }
  return std::ranges::find(experiments, asked.experiment) != experiments.end() &&
         asked.inserts >= 0 && asked.inserts <= 1 && asked.servers > 0 && asked.servers <= 16 &&
         asked.cores <= 256 && asked.machines > 0 && asked.machines <= 1024 &&
         asked.in_flight > 0 && asked.in_flight <= 64 && asked.entries >= 1000 &&
         asked.operations > 0;
}

}  // namespace

int plan_command(int argc, char** argv, const std::string& command_line) {
  Asked asked;
  CommandLine line(
      "silurus-bench plan",
      "Predicts a cluster: the server and the clients that ship, in virtual time, over "
      "cards, links and cores of a model");
  line.option("experiment",
              "cells (what the other options say); or, with options of their own, xstore, "
              "catfish, replicas, scaling, grid",
              asked.experiment);
  line.option("model", "cards, network and hosts: a file, or a name in bench/models", asked.model);
  line.option("costs", "what silurus-bench calibrate wrote: a file, or a name in bench/models",
              asked.costs);
  line.option("clients", "numbers of client threads; the experiment's own if none is named",
              asked.clients);
  line.option("edges", "of query windows; power-law is a mix", asked.edges);
  line.option("ways", "of asking; all if none is named", asked.ways);
  line.option("inserts", "share of operations", asked.inserts);
  line.option("servers", "replicas, over which clients spread", asked.servers);
  line.option("cores", "of each server; 0: the model's", asked.cores);
  line.option("machines", "that clients share", asked.machines);
  line.option("in-flight", "requests of one client at once", asked.in_flight);
  line.option("entries", "boxes in the tree", asked.entries);
  line.option("seed", "of queries", asked.seed);
  line.option("warm-up", "operations of each client before those that count, where it adapts",
              asked.warm_up);
  line.option("operations", "that count, at least", asked.operations);
  return line.measure(
      argc, argv, command_line,
      {.sensible = [&] { return is_sensible(asked); },
       .rule =
           "--experiment is cells, xstore, catfish, replicas, scaling or grid; --clients are 1 to "
           "4096, --servers 1 to 16, "
           "--cores at most 256, --machines 1 to 1024, --in-flight 1 to 64, --inserts 0 to 1, "
           "--entries at least 1000",
       .run = [&](Report& report) { return run(asked, report); }});
}

}  // namespace silurus::bench
