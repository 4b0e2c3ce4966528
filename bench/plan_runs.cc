// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_runs.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <vector>

namespace silurus::bench {

Status run_plans(std::span<const PlanRun> runs,
                 const std::function<void(std::size_t, const PlanFigures&)>& done) {
  std::vector<std::promise<Result<PlanFigures>>> results(runs.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    // Relaxed: a ticket, and no more; results are handed over by the promises.
    for (std::size_t i = next.fetch_add(1, std::memory_order_relaxed); i < runs.size();
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      results[i].set_value(run_plan(runs[i]));
    }
  };
  std::vector<std::jthread> workers;
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (std::size_t i = 0; i < std::min(cores, runs.size()); ++i) workers.emplace_back(work);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto figures = results[i].get_future().get();
    if (!figures) {
      next.store(runs.size(), std::memory_order_relaxed);  // the rest is not begun
      return fail(figures.error());
    }
    done(i, *figures);
  }
  return {};
}

}  // namespace silurus::bench
