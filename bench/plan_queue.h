// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "bench/plan_cluster.h"

// Clusters too large to simulate: a closed network of queues with the demands that a simulation of
// one shard measured.

namespace silurus::bench {

/// What one operation asks of one of the things that it may wait for.
struct PlanStation {
  std::string name;    ///< "server cores"
  double demand = 0;   ///< seconds of it per operation
  double servers = 1;  ///< that work side by side
};

struct PlanNetwork {
  std::vector<PlanStation> stations;
  double think = 0;  ///< seconds of an operation that are spent where no other waits
};

struct PlanPrediction {
  double ops_per_second = 0;
  double latency = 0;      ///< seconds
  std::string bottleneck;  ///< the station that is busiest
  double busy = 0;         ///< its utilisation
};

/// That many customers, each of which begins its next operation when the last has ended:
/// approximate mean value analysis (Schweitzer 1979, as in Lazowska et al., "Quantitative System
/// Performance", 1984, chapter 6); a station of several servers counts as one that is as fast as
/// all together, and a delay (Seidmann et al. 1987).
PlanPrediction solve(const PlanNetwork& network, double customers);

/// The queues of one shard, of which each operation of a client visits `shards_visited`; each shard
/// has that many replicas, over which searches spread, while each insert goes to all.
PlanNetwork network_of(const PlanRun& run, const PlanFigures& measured, double replicas);

}  // namespace silurus::bench
