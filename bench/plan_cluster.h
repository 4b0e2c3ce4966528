// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/model.h"
#include "common/clock.h"
#include "common/result.h"
#include "datasets/windows.h"
#include "rtree/geometry.h"
#include "silurus/options.h"

namespace silurus::bench {

using PlanEntries = std::vector<rtree::Entry<2>>;

/// One experiment in virtual time: servers, clients, what these ask and how.
struct PlanRun {
  PlanModel model;
  PlanCosts costs;
  std::shared_ptr<const PlanEntries> entries;
  unsigned servers = 1;   ///< replicas of one tree, over which clients spread their searches
  unsigned clients = 1;   ///< threads; each has a core of its own and its requests in flight
  unsigned machines = 8;  ///< that the clients share: each a card
  unsigned in_flight = 1;
  Mode mode = Mode::kMessaging;
  PolicyKind policy = PolicyKind::kCost;
  /// Bytes of one client's cache. 0: as few nodes as the client can do with, a path and a little.
  std::size_t cache_bytes = std::size_t{2} << 20;
  datasets::WindowOptions<2> windows = {};
  double insert_share = 0;
  /// That many operations of each client, and that much time at least, pass before anything counts.
  std::uint64_t warm_up_operations = 100;
  Nanoseconds warm_up = 2 * kMillisecond;
  /// What counts: until that many operations of all clients are done and that time has passed.
  std::uint64_t operations = 50'000;
  Nanoseconds duration = 2 * kMillisecond;
  std::uint64_t seed = 1;
};

/// What came of it, of the time that counts.
struct PlanFigures {
  double ops_per_second = 0;
  double p50_us = 0;  ///< latency of searches
  double p99_us = 0;
  double server_cpu = 0;     ///< share of all servers' cores that worked
  double client_cpu_us = 0;  ///< time on a client's core, per operation
  double network_out = 0;    ///< share of the bandwidth out of the busiest server
  double network_in = 0;     ///< share of the bandwidth into that server
  double card = 0;           ///< share of what that server's card can do (reads or messages)
  double offload_share = 0;  ///< share of searches that were offloaded
  double round_trips = 0;    ///< per offloaded search
  double bytes_out = 0;      ///< that leave the servers, per operation
  double bytes_in = 0;
  double busy_ns = 0;   ///< time on server cores, per operation
  double reads = 0;     ///< one-sided, per operation
  double messages = 0;  ///< messages through the servers' cards, both ways, per operation
  std::uint64_t operations = 0;
  std::uint64_t events = 0;  ///< events of the simulation, warm-up included
};

/// Runs the shipped server and clients over the `sim` fabric with the model's costs charged. The
/// same run gives the same figures, whatever the machine. kUnavailable if a client cannot connect
/// or the virtual time passes without its operations ending.
Result<PlanFigures> run_plan(const PlanRun& run);

/// That many boxes, uniform in the unit square, as silurus-server's `uniform:COUNT`.
Result<std::shared_ptr<const PlanEntries>> plan_entries(std::uint64_t count);

}  // namespace silurus::bench
