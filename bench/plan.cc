// SPDX-License-Identifier: Apache-2.0

#include "bench/plan.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace silurus::bench {
namespace {

/// Heartbeats come every 10 ms. 256 clients by the cost policy are within 2 % of their rate in the
/// end before that much virtual time has passed; by Catfish's they swing between both ways, with a
/// period of that length.
constexpr Nanoseconds kSettling = 80 * kMillisecond;
constexpr Nanoseconds kSwing = 60 * kMillisecond;

}  // namespace

std::vector<PlanWay> plan_ways() {
  return {
      {.name = "messaging", .mode = Mode::kMessaging},
      {.name = "offload", .mode = Mode::kOffload},
      {.name = "offload-cached", .mode = Mode::kOffload, .has_cache = true},
      {.name = "catfish", .mode = Mode::kAdaptive, .policy = PolicyKind::kCatfish},
      {.name = "catfish-doubling", .mode = Mode::kAdaptive, .policy = PolicyKind::kCatfishDoubling},
      {.name = "cost", .mode = Mode::kAdaptive},
      {.name = "cost-cached", .mode = Mode::kAdaptive, .has_cache = true},
  };
}

void set_way(PlanRun& run, const PlanWay& way, std::uint64_t warm_up) {
  run.mode = way.mode;
  run.policy = way.policy;
  run.cache_bytes = way.has_cache ? std::size_t{2} << 20 : 0;
  const bool adapts = way.mode == Mode::kAdaptive;
  // Caches fill within some hundred searches.
  run.warm_up_operations = adapts ? warm_up : way.has_cache ? 1500 : 20;
  // A tree that is written grows, and searches find more: only the same time can be compared.
  const bool changes = adapts || run.insert_share > 0;
  run.warm_up = changes ? kSettling : kMillisecond;
  run.duration = changes ? kSwing : kMillisecond;
}

void PlanTable::add(Report& report, const std::string& name, const PlanFigures& figures) {
  if (!has_head_) {
    std::printf("%-48s %9s %8s %8s %6s %8s %6s %6s %6s %6s\n", "", "M ops/s", "p50 us", "p99 us",
                "cpu %", "cli us", "out %", "in %", "card %", "offl %");
    has_head_ = true;
  }
  std::printf("%-48s %9.3f %8.2f %8.2f %6.1f %8.2f %6.1f %6.1f %6.1f %6.1f\n", name.c_str(),
              figures.ops_per_second / 1e6, figures.p50_us, figures.p99_us,
              100 * figures.server_cpu, figures.client_cpu_us, 100 * figures.network_out,
              100 * figures.network_in, 100 * figures.card, 100 * figures.offload_share);
  std::fflush(stdout);
  report.record({.name = name, .value = figures.ops_per_second, .unit = "ops/s"});
  const auto add = [&](const char* what, double value, const char* unit) {
    report.record({.name = name + "/" + what, .value = value, .unit = unit});
  };
  add("p50", figures.p50_us, "us");
  add("p99", figures.p99_us, "us");
  add("server-cpu", 100 * figures.server_cpu, "%");
  add("client-cpu", figures.client_cpu_us, "us/op");
  add("network-out", 100 * figures.network_out, "%");
  add("network-in", 100 * figures.network_in, "%");
  add("card", 100 * figures.card, "%");
  add("offloaded", 100 * figures.offload_share, "%");
}

Result<datasets::WindowOptions<2>> plan_windows(const std::string& edge) {
  datasets::WindowOptions<2> windows;
  if (edge == "power-law") return windows;
  char* end = nullptr;
  const double value = std::strtod(edge.c_str(), &end);
  if (edge.empty() || *end != '\0' || !(value >= 1e-9 && value <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + edge + "' is no edge of windows: a number from 1e-9 to 1, or power-law");
  }
  windows.min_edge = windows.max_edge = value;
  return windows;
}

std::string model_path(const std::string& name) {
  if (name.find('/') != std::string::npos || name.ends_with(".toml")) return name;
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto installed = program.parent_path().parent_path() / "share" / "silurus" / "models";
  const std::filesystem::path folder = exists(installed, error) ? installed : SILURUS_MODELS;
  return (folder / (name + ".toml")).string();
}

}  // namespace silurus::bench
