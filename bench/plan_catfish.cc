// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "bench/plan.h"
#include "bench/plan_runs.h"

// The experiment of Xiao, Wang, Geng, Lee, Zhang: "Catfish: Adaptive RDMA-enabled R-Tree for Low
// Latency and High Throughput", ICDCS 2019.

namespace silurus::bench {
namespace {

/// Where messages keep that much of the server's cores busy, it is saturated.
constexpr double kSaturated = 0.95;

/// A line in its pictures: a way of asking, and a network.
struct Line {
  std::string name;
  PlanWay way;
  PlanModel model;
};

Result<std::vector<Line>> lines_of(const PlanRun& base) {
  std::vector<Line> lines;
  for (const char* tcp : {"tcp-1g", "tcp-40g"}) {
    const auto model = read_model(model_path(tcp));
    if (!model) return fail(model.error());
    lines.push_back({tcp, plan_ways().front(), *model});
  }
  for (const PlanWay& way : plan_ways()) {
    if (way.name == "offload-cached") continue;  // the paper's has no cache
    lines.push_back({way.name, way, base.model});
  }
  return lines;
}

class CatfishExperiment {
 public:
  CatfishExperiment(const PlanExperiment& asked, std::vector<Line> lines)
      : asked_(asked), lines_(std::move(lines)) {}

  Status add_runs(PlanRun base);
  Status run(Report& report);

 private:
  struct Cell {
    std::string name;  ///< "plan/0.01/search"
    unsigned clients;
  };

  void take(std::size_t index, const PlanFigures& figures, Report& report);
  void compare(const Cell& cell, Report& report) const;
  std::string row(const Cell& cell, const std::string& line) const {
    return cell.name + "/" + line + "/clients=" + std::to_string(cell.clients);
  }
  const PlanFigures& of(const std::string& line) const {
    const auto found = std::ranges::find(lines_, line, &Line::name);
    return figures_[static_cast<std::size_t>(found - lines_.begin())];
  }

  const PlanExperiment& asked_;
  const std::vector<Line> lines_;
  std::vector<Cell> cells_;
  std::vector<PlanRun> runs_;         ///< runs of each cell, line by line
  std::vector<PlanFigures> figures_;  ///< figures of the cell under way, line by line
  PlanTable table_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

Status CatfishExperiment::add_runs(PlanRun base) {
  for (const std::string& edge : asked_.edges) {
    const auto windows = plan_windows(edge);
    if (!windows) return fail(windows.error());
    base.windows = *windows;
    for (const bool is_mixed : {false, true}) {
      base.insert_share = is_mixed ? 0.1 : 0;
      for (const unsigned clients : asked_.clients) {
        base.clients = clients;
        cells_.push_back({"plan/" + edge + (is_mixed ? "/mixed90" : "/search"), clients});
        for (const Line& line : lines_) {
          base.model = line.model;
          set_way(base, line.way, asked_.warm_up);
          runs_.push_back(base);
        }
      }
    }
  }
  return {};
}

Status CatfishExperiment::run(Report& report) {
  return run_plans(
      runs_, [&](std::size_t index, const PlanFigures& figures) { take(index, figures, report); });
}

void CatfishExperiment::take(std::size_t index, const PlanFigures& figures, Report& report) {
  const Cell& cell = cells_[index / lines_.size()];
  const std::size_t line = index % lines_.size();
  table_.add(report, row(cell, lines_[line].name), figures);
  figures_.push_back(figures);
  if (line + 1 < lines_.size()) return;
  compare(cell, report);
  figures_.clear();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began_;
  std::fprintf(stderr, "%zu of %zu, %.0f s\n", index + 1, runs_.size(), passed.count());
}

void CatfishExperiment::compare(const Cell& cell, Report& report) const {
  const double fixed = std::max(of("messaging").ops_per_second, of("offload").ops_per_second);
  const auto add = [&](const char* line, const char* what, double base, std::optional<double> bar) {
    const double rate = of(line).ops_per_second;
    report.record({.name = row(cell, line) + "/vs-" + what,
                   .value = rate,
                   .unit = "ops/s",
                   .baseline = what,
                   .ratio = rate / base,
                   .bar = bar});
  };
  add("catfish", "better-fixed", fixed, {});
  add("catfish-doubling", "better-fixed", fixed, {});
  add("cost", "better-fixed", fixed, 0.97);
  add("cost-cached", "better-fixed", fixed, 0.97);
  const bool is_saturated = of("messaging").server_cpu > kSaturated;
  add("cost-cached", "catfish", of("catfish").ops_per_second,
      is_saturated ? std::optional(2.0) : std::nullopt);
}

}  // namespace

Status run_catfish_experiment(const PlanExperiment& asked, Report& report) {
  const auto base = base_run(asked);
  if (!base) return fail(base.error());
  auto lines = lines_of(*base);
  if (!lines) return fail(lines.error());
  CatfishExperiment experiment(asked, std::move(*lines));
  if (auto ok = experiment.add_runs(*base); !ok) return ok;
  return experiment.run(report);
}

}  // namespace silurus::bench
