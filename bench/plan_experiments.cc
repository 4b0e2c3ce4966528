#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bench/plan.h"
#include "bench/plan_queue.h"
#include "transport/ring.h"

// What docs/scaling.md shows.

namespace silurus::bench {
namespace {

/// Where messages keep so much of the server's cores busy, it is saturated.
constexpr double kSaturated = 0.95;

/// Everything that there is so many of, divided: cores, what cards do, machines. With as many fewer
/// clients it does so much less, and each operation takes as long.
PlanModel divided(PlanModel model, double by) {
  model.network.bytes_per_second /= by;
  model.card.reads_per_second = std::max(1.0, model.card.reads_per_second / by);
  model.card.messages_per_second /= by;
  model.host.server_cores /= by;
  return model;
}

PlanFigures multiplied(PlanFigures figures, double by) {
  figures.ops_per_second *= by;
  return figures;
}

/// One panel of the paper's experiment, for one number of clients.
class CatfishCell {
 public:
  CatfishCell(const PlanExperiment& asked, const PlanRun& run, std::string name, unsigned clients)
      : asked_(asked), run_(run), name_(std::move(name)), clients_(clients) {}

  Status measure(PlanTable& table, Report& report) {
    for (const char* tcp : {"tcp-1g", "tcp-40g"}) {
      const auto model = read_model(model_path(tcp));
      if (!model) return fail(model.error());
      PlanRun over_tcp = run_;
      over_tcp.model = divided(*model, asked_.divide);
      set_way(over_tcp, plan_ways().front(), asked_.warm_up);
      if (auto ok = add(over_tcp, tcp, table, report); !ok) return fail(ok.error());
    }
    for (const PlanWay& way : plan_ways()) {
      if (way.name == "offload-cached") continue;  // the paper's has no cache
      set_way(run_, way, asked_.warm_up);
      const auto figures = add(run_, way.name, table, report);
      if (!figures) return fail(figures.error());
      keep(way.name, *figures);
    }
    compare(report);
    return {};
  }

 private:
  Result<PlanFigures> add(const PlanRun& run, const std::string& way, PlanTable& table,
                          Report& report) {
    const auto figures = run_plan(run);
    if (!figures) return figures;
    table.add(report, row(way), multiplied(*figures, asked_.divide));
    return figures;
  }
  std::string row(const std::string& way) const {
    return name_ + "/" + way + "/clients=" + std::to_string(clients_);
  }
  void keep(const std::string& way, const PlanFigures& figures) {
    const double rate = figures.ops_per_second;
    if (way == "messaging") is_saturated_ = figures.server_cpu > kSaturated;
    if (way == "messaging" || way == "offload") fixed_ = std::max(fixed_, rate);
    if (way == "catfish") catfish_ = rate;
    if (way == "cost") cost_ = rate;
    if (way == "cost-cached") cached_ = rate;
  }
  void compare(Report& report) const {
    const auto ratio = [&](const std::string& way, const char* what, double value, double base,
                           double bar) {
      report.record({.name = row(way) + "/vs-" + what,
                     .value = value * asked_.divide,
                     .unit = "ops/s",
                     .baseline = what,
                     .ratio = value / base,
                     .bar = bar});
    };
    ratio("cost", "better-fixed", cost_, fixed_, 0.97);
    ratio("cost-cached", "better-fixed", cached_, fixed_, 0.97);
    if (is_saturated_) ratio("cost-cached", "catfish", cached_, catfish_, 2);
  }

  const PlanExperiment& asked_;
  PlanRun run_;
  const std::string name_;
  const unsigned clients_;
  bool is_saturated_ = false;
  double fixed_ = 0, catfish_ = 0, cost_ = 0, cached_ = 0;
};

Result<PlanRun> base_run(const PlanExperiment& asked) {
  PlanRun run;
  const auto model = read_model(model_path("infiniband-100g"));
  if (!model) return fail(model.error());
  const auto costs = read_costs(model_path(asked.costs));
  if (!costs) return fail(costs.error());
  const auto entries = plan_entries(asked.entries);
  if (!entries) return fail(entries.error());
  run.model = divided(*model, asked.divide);
  run.costs = *costs;
  run.entries = *entries;
  run.machines = std::max(1u, static_cast<unsigned>(8 / asked.divide));
  run.operations = asked.operations;
  return run;
}

/// Of a prediction, a row; what is not a number is said in the name.
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
  run.clients = 64;  // of seven cores: full, as the interesting sizes are
  const auto measured = run_plan(run);
  if (!measured) return fail(measured.error());
  for (const unsigned clients : {16u, 64u}) {
    run.clients = clients;
    const auto simulated = run_plan(run);
    if (!simulated) return fail(simulated.error());
    const auto predicted = solve(network_of(run, *measured, 1), clients);
    report.add({.name = name + "/check/clients=" +
                        std::to_string(static_cast<unsigned>(clients * asked.divide)),
                .value = predicted.ops_per_second * asked.divide,
                .unit = "ops/s",
                .baseline = "simulation",
                .ratio = predicted.ops_per_second / simulated->ops_per_second});
  }
  PlanRun whole = run;
  whole.model = *read_model(model_path("infiniband-100g"));
  const PlanNetwork network = network_of(whole, *measured, 3);
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

Status run_catfish_experiment(const PlanExperiment& asked, Report& report) {
  auto run = base_run(asked);
  if (!run) return fail(run.error());
  PlanTable table;
  for (const std::string& edge : asked.edges) {
    const auto windows = plan_windows(edge);
    if (!windows) return fail(windows.error());
    run->windows = *windows;
    for (const bool is_mixed : {false, true}) {
      run->insert_share = is_mixed ? 0.1 : 0;
      for (const unsigned clients : asked.clients) {
        run->clients = std::max(1u, static_cast<unsigned>(clients / asked.divide));
        const std::string name = "plan/" + edge + (is_mixed ? "/mixed90" : "/search");
        if (auto ok = CatfishCell(asked, *run, name, clients).measure(table, report); !ok) {
          return ok;
        }
      }
    }
  }
  return {};
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
  run->clients = 192;
  run->machines = 8;
  double one = 0;
  for (const unsigned servers : {1u, 3u}) {
    run->servers = servers;
    const auto figures = run_plan(*run);
    if (!figures) return fail(figures.error());
    const std::string name = "plan/replicas/members=" + std::to_string(servers);
    table.add(report, name, multiplied(*figures, asked.divide));
    if (servers == 1) one = figures->ops_per_second;
    if (servers == 1) continue;
    report.record({.name = name + "/vs-one",
                   .value = figures->ops_per_second * asked.divide,
                   .unit = "ops/s",
                   .baseline = "one member",
                   .ratio = figures->ops_per_second / one,
                   .bar = 1.8});
  }
  return {};
}

}  // namespace silurus::bench
