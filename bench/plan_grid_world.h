// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "bench/model.h"
#include "client/policy.h"
#include "common/clock.h"
#include "common/random.h"

// A cluster for a grid of hundreds of plans: the policies that ship, and queues in virtual time
// for all else. Each search costs what the formulas of grid_costs() say; run_plan(), which runs the
// whole server and client, takes a hundred times as long.

namespace silurus::bench {

/// What a client knows beside the tree's root, and so what an offloaded search reads.
enum class GridClient : std::uint8_t {
  kNoCache = 0,     ///< the root node and no other
  kCache = 1,       ///< all inner nodes
  kGroups = 2,      ///< all inner nodes, and a box of 8 bits a side for four entries of a leaf each
  kEntryBoxes = 3,  ///< the same, and a box of each entry
};
inline constexpr std::size_t kGridClients = 4;
const char* grid_client_name(GridClient client);

/// A search of the workload, as counted in a tree.
struct GridSearch {
  std::uint8_t search_class = 0;
  double inner = 0;  ///< nodes of it that are visited below the root
  double leaves = 0;
  double results = 0;
};

/// What a search costs either way; times in ns on the model's cores.
struct GridCost {
  double server = 0;         ///< a core's time for a request that finds it idle
  double server_queued = 0;  ///< the same of one that is taken up together with others
  double answer_bytes = 0;   ///< out of the server
  double client_before = 0;  ///< the client's core, by message: before the request leaves
  double client_after = 0;   ///< time of the client with the answer
  double reads = 0;          ///< offloaded: reads in each trip
  double read_bytes = 0;     ///< bytes of a read on the wire
  double offload_before = 0;
  double offload_after = 0;
  unsigned trips = 1;
};

struct GridRun {
  PlanModel model;
  PlanCosts costs;
  double wake_ns = 0;  ///< what being woken costs a core, for each request; 0: it polls
  GridClient client = GridClient::kCache;
  double insert_share = 0;
  unsigned levels = 4;  ///< levels of the tree, that of leaves included
  unsigned clients = 256;
  std::span<const GridSearch> searches;  ///< each client draws from them; they outlive the run
  std::uint64_t seed = 1;
};

GridCost grid_cost(const GridRun& run, const GridSearch& search);

/// How long a run takes, at least: before what counts, in operations of each client and in time;
/// and while it counts, in operations of all clients and in time.
struct GridTime {
  std::uint64_t warm_up_operations = 0;  ///< each client's, on average
  Nanoseconds warm_up = 0;
  std::uint64_t operations = 0;
  Nanoseconds duration = 0;
};

struct GridFigures {
  double ops_per_second = 0;
  double server_cpu = 0;     ///< share of its cores that worked
  double network_out = 0;    ///< share of the port's bandwidth
  double offload_share = 0;  ///< share of the searches
  double mean_us = 0;        ///< latency of searches
};

/// A policy for the client of that number.
using GridPolicy = std::function<std::unique_ptr<AccessPolicy>(unsigned number)>;

/// The same run gives the same figures on every machine. Any thread.
GridFigures run_grid(const GridRun& run, const GridPolicy& policy, const GridTime& time);

}  // namespace silurus::bench
