// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_queue.h"

#include <algorithm>
#include <cmath>

namespace silurus::bench {
namespace {

constexpr int kMaxIterations = 100'000;
constexpr double kClose = 1e-9;

}  // namespace

PlanPrediction solve(const PlanNetwork& network, double customers) {
  const std::size_t count = network.stations.size();
  std::vector<double> queue(count, customers / static_cast<double>(count)), wait(count);
  PlanPrediction result;
  for (int i = 0; i < kMaxIterations; ++i) {
    double latency = network.think;
    for (std::size_t k = 0; k < count; ++k) {
      const PlanStation& station = network.stations[k];
      const double each = station.demand / station.servers;
      const double others = queue[k] * std::max(0.0, customers - 1) / customers;
      wait[k] = each * (1 + others);
      latency += wait[k] + station.demand - each;
    }
    const double rate = customers / latency;
    double change = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const double length = rate * wait[k];
      change = std::max(change, std::abs(length - queue[k]) / customers);
      queue[k] = length;
    }
    result.ops_per_second = rate;
    result.latency = latency;
    if (change < kClose) break;
  }
  for (const PlanStation& station : network.stations) {
    const double busy = result.ops_per_second * station.demand / station.servers;
    if (busy <= result.busy) continue;
    result.busy = busy;
    result.bottleneck = station.name;
  }
  return result;
}

PlanNetwork network_of(const PlanRun& run, const PlanFigures& measured, double replicas) {
  const PlanModel& model = run.model;
  const double searches = 1 - run.insert_share;
  // Inserts cost every replica, and only they do; searches one of them.
  const double insert_ns = run.costs.writer.operation_ns / model.host.core_speed * run.insert_share;
  const double search_ns = std::max(0.0, measured.busy_ns - insert_ns);
  const double bandwidth = model.card.cards * model.network.bytes_per_second;
  const double spread = (searches + run.insert_share * replicas) / replicas;
  PlanNetwork network;
  network.stations = {
      {.name = "server cores",
       .demand = (search_ns / replicas + insert_ns) / 1e9,
       .servers = model.host.server_cores},
      {.name = "writer", .demand = insert_ns / 1e9},
      {.name = "network out of servers", .demand = measured.bytes_out * spread / bandwidth},
      {.name = "network into servers", .demand = measured.bytes_in * spread / bandwidth},
      {.name = "reads of servers' cards",
       .demand = measured.reads / replicas / (model.card.cards * model.card.reads_per_second)},
      {.name = "messages of servers' cards",
       .demand = measured.messages * spread / (model.card.cards * model.card.messages_per_second)},
  };
  // Delays without a queue: on a client machine the one core that each client has, and the
  // network's.
  const double trips = measured.offload_share * measured.round_trips + 1 - measured.offload_share;
  network.think = measured.client_cpu_us / 1e6 + trips * 2 * model.network.one_way_us / 1e6 +
                  measured.offload_share * measured.round_trips * model.card.read_us / 1e6;
  return network;
}

}  // namespace silurus::bench
