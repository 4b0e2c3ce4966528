#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/tool/arguments.h"
#include "client/tool/output.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::tool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
T parsed(const std::vector<std::string>& arguments) {
  auto invocation = parse_arguments(arguments);
  EXPECT_TRUE(invocation) << invocation.error().message;
  EXPECT_TRUE(invocation && std::holds_alternative<T>(invocation->command));
  return invocation ? std::get<T>(invocation->command) : T{};
}

Settings settings(const std::vector<std::string>& arguments) {
  auto invocation = parse_arguments(arguments);
  EXPECT_TRUE(invocation) << invocation.error().message;
  return invocation->settings;
}

std::string refusal(const std::vector<std::string>& arguments) {
  auto invocation = parse_arguments(arguments);
  EXPECT_FALSE(invocation);
  if (invocation) return "";
  EXPECT_EQ(invocation.error().code, ErrorCode::kInvalidArgument);
  return invocation.error().message;
}

TEST(ToolArguments, NegativeNumbersAreNumbersNotOptions) {
  EXPECT_THAT(parsed<RangeCommand>({"range", "-25", "63", "-13", "67"}).window,
              ElementsAre(-25, 63, -13, 67));
  EXPECT_THAT(parsed<NearestCommand>({"nearest", "-.5", "-1e-3", "-k", "3"}).point,
              ElementsAre(-0.5, -0.001));
}

TEST(ToolArguments, OptionsMayStandBeforeAndAfterTheCommand) {
  const std::vector<std::vector<std::string>> lines = {
      {"--count", "--limit", "5", "range", "0", "0", "1", "1"},
      {"range", "0", "0", "1", "1", "--count", "--limit=5"},
      {"--limit", "5", "range", "0", "--count", "0", "1", "1"}};
  for (const auto& line : lines) {
    const auto range = parsed<RangeCommand>(line);
    EXPECT_TRUE(range.count_only);
    EXPECT_EQ(range.limit, 5u);
    EXPECT_THAT(range.window, ElementsAre(0, 0, 1, 1));
  }
}

TEST(ToolArguments, SettingsAreRead) {
  const auto given =
      settings({"--server", "tcp://h:1", "-m", "offload", "--policy", "catfish", "-f", "json",
                "--timeout", "500ms", "--read", "any", "--max-staleness", "100ms", "stats"});
  EXPECT_EQ(given.url, "tcp://h:1");
  EXPECT_EQ(given.client.mode, client::Mode::kOffload);
  EXPECT_EQ(given.client.policy, client::PolicyKind::kCatfish);
  EXPECT_EQ(given.format, Format::kJson);
  EXPECT_EQ(given.client.deadline, 500 * kMillisecond);
  EXPECT_EQ(given.client.read.from, client::ReadFrom::kAny);
  EXPECT_EQ(given.client.read.max_staleness, 100 * kMillisecond);
}

TEST(ToolArguments, TheDefaultIsAdaptiveText) {
  const auto given = settings({"stats"});
  EXPECT_EQ(given.client.mode, client::Mode::kAdaptive);
  EXPECT_EQ(given.format, Format::kText);
  EXPECT_FALSE(given.url.empty());
}

TEST(ToolArguments, WritesNameAnIdAndABox) {
  const auto insert = parsed<InsertCommand>({"insert", "7", "-1", "-2", "3", "4"});
  EXPECT_EQ(insert.id, 7u);
  EXPECT_THAT(insert.box, ElementsAre(-1, -2, 3, 4));
  EXPECT_EQ(parsed<EraseCommand>({"erase", "18446744073709551615", "0", "0", "1", "1"}).id,
            UINT64_MAX);
}

TEST(ToolArguments, AnUpdateMovesFromOneBoxToAnother) {
  const std::vector<std::vector<std::string>> lines = {
      {"update", "7", "0", "0", "1", "1", "to", "-5", "5", "6", "6"},
      {"update", "7", "0", "0", "1", "1", "-5", "5", "6", "6"}};
  for (const auto& line : lines) {
    const auto update = parsed<UpdateCommand>(line);
    EXPECT_THAT(update.from, ElementsAre(0, 0, 1, 1));
    EXPECT_THAT(update.to, ElementsAre(-5, 5, 6, 6));
  }
}

TEST(ToolArguments, ThreeDimensionsTakeThreeCoordinates) {
  EXPECT_EQ(parsed<RangeCommand>({"range", "0", "0", "0", "1", "1", "1"}).window.size(), 6u);
  EXPECT_EQ(parsed<NearestCommand>({"nearest", "0", "0", "0"}).point.size(), 3u);
}

TEST(ToolArguments, LoadTakesASourceAndItsOptions) {
  const auto load = parsed<LoadCommand>({"load", "roads:100", "--fill", "0.7", "--skip-bad"});
  EXPECT_EQ(load.source, "roads:100");
  EXPECT_EQ(load.fill, 0.7);
  EXPECT_TRUE(load.skip_bad);
  EXPECT_EQ(parsed<LoadCommand>({"load", "-"}).source, "-");
}

TEST(ToolArguments, ADiffEndsNowUnlessToldOtherwise) {
  EXPECT_EQ(parsed<DiffCommand>({"diff", "--from", "3", "--to", "7"}).to, 7u);
  const auto until_now = parsed<DiffCommand>({"diff", "--from", "3"});
  EXPECT_EQ(until_now.from, 3u);
  EXPECT_EQ(until_now.to, protocol::kNewest);
  EXPECT_THAT(refusal({"diff", "--to", "7"}), HasSubstr("--from"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--as-of", "yesterday"}),
              HasSubstr("'yesterday' is no moment"));
}

TEST(ToolArguments, HelpAndVersionPrintAndStop) {
  EXPECT_THAT(parsed<PrintCommand>({"--help"}).text, HasSubstr("nearest"));
  EXPECT_THAT(parsed<PrintCommand>({"range", "--help"}).text, HasSubstr("--predicate"));
  EXPECT_THAT(parsed<PrintCommand>({"help", "load"}).text, HasSubstr("--skip-bad"));
  EXPECT_THAT(parsed<PrintCommand>({"--version"}).text, HasSubstr("silurus "));
}

TEST(ToolArguments, EachMistakeIsNamed) {
  EXPECT_THAT(refusal({}), HasSubstr("no command"));
  EXPECT_THAT(refusal({"frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal({"stats", "--frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal({"range", "1", "2", "3"}), HasSubstr("there are 3"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "x"}), HasSubstr("'x' is not a number"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "nan"}), HasSubstr("finite"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "-inf"}), HasSubstr("finite"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--limit", "-5"}), HasSubstr("'-5'"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--fill", "1"}), HasSubstr("--fill"));
  EXPECT_THAT(refusal({"nearest", "0", "0", "-k", "0"}), HasSubstr("-k: '0'"));
  EXPECT_THAT(refusal({"insert", "-3", "0", "0", "1", "1"}), HasSubstr("'-3'"));
  EXPECT_THAT(refusal({"insert"}), HasSubstr("no ID"));
  EXPECT_THAT(refusal({"load"}), HasSubstr("one data set"));
  EXPECT_THAT(refusal({"load", "x", "--fill", "1.5"}), HasSubstr("--fill"));
  EXPECT_THAT(refusal({"stats", "--mode", "psychic"}), HasSubstr("messaging, offload, adaptive"));
  EXPECT_THAT(refusal({"stats", "--timeout", "soon"}), HasSubstr("--timeout"));
  EXPECT_THAT(refusal({"stats", "--read", "some"}), HasSubstr("primary, any"));
  EXPECT_THAT(refusal({"stats", "--max-staleness", "old"}), HasSubstr("--max-staleness"));
}

client::RangeAnswer<2> some_range() {
  client::RangeAnswer<2> found;
  found.count = 3;
  found.ids = {5, 18446744073709551615u, 7};
  found.version = 9;
  found.access = client::Access::kOffload;
  return found;
}

client::NearestAnswer some_neighbors() {
  client::NearestAnswer found;
  found.neighbors = {{3, 0.1}, {4, 1.0 / 3}};
  found.version = 9;
  return found;
}

TEST(ToolOutput, ARangeAsJsonHasCountIdsModeAndVersion) {
  const auto json = nlohmann::json::parse(format_range<2>(some_range(), false, Format::kJson));
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(json["ids"], (std::vector<std::uint64_t>{5, 18446744073709551615u, 7}));
  EXPECT_EQ(json["mode"], "offload");
  EXPECT_EQ(json["version"], 9);
}

TEST(ToolOutput, ACountLeavesTheIdsOut) {
  const auto json = nlohmann::json::parse(format_range<2>(some_range(), true, Format::kJson));
  EXPECT_FALSE(json.contains("ids"));
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(format_range<2>(some_range(), true, Format::kText), "3\n");
  EXPECT_EQ(format_range<2>(some_range(), true, Format::kCsv), "count\n3\n");
}

TEST(ToolOutput, TextAndCsvListOneALine) {
  EXPECT_EQ(format_range<2>(some_range(), false, Format::kText), "5\n18446744073709551615\n7\n");
  EXPECT_EQ(format_range<2>(some_range(), false, Format::kCsv), "id\n5\n18446744073709551615\n7\n");
}

TEST(ToolOutput, DistancesReadBackExactly) {
  const auto json = nlohmann::json::parse(format_nearest(some_neighbors(), false, Format::kJson));
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["neighbors"][1]["id"], 4);
  EXPECT_EQ(json["neighbors"][1]["distance"].get<double>(), 1.0 / 3);
  EXPECT_EQ(json["mode"], "messaging");
  EXPECT_THAT(format_nearest(some_neighbors(), false, Format::kCsv), HasSubstr("3,0.1\n"));
}

TEST(ToolOutput, AnEmptyAnswerIsStillJson) {
  EXPECT_EQ(nlohmann::json::parse(format_range<2>({}, false, Format::kJson))["ids"].size(), 0u);
  EXPECT_EQ(nlohmann::json::parse(format_nearest({}, false, Format::kJson))["count"], 0);
}

TEST(ToolOutput, WritesAndLoadsAreJsonToo) {
  EXPECT_EQ(nlohmann::json::parse(format_write("inserted", 7, 12, Format::kJson))["version"], 12);
  const LoadReport report{.loaded = 10'781'311, .skipped = 2, .seconds = 4.5, .bulk = true};
  EXPECT_EQ(nlohmann::json::parse(format_load(report, Format::kJson))["count"], 10'781'311);
  EXPECT_THAT(format_load(report, Format::kText), HasSubstr("10,781,311 boxes in 4.5 s"));
}

TEST(ToolOutput, HistoriesAndDiffsBecomeLines) {
  const std::string history =
      R"({"versions":[{"version":2,"time":"2026-11-21T05:41:41.348907Z","entries":30}]})";
  EXPECT_EQ(format_history(history, Format::kCsv),
            "version,time,entries\n2,2026-11-21T05:41:41.348907Z,30\n");
  EXPECT_EQ(format_diff(R"({"inserted":[7],"erased":[],"moved":[8]})", Format::kText),
            "inserted 7\nmoved 8\n");
}

TEST(ToolOutput, StatsBecomeLines) {
  const std::string json = R"({"a": {"b": 1, "c": ["x", true]}, "d": 2.5})";
  EXPECT_EQ(format_stats(json, Format::kText), "a.b: 1\na.c.0: x\na.c.1: true\nd: 2.5\n");
  EXPECT_EQ(format_stats(json, Format::kJson), json + "\n");
}

TEST(ToolOutput, WhateverAServerSaysBecomesSomeText) {
  EXPECT_EQ(format_history(R"({"versions": [7, {"version": "x", "time": 5}]})", Format::kCsv),
            "version,time,entries\n0,,0\n0,,0\n");
  EXPECT_EQ(format_history(R"({"versions": 7})", Format::kCsv), "{\"versions\": 7}\n");
  EXPECT_EQ(format_diff(R"({"inserted": "all", "erased": {"a": 1}, "moved": [[]]})", Format::kText),
            "moved []\n");
  Random random(testing_support::fresh_seed());
  const std::string said =
      R"({"versions": [{"version": 2, "time": "now", "entries": 30}], "inserted": [7]})";
  for (int i = 0; i < 2'000; ++i) {
    const std::string text = testing_support::damaged(random, said, "[]{}\",:0-\xff");
    EXPECT_NO_THROW({
      format_history(text, Format::kText);
      format_diff(text, Format::kText);
      format_stats(text, Format::kText);
    }) << text;
  }
}

TEST(ToolOutput, TheProgressBarFillsUp) {
  EXPECT_THAT(format_progress(0, 0, 0), HasSubstr("[                              ]   0 %"));
  EXPECT_THAT(format_progress(0.5, 1'000, 1), HasSubstr("[###############               ]  50 %"));
  EXPECT_THAT(format_progress(2, 1'000, 2), HasSubstr("100 %  1,000 boxes  500/s"));
  EXPECT_EQ(format_progress(-1, 1'000, 2), "1,000 boxes  500/s");
}

}  // namespace
}  // namespace silurus::tool
