// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <ctime>

#include "bench/calibrate.h"
#include "bench/plan_server.h"
#include "bench/report.h"
#include "common/clock.h"
#include "common/random.h"
#include "rtree/tree.h"

namespace silurus::bench {
namespace {

/// Distinct ones, so that most leaves are met cold.
constexpr std::size_t kQueries = std::size_t{1} << 16;
constexpr std::size_t kFoundTogether = 16;  ///< searches that a busy worker finds together
constexpr std::size_t kInserts = 8192;
constexpr std::size_t kInsertBatch = 64;

/// A kind of window: its width and height.
struct Shape {
  double width;
  double height;
};
constexpr Shape kShapes[] = {
    {0.00001, 0.00001}, {0.003, 0.003}, {0.01, 0.01}, {0.02, 0.02}, {0.2, 0.0001}};

double ns_since(Nanoseconds start) { return static_cast<double>(ThreadClock().now() - start); }

Result<std::unique_ptr<rtree::Tree<2>>> build(const PlanEntries& entries,
                                              rtree::AnonymousSlabs& slabs, const Clock& clock) {
  auto tree = rtree::Tree<2>::create({}, slabs, clock);
  if (!tree) return tree;
  if (auto loaded = (*tree)->bulk_load(entries, {}); !loaded) return fail(loaded.error());
  return tree;
}

double time_single(const rtree::Snapshot<2>& snapshot, const CalibrationWindows& windows) {
  rtree::RangeResult<2> result;
  const Nanoseconds start = ThreadClock().now();
  for (const auto& query : windows.queries) (void)snapshot.range(query, result);
  return ns_since(start) / static_cast<double>(windows.queries.size());
}

double time_interleaved(const rtree::Snapshot<2>& snapshot, const CalibrationWindows& windows) {
  std::vector<rtree::RangeResult<2>> results(kFoundTogether);
  const Nanoseconds start = ThreadClock().now();
  const std::span queries(windows.queries);
  for (std::size_t i = 0; i + kFoundTogether <= queries.size(); i += kFoundTogether) {
    (void)snapshot.range_batch(queries.subspan(i, kFoundTogether), results);
  }
  return ns_since(start) / static_cast<double>(queries.size() / kFoundTogether * kFoundTogether);
}

/// Inserts in batches: ns per operation, publication included.
double time_inserts(rtree::Tree<2>& tree, Random& random, std::size_t batch) {
  const Nanoseconds start = ThreadClock().now();
  for (std::size_t i = 0; i < kInserts; ++i) {
    rtree::Entry<2> entry;
    entry.id = random();
    for (int d = 0; d < 2; ++d) {
      entry.box.min[d] = random.uniform();
      entry.box.max[d] = entry.box.min[d] + 0.0001 * random.uniform();
    }
    (void)tree.insert(entry);
    if (i % batch == batch - 1) tree.publish();
  }
  return ns_since(start) / static_cast<double>(kInserts);
}

/// Least squares of relative errors for the columns chosen; solves by Gauss' elimination.
std::array<double, 3> solve(const std::vector<std::array<double, 3>>& rows,
                            const std::vector<double>& values, const std::array<bool, 3>& used) {
  double matrix[3][4] = {};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double weight = 1 / (values[r] * values[r]);
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) matrix[i][j] += weight * rows[r][i] * rows[r][j];
      matrix[i][3] += weight * rows[r][i] * values[r];
    }
  }
  for (int i = 0; i < 3; ++i) {
    if (used[i]) continue;
    for (int j = 0; j < 4; ++j) matrix[i][j] = 0;
    for (auto& row : matrix) row[i] = 0;
    matrix[i][i] = 1;
  }
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) {
      if (k == i) continue;
      const double factor = matrix[k][i] / matrix[i][i];
      for (int j = i; j < 4; ++j) matrix[k][j] -= factor * matrix[i][j];
    }
  }
  return {matrix[0][3] / matrix[0][0], matrix[1][3] / matrix[1][1], matrix[2][3] / matrix[2][2]};
}

}  // namespace

Nanoseconds ThreadClock::now() const {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

double median_of(unsigned rounds, const std::function<double()>& measure) {
  std::vector<double> values;
  for (unsigned i = 0; i < rounds; ++i) values.push_back(measure());
  return median(std::move(values));
}

std::vector<CalibrationWindows> calibration_windows(const PlanEntries& entries) {
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  const auto tree = build(entries, slabs, clock);
  std::vector<CalibrationWindows> all;
  if (!tree) return all;
  const auto snapshot = (*tree)->snapshot();
  Random random(1);
  DemandCounter counter;
  for (const Shape& shape : kShapes) {
    CalibrationWindows windows;
    // Fewer of the large ones: as many entries are found.
    const std::size_t count = shape.width * shape.height > 1e-5 ? kQueries / 32 : kQueries;
    for (std::size_t i = 0; i < count; ++i) {
      auto& window = windows.queries.emplace_back().window;
      window.min = {random.uniform() * (1 - shape.width), random.uniform() * (1 - shape.height)};
      window.max = {window.min[0] + shape.width, window.min[1] + shape.height};
      const SearchDemand demand = counter.count(snapshot, windows.queries.back());
      windows.leaves += static_cast<double>(demand.leaves) / static_cast<double>(count);
      windows.results += static_cast<double>(demand.results) / static_cast<double>(count);
    }
    all.push_back(std::move(windows));
  }
  return all;
}

PlanCosts::Search fit_search(const std::vector<CalibrationWindows>& windows,
                             const std::vector<double>& ns) {
  std::vector<std::array<double, 3>> rows;
  for (const auto& kind : windows) rows.push_back({1, kind.leaves, kind.results});
  rows.resize(ns.size());
  std::array<bool, 3> used = {true, true, true};
  std::array<double, 3> costs{};
  for (;;) {
    costs = solve(rows, ns, used);
    const auto least = std::min_element(costs.begin(), costs.end()) - costs.begin();
    if (costs[static_cast<std::size_t>(least)] >= 0) break;
    used[static_cast<std::size_t>(least)] = false;  // nothing costs less than nothing
  }
  return {.search_ns = costs[0], .leaf_ns = costs[1], .result_ns = costs[2]};
}

Result<TreeCosts> calibrate_tree(const PlanEntries& entries,
                                 const std::vector<CalibrationWindows>& windows, unsigned rounds) {
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  const auto tree = build(entries, slabs, clock);
  if (!tree) return fail(tree.error());
  TreeCosts costs;
  std::vector<double> single, interleaved;
  for (const auto& kind : windows) {
    const auto snapshot = (*tree)->snapshot();
    single.push_back(median_of(rounds, [&] { return time_single(snapshot, kind); }));
    interleaved.push_back(median_of(rounds, [&] { return time_interleaved(snapshot, kind); }));
  }
  costs.search = fit_search(windows, single);
  costs.interleaved = fit_search(windows, interleaved);
  Random random(2);
  const double alone = median_of(rounds, [&] { return time_inserts(**tree, random, 1); });
  const double batched =
      median_of(rounds, [&] { return time_inserts(**tree, random, kInsertBatch); });
  // alone = operation + publish; batched = operation + publish / kInsertBatch.
  costs.writer.publish_ns =
      std::max(0.0, (alone - batched) / (1 - 1.0 / static_cast<double>(kInsertBatch)));
  costs.writer.operation_ns = alone - costs.writer.publish_ns;
  return costs;
}

}  // namespace silurus::bench
