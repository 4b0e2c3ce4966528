// SPDX-License-Identifier: Apache-2.0

#include "bench/modes.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "bench/cpus.h"
#include "bench/driver.h"
#include "bench/figures.h"
#include "bench/modes_keyed.h"
#include "bench/server_process.h"

namespace silurus::bench {
namespace {

constexpr double kIdleSeconds = 3;

using Cell = std::map<std::string, Runs>;  ///< by the name of the way

/// Everything about a cell but the ways.
struct CellName {
  std::string edge;
  double insert_share;
  unsigned clients;

  std::string row(const std::string& way) const {
    return "modes/" + edge + (insert_share > 0 ? "/mixed90/" : "/search/") + way +
           "/clients=" + std::to_string(clients);
  }
};

Result<Cell> measure(const std::vector<Way>& ways, const CellName& name,
                     const ModesBenchOptions& options) {
  Workload workload{.insert_share = name.insert_share, .clients = name.clients};
  if (name.edge != "power-law") {
    workload.windows.min_edge = workload.windows.max_edge = std::stod(name.edge);
  }
  std::vector<std::unique_ptr<Driver>> drivers;
  for (const Way& way : ways) {
    auto driver = Driver::create(way, workload, options.seed);
    if (!driver) return fail(driver.error());
    drivers.push_back(std::move(*driver));
    auto warm = drivers.back()->run(static_cast<Nanoseconds>(kWarmUpSeconds * kSecond));
    if (!warm) return fail(warm.error());
  }
  Cell cell;
  for (std::uint32_t run = 0; run < options.runs; ++run) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const std::size_t turn = (i + run) % ways.size();
      auto figures = drivers[turn]->run(static_cast<Nanoseconds>(options.seconds * kSecond));
      if (!figures) return fail(figures.error());
      cell[ways[turn].name].figures.push_back(std::move(*figures));
    }
  }
  return cell;
}

void print_cell(const CellName& name, const std::vector<Way>& ways, const Cell& cell) {
  for (const Way& way : ways) {
    const Runs& m = cell.at(way.name);
    std::printf("%-9s %-7s %3u  %-9s %12.0f %9.2f %9.2f %7.2f %9.0f %6.2f %6.2f %9.2f %9.2f\n",
                name.edge.c_str(), name.insert_share > 0 ? "mixed90" : "search", name.clients,
                way.name.c_str(), m.middle(&Figures::ops_per_second), m.middle(&Figures::p50_us),
                m.middle(&Figures::p99_us), m.middle(&Figures::round_trips),
                m.middle(&Figures::bytes), m.middle(&Figures::doorbells),
                m.middle(&Figures::work_requests), m.middle(&Figures::server_cpu_us),
                m.middle(&Figures::client_cpu_us));
  }
  std::fflush(stdout);
}

void record_cell(const CellName& name, const std::vector<Way>& ways, const Cell& cell,
                 Report& report) {
  const Way& baseline = ways.front();
  const double base = cell.at(baseline.name).middle(&Figures::ops_per_second);
  for (const Way& way : ways) {
    const Runs& m = cell.at(way.name);
    const std::string row = name.row(way.name);
    const double value = m.middle(&Figures::ops_per_second);
    Row rate = m.rate_row(row);
    rate.baseline = baseline.name;
    rate.ratio = value / base;
    report.record(std::move(rate));
    const auto detail = [&](const char* what, const char* unit, double (Figures::*of)() const) {
      report.record(
          {.name = row + "/" + what, .value = m.middle(of), .unit = unit, .spread = m.all(of)});
    };
    detail("p50", "us", &Figures::p50_us);
    detail("p99", "us", &Figures::p99_us);
    detail("round-trips", "per search", &Figures::round_trips);
    detail("bytes", "per search", &Figures::bytes);
    detail("doorbells", "per op", &Figures::doorbells);
    detail("work-requests", "per op", &Figures::work_requests);
  }
}

/// Adaptive against the better of the fixed modes, run by run, where both can be had; against both
/// with a bar above 1 where the server is saturated and the client is not.
void record_adaptive(const CellName& name, const Cell& cell, Report& report) {
  constexpr double kSaturated = 0.95;
  constexpr double kClientIdle = 0.2;
  const Runs& messaging = cell.at("messaging");
  const bool server_saturated = messaging.middle([](const Figures& f) {
    return f.server_cpu_seconds / f.seconds;
  }) > kSaturated;
  const bool client_idle = name.clients > 1 && messaging.middle([](const Figures& f) {
    return f.idle_share;
  }) > kClientIdle;
  const double better = std::max(messaging.middle(&Figures::ops_per_second),
                                 cell.at("offload").middle(&Figures::ops_per_second));
  for (const char* way : {"catfish", "adaptive"}) {
    const Runs& adaptive = cell.at(way);
    Row row{.name = name.row(way) + "/vs-better-fixed",
            .value = adaptive.middle(&Figures::ops_per_second),
            .unit = "ops/s",
            .baseline = "better fixed mode",
            .ratio = adaptive.middle(&Figures::ops_per_second) / better,
            .spread = adaptive.all(&Figures::ops_per_second)};
    if (std::string_view(way) == "adaptive") {
      row.bar = server_saturated && client_idle ? 1.0 : 0.95;
    }
    report.record(std::move(row));
  }
}

/// The bars of a lone client that asks for small windows.
void record_lone_client(const CellName& name, const Cell& cell, double bare_ns, Report& report) {
  const double messaging = cell.at("messaging").middle(&Figures::ops_per_second);
  const auto against = [&](const char* way, double bar) {
    report.add({.name = name.row("messaging") + "/vs-" + way,
                .value = messaging,
                .unit = "ops/s",
                .baseline = way,
                .ratio = messaging / cell.at(way).middle(&Figures::ops_per_second),
                .spread = cell.at("messaging").all(&Figures::ops_per_second),
                .bar = bar});
  };
  if (name.insert_share == 0) {
    against("tcp", 8);
    against("tcp-spin", 5);
    if (bare_ns > 0) {
      report.add({.name = name.row("messaging") + "/p50-in-bare-round-trips",
                  .value = cell.at("messaging").middle(&Figures::p50_us) * 1e3 / bare_ns,
                  .unit = "x",
                  .spread = {},
                  .bar = 4,
                  .bar_is_upper = true});
    }
  }
  report.add({.name = name.row("offload") + "/round-trips-per-search",
              .value = cell.at("offload").middle(&Figures::round_trips),
              .unit = "trips",
              .spread = cell.at("offload").all(&Figures::round_trips),
              .bar = name.insert_share == 0 ? 1.005 : 1.5,
              .bar_is_upper = true});
  report.add({.name = name.row("offload") + "/wire-bytes-per-search",
              .value = cell.at("offload").middle(&Figures::wire_bytes),
              .unit = "bytes",
              .spread = cell.at("offload").all(&Figures::wire_bytes),
              .bar = name.insert_share == 0 ? 200 : 700,
              .bar_is_upper = true});
}

/// CPU that the server uses while clients are connected and say nothing.
Status record_idle(const Way& way, Report& report) {
  auto driver = Driver::create(way, {.clients = 8}, 1);
  if (!driver) return fail(driver.error());
  const auto before = (*driver)->server_cpu_seconds();
  if (!before) return fail(before.error());
  sleep(static_cast<unsigned>(kIdleSeconds));
  const auto after = (*driver)->server_cpu_seconds();
  if (!after) return fail(after.error());
  report.add({.name = "modes/idle/clients=8/server-cpu",
              .value = (*after - *before) / kIdleSeconds * 100,
              .unit = "% of a core",
              .bar = 1,
              .bar_is_upper = true});
  return {};
}

/// The servers of a run, and how to reach them.
struct Servers {
  std::vector<ServerProcess> processes;
  std::filesystem::path folder;
  std::string url, tcp, tcp_sleeping;

  Servers() = default;
  Servers(Servers&&) = default;
  ~Servers() {
    processes.clear();
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }
};

Result<Servers> start_servers(const ModesBenchOptions& options, int cpu) {
  Servers servers;
  if (!options.server_url.empty()) {
    servers.url = options.server_url;
    servers.tcp = servers.tcp_sleeping = options.tcp_url;
    return servers;
  }
  servers.folder =
      std::filesystem::temp_directory_path() / ("silurus-bench-" + std::to_string(getpid()));
  std::filesystem::create_directory(servers.folder);
  servers.url = "shm://" + (servers.folder / "socket").string();
  const std::vector<std::string> common = {"--threads",         "1",      "--cpus",
                                           std::to_string(cpu), "--load", options.data};
  const auto start = [&](std::vector<std::string> more) -> Result<std::string> {
    more.insert(more.end(), common.begin(), common.end());
    more.insert(more.end(), {"--listen", "tcp://127.0.0.1:0"});
    auto process = ServerProcess::start(more);
    if (!process) return fail(process.error());
    servers.processes.push_back(std::move(*process));
    return servers.processes.back().address("tcp://");
  };
  auto tcp = start({"--listen", servers.url});
  if (!tcp) return fail(tcp.error());
  auto sleeping = start({"--wait", "sleep"});
  if (!sleeping) return fail(sleeping.error());
  servers.tcp = *tcp;
  servers.tcp_sleeping = *sleeping;
  return servers;
}

}  // namespace

Status run_modes(const ModesBenchOptions& options, Report& report) {
  const std::vector<int> cpus = allowed_cpus();
  double bare_ns = 0;
  if (cpus.size() > 1 && options.server_url.empty()) {
    auto bare = bare_round_trip_ns(cpus.front(), cpus.back());
    if (!bare) return fail(bare.error());
    bare_ns = *bare;
    report.add({.name = "modes/bare-round-trip", .value = bare_ns, .unit = "ns"});
  }
  auto servers = start_servers(options, cpus.front());
  if (!servers) return fail(servers.error());
  pin_this_thread(cpus.back());
  const std::vector<Way> ways = all_ways(servers->url, servers->tcp, servers->tcp_sleeping);
  std::printf("%-9s %-7s %3s  %-9s %12s %9s %9s %7s %9s %6s %6s %9s %9s\n", "edge", "mix", "cl.",
              "way", "ops/s", "p50 us", "p99 us", "trips", "bytes", "bells", "wrs", "server us",
              "client us");
  for (const std::string& edge : options.edges) {
    for (const double insert_share : {0.0, 0.1}) {
      for (const unsigned clients : options.clients) {
        const CellName name{edge, insert_share, clients};
        auto cell = measure(ways, name, options);
        if (!cell) return fail(cell.error());
        print_cell(name, ways, *cell);
        record_cell(name, ways, *cell, report);
        record_adaptive(name, *cell, report);
        if (clients == 1 && edge == "0.00001") record_lone_client(name, *cell, bare_ns, report);
      }
    }
  }
  if (Status ok = measure_keyed_modes(servers->url, options, report); !ok) return ok;
  return record_idle(ways[2], report);
}

}  // namespace silurus::bench
