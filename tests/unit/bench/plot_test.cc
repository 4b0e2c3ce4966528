// SPDX-License-Identifier: Apache-2.0

#include "bench/plot.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "bench/recorded.h"

namespace silurus::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Recorded modes() {
  Recorded recorded{
      .bench = "modes", .command = "silurus-bench modes", .commit = "abc", .machine = "m"};
  for (const char* way : {"tcp", "messaging", "offload"}) {
    for (const int clients : {1, 16}) {
      recorded.rows.push_back(
          {.name = std::string("modes/0.01/search/") + way + "/clients=" + std::to_string(clients),
           .value = 1000.0 * clients,
           .unit = "ops/s"});
    }
  }
  return recorded;
}

Recorded ratios(int count) {
  Recorded recorded{.bench = "tree", .command = "c", .commit = "abc", .machine = "m"};
  for (int i = 0; i < count; ++i) {
    recorded.rows.push_back({.name = "tree/uniform/row" + std::to_string(i),
                             .value = 1,
                             .unit = "ops/s",
                             .baseline = "boost",
                             .ratio = 1000 + i});
  }
  return recorded;
}

std::string error_of(const std::string& text) {
  const auto parsed = parse_recorded(text, "x.json");
  return parsed ? "" : parsed.error().message;
}

TEST(Plot, DrawsEveryRatioAsABar) {
  const auto script = gnuplot_script(ratios(20), PictureFormat::kSvg, "o.svg");
  ASSERT_TRUE(script);
  for (int i = 0; i < 20; ++i) EXPECT_THAT(*script, HasSubstr(std::to_string(1000 + i) + "\n"));
}

TEST(Plot, DrawsALineForEachWay) {
  const auto script = gnuplot_script(modes(), PictureFormat::kPng, "o.png");
  ASSERT_TRUE(script);
  for (const char* way : {"'tcp'", "'messaging'", "'offload'"})
    EXPECT_THAT(*script, HasSubstr(way));
  EXPECT_THAT(*script, HasSubstr("1 1000 1000 1000\n16 16000 16000 16000\n"));
  EXPECT_THAT(*script, HasSubstr("commit abc, m"));
}

TEST(Plot, DrawsLatenciesOfAPlanAgainstClientsUpToThe99thPercentile) {
  Recorded plan = modes();
  plan.bench = "plan";
  for (int i = 0; i < 6; ++i) {
    const std::string name = plan.rows[i].name;
    plan.rows.push_back({.name = name + "/p50", .value = 2.0 + i, .unit = "us"});
    plan.rows.push_back({.name = name + "/p99", .value = 20.0 + i, .unit = "us"});
    plan.rows.push_back({.name = name + "/card", .value = 99, .unit = "%"});
  }
  const auto latency = gnuplot_script(plan, PictureFormat::kSvg, "o.svg", PictureKind::kLatency);
  ASSERT_TRUE(latency) << latency.error().message;
  EXPECT_THAT(*latency, HasSubstr("1 2 2 20\n16 3 3 21\n"));
  EXPECT_THAT(*latency, HasSubstr("99th percentile, us'"));
  EXPECT_THAT(*latency, Not(HasSubstr(" 99 ")));
  const auto throughput = gnuplot_script(plan, PictureFormat::kSvg, "o.svg");
  ASSERT_TRUE(throughput);
  EXPECT_THAT(*throughput, HasSubstr("1 1000 1000 1000\n16 16000 16000 16000\n"));
  plan.rows.resize(6);
  const auto none = gnuplot_script(plan, PictureFormat::kSvg, "o", PictureKind::kLatency);
  EXPECT_THAT(none.error().message, HasSubstr("no rows of latency against clients"));
}

TEST(Plot, DrawsAGridOfPlansAsSquaresThatSayWhoWinsAndByHowMuch) {
  Recorded plan{.bench = "plan", .command = "c", .commit = "abc", .machine = "m"};
  for (const char* request : {"polled", "woken"}) {
    for (const int cores : {1, 28}) {
      plan.rows.push_back({.name = std::string("plan/grid/small/search/") + request +
                                   "/cache/card=100/cores=" + std::to_string(cores),
                           .value = 1e6,
                           .unit = "ops/s",
                           .baseline = cores == 1 ? "offload" : "messaging",
                           .ratio = cores == 1 ? 1.74 : 0.5});
      plan.rows.push_back(
          {.name = plan.rows.back().name + "/offload", .value = 1, .unit = "ops/s"});
    }
  }
  const auto script = gnuplot_script(plan, PictureFormat::kSvg, "o.svg");
  ASSERT_TRUE(script.has_value()) << script.error().message;
  EXPECT_THAT(*script, HasSubstr("'small, search, polled'"));
  EXPECT_THAT(*script, HasSubstr("'small, search, woken'"));
  EXPECT_THAT(*script, HasSubstr("o1.7\n"));
  EXPECT_THAT(*script, HasSubstr("m0.5\n"));
  EXPECT_THAT(*script, HasSubstr("'cache, 100' 0"));
}

TEST(Plot, DrawsTheDistributionOfLatenciesOfEachSystem) {
  Recorded peers{.bench = "peers", .command = "c", .commit = "abc", .machine = "m"};
  for (const char* name : {"peers/small/clients=1/redis", "peers/small/clients=1/silurus"}) {
    peers.rows.push_back(
        {.name = name, .value = 1, .unit = "ops/s", .latency = {{1.5, 0.25}, {8, 1}}});
  }
  const auto script = gnuplot_script(peers, PictureFormat::kSvg, "o.svg", PictureKind::kLatency);
  ASSERT_TRUE(script) << script.error().message;
  EXPECT_THAT(*script, HasSubstr("set title 'small, clients=1'"));
  EXPECT_THAT(*script, HasSubstr("1.5 25\n8 100\n"));
  EXPECT_THAT(*script, HasSubstr("title 'redis'"));
  EXPECT_THAT(*script, HasSubstr("title 'silurus'"));
  const auto none = gnuplot_script(modes(), PictureFormat::kSvg, "o", PictureKind::kLatency);
  EXPECT_THAT(none.error().message, HasSubstr("no rows of 'modes' hold latencies"));
}

TEST(Plot, TakesNoPercentSignForAFormat) {
  Recorded load{.bench = "load", .command = "c", .commit = "abc", .machine = "m"};
  load.rows.push_back({.name = "load/periodic/1%/server-cpu",
                       .value = 1,
                       .unit = "% of a core",
                       .baseline = "proportional",
                       .ratio = 1.2});
  const auto script = gnuplot_script(load, PictureFormat::kSvg, "o.svg");
  ASSERT_TRUE(script);
  EXPECT_THAT(*script, HasSubstr("'1%% of full load'"));
  EXPECT_THAT(*script, HasSubstr("'times what is in proportion to the load (1 is best)'"));
}

TEST(Plot, TakesNoTextForACommand) {
  Recorded hostile = ratios(1);
  hostile.command = "a'\nsystem('x')\n`x`";
  const auto script = gnuplot_script(hostile, PictureFormat::kSvg, "o'o.svg");
  ASSERT_TRUE(script);
  EXPECT_THAT(*script, HasSubstr("'a'' system(''x'') `x`'"));
  EXPECT_THAT(*script, HasSubstr("'o''o.svg'"));
  EXPECT_THAT(*script, Not(HasSubstr("\nsystem")));
}

TEST(Plot, SaysThatThereIsNothingToDraw) {
  Recorded none = ratios(1);
  none.rows[0].ratio.reset();
  EXPECT_THAT(gnuplot_script(none, PictureFormat::kSvg, "o").error().message, HasSubstr("no rows"));
  Recorded zero = ratios(1);
  zero.rows[0].ratio = 0;
  EXPECT_THAT(gnuplot_script(zero, PictureFormat::kSvg, "o").error().message, HasSubstr("row0"));
  Recorded lines = modes();
  for (Row& row : lines.rows) row.unit = "us";
  EXPECT_THAT(gnuplot_script(lines, PictureFormat::kSvg, "o").error().message,
              HasSubstr("no rows"));
}

TEST(Recorded, ReadsBackWhatAReportWrote) {
  const std::string path = testing::TempDir() + "silurus-recorded-" + std::to_string(getpid());
  Report report("silurus-bench x --json y");
  report.record({.name = "x/a",
                 .value = 2,
                 .unit = "ops/s",
                 .baseline = "b",
                 .ratio = 3,
                 .spread = {2, 1},
                 .bar = 4,
                 .server_cpu = 0.5,
                 .client_cpu = 0.25,
                 .latency = {{1.5, 0.25}, {2, 1}}});
  ASSERT_TRUE(report.write_json(path));
  const auto read = read_recorded(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->bench, "x");
  EXPECT_EQ(read->command, "silurus-bench x --json y");
  ASSERT_EQ(read->rows.size(), 1u);
  EXPECT_EQ(read->rows[0].ratio, 3);
  EXPECT_EQ(read->rows[0].bar, 4);
  EXPECT_THAT(read->rows[0].spread, testing::ElementsAre(1, 2));
  EXPECT_EQ(read->rows[0].server_cpu, 0.5);
  EXPECT_EQ(read->rows[0].client_cpu, 0.25);
  ASSERT_EQ(read->rows[0].latency.size(), 2u);
  EXPECT_EQ(read->rows[0].latency[0].us, 1.5);
  EXPECT_EQ(read->rows[0].latency[0].share, 0.25);
}

TEST(Report, TurnsAHistogramIntoFewStepsOfADistribution) {
  Histogram histogram;
  for (std::uint64_t us = 1; us <= 1000; ++us) histogram.add(us * 1000);
  const auto steps = steps_of(histogram);
  EXPECT_LT(steps.size(), 16u * 10 + 2);  // ten powers of two
  EXPECT_EQ(steps.back().share, 1);
  for (const LatencyStep& step : steps) EXPECT_NEAR(step.share, step.us / 1000, 0.01) << step.us;
  EXPECT_TRUE(steps_of(Histogram()).empty());
}

TEST(Recorded, SaysWhatIsWrongWithAFile) {
  const std::string head = R"({"silurus_bench": 1, "command": "c", "commit": "d", "rows": )";
  EXPECT_THAT(error_of("{"), HasSubstr("x.json: this is not JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("not of silurus-bench"));
  EXPECT_THAT(error_of(R"({"rows": []})"), HasSubstr("not of silurus-bench"));
  EXPECT_THAT(error_of(R"({"silurus_bench": 2})"), HasSubstr("version 2"));
  EXPECT_THAT(error_of(R"({"silurus_bench": 1})"), HasSubstr("list of rows"));
  EXPECT_THAT(error_of(head + "[]}"), HasSubstr("no rows"));
  EXPECT_THAT(error_of(head + "[1]}"), HasSubstr("row 1 is no object"));
  EXPECT_THAT(error_of(head + R"([{"name": "a/b"}]})"), HasSubstr("row 1 (a/b): its value"));
  EXPECT_THAT(error_of(head + R"([{"name": "a/b", "value": 1, "ratio": "2"}]})"),
              HasSubstr("its ratio"));
  for (const char* latency : {"1", "[1]", "[[1]]", "[[2, 0.5], [1, 1]]", "[[1, 1.5]]"}) {
    EXPECT_THAT(error_of(head + R"([{"name": "a/b", "value": 1, "latency": )" + latency + "}]}"),
                HasSubstr("its latency"));
  }
  EXPECT_THAT(error_of(head + R"([{"name": "a/b", "value": 1, "server_cpu": "x"}]})"),
              HasSubstr("its server_cpu"));
  EXPECT_THAT(error_of(head + R"([{"name": "a", "value": 1}, {"name": "b", "value": 1}]})"),
              HasSubstr("rows of 'a' and of 'b'"));
  EXPECT_THAT(read_recorded("/nowhere.json").error().message, HasSubstr("cannot open /nowhere"));
}

}  // namespace
}  // namespace silurus::bench
