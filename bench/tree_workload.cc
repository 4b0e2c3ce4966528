// SPDX-License-Identifier: Apache-2.0

#include "bench/tree_workload.h"

#include <algorithm>
#include <memory>

#include "bench/figures.h"
#include "common/random.h"
#include "datasets/generators.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kSmallWindows = 200'000;
constexpr std::size_t kLargeWindows = 20'000;
constexpr std::size_t kPoints = 40'000;
constexpr double kLargeEdge = 0.01;
/// Entries kept back for inserting: that many for each run of each of three measurements.
constexpr std::uint64_t kArrivalsPerRun = 26'000;

using Centre = rtree::Point<2>;

Box2 window_at(const Centre& centre, double edge) {
  Box2 window;
  for (int d = 0; d < 2; ++d) {
    window.min[d] = centre.at[d] - edge / 2;
    window.max[d] = window.min[d] + edge;
  }
  return window;
}

/// Reads the source and keeps back what will arrive later: a random part of the entries, for a
/// generator's last ones need not look like its first.
Result<TreeWorkload> workload_of(std::string name, datasets::Source<2>& source,
                                 std::uint64_t arrivals, Random& random) {
  auto all = datasets::read_all(source);
  if (!all) return fail(all.error());
  for (std::size_t i = all->size(); i > 1; --i) std::swap((*all)[i - 1], (*all)[random.below(i)]);
  TreeWorkload workload;
  workload.name = std::move(name);
  const auto kept = static_cast<std::ptrdiff_t>(all->size() - arrivals);
  workload.arrivals.assign(all->begin() + kept, all->end());
  all->resize(static_cast<std::size_t>(kept));
  workload.entries = std::move(*all);
  return workload;
}

template <typename NextCentre>
void add_queries(TreeWorkload& workload, NextCentre&& next) {
  for (std::size_t i = 0; i < kSmallWindows; ++i) {
    workload.small.push_back(window_at(next(), kSmallEdge));
  }
  for (std::size_t i = 0; i < kLargeWindows; ++i) {
    workload.large.push_back(window_at(next(), kLargeEdge));
  }
  for (std::size_t i = 0; i < kPoints; ++i) workload.points.push_back(next());
}

}  // namespace

Result<TreeWorkload> uniform_workload(const TreeBenchOptions& options) {
  const std::uint64_t arrivals = kArrivalsPerRun * options.runs;
  auto source = datasets::generate_uniform<2>(
      {.count = options.entries + arrivals, .seed = options.seed, .edge = 0.0001});
  if (!source) return fail(source.error());
  Random random(options.seed + 1);
  auto workload = workload_of("uniform", **source, arrivals, random);
  if (!workload) return workload;
  add_queries(*workload, [&] { return Centre{{random.uniform(), random.uniform()}}; });
  return workload;
}

Result<TreeWorkload> roads_workload(const TreeBenchOptions& options) {
  const std::uint64_t arrivals = kArrivalsPerRun * options.runs;
  auto source = datasets::generate_roads<2>(
      {.count = options.entries + arrivals, .seed = options.seed, .towns = 0, .step = 0});
  if (!source) return fail(source.error());
  Random random(options.seed + 2);
  auto workload = workload_of("roads", **source, arrivals, random);
  if (!workload) return workload;
  add_queries(*workload, [&] {
    const Box2& box = workload->entries[random.below(workload->entries.size())].box;
    Centre centre;
    for (int d = 0; d < 2; ++d) {
      centre.at[d] = (box.min[d] + box.max[d]) / 2 + random.uniform(-0.0005, 0.0005);
    }
    return centre;
  });
  return workload;
}

}  // namespace silurus::bench
