// SPDX-License-Identifier: Apache-2.0

#include "bench/plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bench/plan_runs.h"
#include "bench/plan_xstore.h"
#include "rtree/node.h"
#include "rtree/root_block.h"

namespace silurus::bench {
namespace {

/// Round numbers, so that what comes out can be told beforehand.
PlanCosts round_costs() {
  PlanCosts costs;
  costs.machine = "none";
  costs.server.request_ns = 500;
  costs.search.search_ns = costs.interleaved.search_ns = 500;
  costs.client.request_ns = 100;
  costs.offload.search_ns = 100;
  costs.writer.operation_ns = 2000;
  return costs;
}

PlanRun small_run() {
  PlanRun run;
  run.model = *read_model(model_path("infiniband-100g"));
  run.model.cpu = {};
  run.model.host.server_cores = 2;
  run.costs = round_costs();
  static const auto entries = *plan_entries(20'000);
  run.entries = entries;
  run.windows = *plan_windows("0.00001");
  run.machines = 4;
  run.operations = 4'000;
  run.duration = kMillisecond;
  run.warm_up = kMillisecond / 2;
  return run;
}

/// That many clients that offload everything, their caches filled.
PlanRun offloading_run(unsigned clients) {
  PlanRun run = small_run();
  run.clients = clients;
  run.mode = Mode::kOffload;
  run.warm_up_operations = 300;
  return run;
}

PlanFigures figures_of(const PlanRun& run) {
  const auto figures = run_plan(run);
  EXPECT_TRUE(figures.has_value()) << figures.error().message;
  return figures.value_or(PlanFigures{});
}

TEST(Plan, AServersCoresLimitWhatItDoesByMessage) {
  PlanRun run = small_run();
  run.clients = 16;
  const PlanFigures figures = figures_of(run);
  // 1 us of a core each, two cores.
  EXPECT_NEAR(figures.ops_per_second, 2e6, 0.04e6);
  EXPECT_NEAR(figures.server_cpu, 1, 0.02);
  EXPECT_EQ(figures.offload_share, 0);
}

TEST(Plan, AloneASearchTakesTheSumOfItsParts) {
  PlanRun run = small_run();
  run.clients = 1;
  const PlanFigures figures = figures_of(run);
  // Two ways of 0.7 us and up to 0.05 more, 1 us at the server, 0.1 at the client.
  EXPECT_GT(figures.p50_us, 2.45);
  EXPECT_LT(figures.p50_us, 2.75);
}

TEST(Plan, OffloadedSearchesLeaveTheServersCoresAloneAndFillItsCard) {
  PlanRun run = offloading_run(64);
  run.model.network.bytes_per_second /= 4;  // or the card's rate of reads would be the limit
  const PlanFigures figures = figures_of(run);
  EXPECT_LT(figures.server_cpu, 0.01);
  EXPECT_EQ(figures.offload_share, 1);
  EXPECT_GT(figures.network_out, 0.97);
  EXPECT_LT(figures.network_out, 1.01);
  // The root word and, of most, a group or two of a leaf.
  EXPECT_GT(figures.bytes_out, 60 + rtree::kRootWordBytes);
  EXPECT_LT(figures.bytes_out, 0.3 * static_cast<double>(rtree::node_bytes<2>(0)));
}

TEST(Plan, ACardsRateOfReadsLimitsThem) {
  PlanRun run = offloading_run(16);
  run.model.card.reads_per_second = 1e6;
  const PlanFigures figures = figures_of(run);
  EXPECT_NEAR(figures.ops_per_second * figures.reads, 1e6, 0.02e6);
  EXPECT_NEAR(figures.card, 1, 0.02);
}

TEST(Plan, OneWriterDoesNoMoreThanOneWriterCan) {
  PlanRun run = small_run();
  run.clients = 16;
  run.insert_share = 1;
  const PlanFigures figures = figures_of(run);
  EXPECT_GT(figures.ops_per_second, 0.35e6);
  EXPECT_LT(figures.ops_per_second, 0.51e6);
}

TEST(Plan, TheSameRunGivesTheSameFigures) {
  PlanRun run = small_run();
  run.clients = 8;
  run.mode = Mode::kAdaptive;
  run.insert_share = 0.1;
  const PlanFigures one = figures_of(run), other = figures_of(run);
  EXPECT_EQ(one.ops_per_second, other.ops_per_second);
  EXPECT_EQ(one.events, other.events);
  run.seed = 2;
  EXPECT_NE(figures_of(run).events, one.events);
}

TEST(Plan, RunsSideBySideGiveTheFiguresThatTheyGiveAloneAndInOrder) {
  std::vector<PlanRun> runs(5, small_run());
  for (unsigned i = 0; i < runs.size(); ++i) runs[i].clients = 1 + 4 * i;
  std::size_t next = 0;
  const auto done = run_plans(runs, [&](std::size_t index, const PlanFigures& figures) {
    EXPECT_EQ(index, next++);
    EXPECT_EQ(figures.events, figures_of(runs[index]).events);
  });
  EXPECT_TRUE(done.has_value());
  EXPECT_EQ(next, runs.size());
}

TEST(Plan, TheFirstOfSeveralRunsThatFailsEndsThem) {
  std::vector<PlanRun> runs(4, small_run());
  runs[1].model = *read_model(model_path("tcp-40g"));
  runs[1].mode = Mode::kOffload;
  std::size_t count = 0;
  const auto done = run_plans(runs, [&](std::size_t, const PlanFigures&) { ++count; });
  EXPECT_FALSE(done.has_value());
  EXPECT_EQ(count, 1u);
}

TEST(Plan, ThreeReplicasServeSearchesAlmostThreeTimesAsFast) {
  PlanRun run = small_run();
  run.costs = *read_costs(model_path("costs"));
  run.clients = 96;
  const double one = figures_of(run).ops_per_second;
  run.servers = 3;
  EXPECT_GT(figures_of(run).ops_per_second, 2.7 * one);
}

TEST(Plan, OverTcpAServerThatReadsCannotBeOffloadedTo) {
  PlanRun run = small_run();
  run.model = *read_model(model_path("tcp-40g"));
  run.clients = 4;
  run.mode = Mode::kOffload;
  EXPECT_FALSE(run_plan(run).has_value());
}

TEST(Plan, EdgesOfWindowsAreChecked) {
  for (const char* bad : {"", "0", "2", "x", "0.1x", "nan"}) EXPECT_FALSE(plan_windows(bad)) << bad;
  EXPECT_TRUE(plan_windows("power-law"));
}

/// Millions a second, of each figure that XStore published: the table of docs/scaling.md.
TEST(Plan, XStoresFiguresArePredictedAsDocumented) {
  constexpr double kDocumented[] = {21.4, 7.4, 15.6, 21.5, 35.1, 75.0};
  const auto figures =
      run_xstore(*read_model(model_path("xstore")), *read_costs(model_path("costs")));
  ASSERT_TRUE(figures.has_value()) << figures.error().message;
  ASSERT_EQ(figures->size(), std::size(kDocumented));
  for (std::size_t i = 0; i < figures->size(); ++i) {
    EXPECT_NEAR((*figures)[i].predicted / 1e6, kDocumented[i], 0.06) << (*figures)[i].name;
    EXPECT_LT(std::abs((*figures)[i].error()), 0.15) << (*figures)[i].name;
  }
}

}  // namespace
}  // namespace silurus::bench
