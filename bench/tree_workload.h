// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "bench/tree.h"
#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::bench {

using Box2 = rtree::Box<2>;
using Entry2 = rtree::Entry<2>;

/// The data set and the queries of one part of the benchmark.
struct TreeWorkload {
  std::string name;              ///< "uniform", "roads"
  std::vector<Entry2> entries;   ///< loaded
  std::vector<Entry2> arrivals;  ///< entries of the same kind, inserted later
  std::vector<Box2> small;       ///< windows of edge 0.00001
  std::vector<Box2> large;       ///< windows of edge 0.01
  std::vector<rtree::Point<2>> points;
};

/// Boxes with edges uniform in (0, 0.0001] anywhere in the unit square; queries anywhere in it.
Result<TreeWorkload> uniform_workload(const TreeBenchOptions& options);
/// Segments of roads (datasets/generators.h); queries about the middles of some of them, as people
/// ask where there is something.
Result<TreeWorkload> roads_workload(const TreeBenchOptions& options);

}  // namespace silurus::bench
