// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "bench/plan.h"
#include "bench/plan_grid_world.h"
#include "rtree/root_block.h"

namespace silurus::bench {
namespace {

class Always final : public AccessPolicy {
 public:
  explicit Always(Access access) : access_(access) {}
  Access choose(std::uint8_t) override { return access_; }
  void on_search(const SearchOutcome&) override {}
  void on_heartbeat(const ServerLoad&) override {}

 private:
  Access access_;
};

GridPolicy always(Access access) {
  return [access](unsigned) { return std::make_unique<Always>(access); };
}

/// Searches of one leaf and one result, on two cores that take 1 us for each.
const std::vector<GridSearch> kOne = {{.search_class = 10, .inner = 2, .leaves = 1, .results = 1}};

GridRun simple_run() {
  GridRun run;
  run.model = *read_model(model_path("infiniband-100g"));
  run.model.cpu = {};
  run.model.host.server_cores = 2;
  run.costs.server.request_ns = 500;
  run.costs.search.search_ns = run.costs.interleaved.search_ns = 500;
  run.clients = 64;
  run.searches = kOne;
  return run;
}

constexpr GridTime kShort = {.warm_up_operations = 10,
                             .warm_up = 100 * kMicrosecond,
                             .operations = 5'000,
                             .duration = kMillisecond};

GridFigures by_message(const GridRun& run) {
  return run_grid(run, always(Access::kMessaging), kShort);
}
GridFigures offloaded(const GridRun& run) {
  return run_grid(run, always(Access::kOffload), kShort);
}

TEST(PlanGrid, AServersCoresLimitWhatItDoesByMessage) {
  const GridFigures figures = by_message(simple_run());
  EXPECT_NEAR(figures.ops_per_second, 2e6, 0.02e6);
  EXPECT_NEAR(figures.server_cpu, 1, 0.01);
  EXPECT_EQ(figures.offload_share, 0);
}

TEST(PlanGrid, BeingWokenForEachRequestTakesItsTime) {
  GridRun run = simple_run();
  run.wake_ns = 9'000;
  EXPECT_NEAR(by_message(run).ops_per_second, 0.2e6, 0.002e6);
}

TEST(PlanGrid, ACardsPortLimitsWhatIsOffloaded) {
  const GridFigures figures = offloaded(simple_run());
  EXPECT_NEAR(figures.network_out, 1, 0.01);
  EXPECT_EQ(figures.server_cpu, 0);
  const double bytes =
      rtree::kRootWordBytes + 46 + static_cast<double>(rtree::node_bytes<2>(0)) + 46;
  EXPECT_NEAR(figures.ops_per_second * bytes, 12.5e9, 0.1e9);
}

TEST(PlanGrid, ACardsRateOfReadsLimitsWhatIsOffloaded) {
  GridRun run = simple_run();
  run.model.card.reads_per_second = 1e6;
  EXPECT_NEAR(offloaded(run).ops_per_second, 0.5e6, 0.01e6) << "root word and leaf";
}

TEST(PlanGrid, WhatClientsCacheSaysHowManyBytesASearchReads) {
  GridRun run = simple_run();
  std::vector<double> bytes;
  for (std::size_t i = 0; i < kGridClients; ++i) {
    run.client = static_cast<GridClient>(i);
    const GridCost cost = grid_cost(run, kOne.front());
    bytes.push_back(cost.read_bytes * cost.trips);
  }
  EXPECT_GT(bytes[0], bytes[1] + 2 * static_cast<double>(rtree::node_bytes<2>(2)));
  EXPECT_NEAR(bytes[2], 187, 1e-9) << "as the prototypes measured";
  EXPECT_NEAR(bytes[3], 69, 1e-9);
}

TEST(PlanGrid, WithoutACacheASearchTakesATripForEachLevelBelowTheRoot) {
  GridRun run = simple_run();
  run.client = GridClient::kNoCache;
  EXPECT_EQ(grid_cost(run, kOne.front()).trips, 3u);
  run.client = GridClient::kCache;
  EXPECT_EQ(grid_cost(run, kOne.front()).trips, 1u);
}

TEST(PlanGrid, OneWriterLimitsAMixWithInserts) {
  GridRun run = simple_run();
  run.model.host.server_cores = 28;
  run.costs.writer.operation_ns = 2'000;
  run.insert_share = 0.1;
  EXPECT_NEAR(by_message(run).ops_per_second, 5e6, 0.3e6);
}

TEST(PlanGrid, ThePolicyThatShipsDoesMoreThanEitherFixedWayWhereBothHaveRoom) {
  GridRun run = simple_run();
  run.client = GridClient::kGroups;
  run.model.network.bytes_per_second = 0.5e9;
  const GridTime time = {.warm_up_operations = 10'000,
                         .warm_up = 60 * kMillisecond,
                         .operations = 20'000,
                         .duration = 10 * kMillisecond};
  const GridFigures adaptive = run_grid(
      run, [](unsigned i) { return make_policy(PolicyKind::kCost, i); }, time);
  EXPECT_GT(adaptive.ops_per_second,
            1.3 * std::max(by_message(run).ops_per_second, offloaded(run).ops_per_second));
}

TEST(PlanGrid, TheSameRunGivesTheSameFigures) {
  const std::vector<GridSearch> two = {kOne.front(), {.leaves = 3, .results = 50}};
  GridRun run = simple_run();
  run.searches = two;
  const double one = offloaded(run).mean_us;
  EXPECT_EQ(offloaded(run).mean_us, one);
  run.seed = 2;
  EXPECT_NE(offloaded(run).mean_us, one);
}

/// The formulas against the server and the client that ship.
TEST(PlanGrid, AgreesWithTheSimulationOfTheCodeThatShips) {
  PlanRun whole;
  whole.model = *read_model(model_path("infiniband-100g"));
  whole.model.host.server_cores = 2;
  whole.costs = *read_costs(model_path("costs"));
  whole.entries = *plan_entries(20'000);
  whole.windows = *plan_windows("0.00001");
  whole.clients = 64;
  whole.warm_up_operations = 300;
  whole.operations = 10'000;
  whole.duration = kMillisecond;
  // Nearly every one of these windows meets a leaf, and none holds an entry.
  const std::vector<GridSearch> searches = {{.search_class = 23, .inner = 1, .leaves = 0.96}};
  GridRun grid = simple_run();
  grid.model = whole.model;
  grid.costs = whole.costs;
  grid.searches = searches;
  grid.client = GridClient::kGroups;
  const double messages = run_plan(whole)->ops_per_second;
  EXPECT_NEAR(by_message(grid).ops_per_second / messages, 1, 0.12);
  whole.mode = Mode::kOffload;
  const double reads = run_plan(whole)->ops_per_second;
  EXPECT_NEAR(offloaded(grid).ops_per_second / reads, 1, 0.12);
}

}  // namespace
}  // namespace silurus::bench
