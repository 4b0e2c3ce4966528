// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "client/tool/arguments.h"
#include "client/tool/help.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "common/flags.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::tool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

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
  EXPECT_EQ(given.client.mode, Mode::kOffload);
  EXPECT_EQ(given.client.policy, PolicyKind::kCatfish);
  EXPECT_EQ(settings({"--policy", "catfish-doubling", "stats"}).client.policy,
            PolicyKind::kCatfishDoubling);
  EXPECT_EQ(given.format, Format::kJson);
  EXPECT_FALSE(given.ids_as_strings);
  EXPECT_EQ(given.client.read.from, ReadFrom::kAny);
  EXPECT_EQ(given.client.read.max_staleness, 100 * kMillisecond);
}

TEST(ToolArguments, TheDefaultIsAdaptiveText) {
  const auto given = settings({"stats"});
  EXPECT_EQ(given.client.mode, Mode::kAdaptive);
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
  EXPECT_EQ(parsed<LoadCommand>({"load", "a.csv", "--columns", "id,y,x"}).columns, "id,y,x");
  const auto on = parsed<LoadCommand>({"load", "a.csv", "--skip", "100", "--check", "all"});
  EXPECT_EQ(on.skip, 100u);
  EXPECT_EQ(on.check, UINT64_MAX);
  EXPECT_EQ(parsed<LoadCommand>({"load", "-"}).source, "-");
  const auto of_features = parsed<LoadCommand>({"load", "a.gpkg", "--layer", "roads", "--where",
                                                "lanes > 2", "--id", "gid", "--as", "segments",
                                                "--limit", "9", "--dry-run", "--dimensions", "3"});
  EXPECT_EQ(of_features.layer, "roads");
  EXPECT_EQ(of_features.where, "lanes > 2");
  EXPECT_EQ(of_features.id, "gid");
  EXPECT_EQ(of_features.as, datasets::As::kSegments);
  EXPECT_EQ(of_features.limit, 9u);
  EXPECT_TRUE(of_features.dry_run);
  EXPECT_EQ(of_features.dimensions, 3);
}

TEST(ToolArguments, OptionsOfALoadThatMeanNothingAreRefused) {
  EXPECT_THAT(refusal({"load", "a.csv", "--dimensions", "3"}),
              HasSubstr("--dimensions: it means nothing without --dry-run"));
  EXPECT_THAT(refusal({"load", "a.csv", "--dry-run", "--skip", "100"}),
              HasSubstr("--skip: it means nothing with --dry-run"));
  EXPECT_THAT(refusal({"load", "a.csv", "--dry-run", "--check", "all"}),
              HasSubstr("--check: it means nothing with --dry-run"));
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
  EXPECT_THAT(parsed<PrintCommand>({"help"}).text, HasSubstr("silurus help options"));
  for (const char* version : {"--version", "-V"}) {
    EXPECT_THAT(parsed<PrintCommand>({version}).text, StartsWith("silurus ")) << version;
    EXPECT_THAT(parsed<PrintCommand>({"stats", version}).text, StartsWith("silurus ")) << version;
  }
}

TEST(ToolArguments, EachCommandHasAHelpOfItsOwnWithTwoExamples) {
  ASSERT_GT(commands().size(), 8u);
  for (const CommandTable& command : commands()) {
    const std::string name(command.name);
    const std::string text = parsed<PrintCommand>({"help", name}).text;
    EXPECT_EQ(parsed<PrintCommand>({name, "--help"}).text, text);
    EXPECT_EQ(parsed<PrintCommand>({"-h", name}).text, text);
    EXPECT_THAT(text, HasSubstr("Usage: silurus " + name));
    EXPECT_THAT(text, HasSubstr("silurus help options"));
    for (const flags::Option& option : command.options) {
      EXPECT_THAT(text, HasSubstr(flags::spelled(option.name)));
    }
    EXPECT_THAT(text, Not(HasSubstr("--max-staleness"))) << "an option of all commands";
    ASSERT_EQ(command.examples.size(), 2u) << name;
    for (const std::string_view example : command.examples) {
      EXPECT_THAT(text, HasSubstr("  " + std::string(example) + "\n"));
    }
    EXPECT_THAT(parsed<PrintCommand>({"help"}).text, HasSubstr("  " + name));
  }
}

TEST(ToolArguments, TheExamplesOfTheHelpAreRight) {
  for (const CommandTable& command : commands()) {
    for (const std::string_view example : command.examples) {
      std::istringstream text{std::string(example)};
      std::vector<std::string> words{std::istream_iterator<std::string>(text), {}};
      ASSERT_EQ(words.front(), "silurus") << example;
      words.front() = command.name == "cluster" ? "--server=etcd://h:1/maps" : "--server=tcp://h:1";
      if (std::ranges::count(words, "--server") != 0) words.erase(words.begin());
      const auto invocation = parse_arguments(words);
      EXPECT_TRUE(invocation) << example << ": " << invocation.error().message;
    }
  }
}

TEST(ToolArguments, TheOptionsOfAllCommandsAreToldOnce) {
  const std::string text = parsed<PrintCommand>({"help", "options"}).text;
  for (const char* option : {"--server", "--mode", "--policy", "--read", "--max-staleness",
                             "--format", "--timeout", "--version"}) {
    EXPECT_THAT(text, HasSubstr(option));
  }
  EXPECT_THAT(text, HasSubstr("(default: 10s)"));
}

TEST(ToolArguments, OneTimeoutBoundsEveryWait) {
  for (const auto& [given, expected] :
       {std::pair(settings({"stats"}), 10 * kSecond),
        std::pair(settings({"stats", "--timeout", "250ms"}), 250 * kMillisecond)}) {
    EXPECT_EQ(given.client.deadline, expected);
    EXPECT_EQ(given.client.patience, expected);
    EXPECT_EQ(given.client.connect_timeout, expected);
    EXPECT_EQ(given.client.reconnect_for, expected);
  }
  EXPECT_THAT(refusal({"stats", "--timeout", "0"}), HasSubstr("--timeout: it must be at least"));
}

TEST(ToolArguments, EachMistakeIsNamed) {
  EXPECT_THAT(refusal({}), HasSubstr("no command"));
  EXPECT_THAT(refusal({"frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal({"help", "frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal({"stats", "--frobnicate"}), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal({"range", "1", "2", "3"}), HasSubstr("there are 3"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "x"}), HasSubstr("'x' is not a number"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "nan"}), HasSubstr("finite"));
  EXPECT_THAT(refusal({"range", "1", "2", "3", "-inf"}), HasSubstr("finite"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--limit", "-5"}), HasSubstr("'-5'"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--fill", "1"}), HasSubstr("--fill"));
  EXPECT_THAT(refusal({"nearest", "0", "0", "-k", "0"}), HasSubstr("-k: '0'"));
  EXPECT_THAT(refusal({"nearest", "0", "0", "-k", "65537"}), HasSubstr("from 1 to 65536"));
  EXPECT_THAT(refusal({"insert", "-3", "0", "0", "1", "1"}), HasSubstr("'-3'"));
  EXPECT_THAT(refusal({"insert"}), HasSubstr("no ID"));
  EXPECT_THAT(refusal({"load"}), HasSubstr("one data set"));
  EXPECT_THAT(refusal({"load", "x", "--fill", "1.5"}), HasSubstr("--fill"));
  EXPECT_THAT(refusal({"load", "x", "--as", "circles"}), HasSubstr("boxes, points, segments"));
  EXPECT_THAT(refusal({"load", "x", "--layer", ""}), HasSubstr("--layer"));
  EXPECT_THAT(refusal({"load", "x", "--dimensions", "4"}), HasSubstr("--dimensions"));
  EXPECT_THAT(refusal({"stats", "now"}), HasSubstr("takes no arguments"));
  EXPECT_THAT(refusal({"stats", "--mode", "psychic"}), HasSubstr("messaging, offload, adaptive"));
  EXPECT_THAT(refusal({"stats", "--timeout", "soon"}), HasSubstr("--timeout"));
  EXPECT_THAT(refusal({"stats", "--read", "some"}), HasSubstr("primary, any"));
  EXPECT_THAT(refusal({"stats", "--max-staleness", "old"}), HasSubstr("--max-staleness"));
}

TEST(ToolArguments, WhatIsMistypedIsSuggestedAright) {
  EXPECT_THAT(refusal({"ragne", "0", "0", "1", "1"}), HasSubstr("did you mean range?"));
  EXPECT_THAT(refusal({"range", "0", "0", "1", "1", "--cuont"}),
              HasSubstr("did you mean --count?"));
  EXPECT_THAT(refusal({"--tiemout", "1s", "stats"}), HasSubstr("did you mean --timeout?"));
  EXPECT_THAT(refusal({"cluster", "spilt", "0", "--server", "etcd://h:1/maps"}),
              HasSubstr("did you mean split?"));
}

TEST(ToolArguments, ABoxAcrossTheAntimeridianIsLeftToTheCollection) {
  EXPECT_THAT(parsed<RangeCommand>({"range", "170", "-5", "-170", "5"}).window,
              ElementsAre(170, -5, -170, 5));
}

TEST(ToolArguments, ARadiusIsASearchForNeighboursWithABound) {
  const auto radius = parsed<NearestCommand>({"radius", "-30", "45", "2.5"});
  EXPECT_THAT(radius.point, ElementsAre(-30, 45));
  EXPECT_EQ(radius.max_distance, 2.5);
  EXPECT_EQ(radius.k, 65536u);
  EXPECT_THAT(refusal({"radius", "-30", "45"}), HasSubstr("a distance"));
  EXPECT_THAT(refusal({"radius", "-30", "45", "-1"}), HasSubstr("'-1' is not a distance"));
}

TEST(ToolArguments, AnInvertedBoxIsRefusedInTheWordsOfTheUser) {
  EXPECT_THAT(refusal({"range", "181", "0", "-0.0000001", "1"}),
              HasSubstr("XMIN is 181, above XMAX, which is -1e-07\nusage: silurus range"));
  EXPECT_THAT(refusal({"range", "0", "1e300", "1", "-1e300"}),
              HasSubstr("YMIN is 1e+300, above YMAX, which is -1e+300"));
  EXPECT_THAT(refusal({"range", "0", "0", "5", "1", "1", "4"}), HasSubstr("ZMIN is 5"));
  EXPECT_THAT(refusal({"insert", "1", "181", "0", "0", "1"}), HasSubstr("XMIN is 181"));
  EXPECT_THAT(refusal({"update", "1", "0", "0", "1", "1", "to", "0", "3", "1", "2"}),
              HasSubstr("YMIN is 3"));
  EXPECT_THAT(
      refusal({"cluster", "init", "0", "0", "-1", "1", "tcp://h:1", "--server", "etcd://h:1/maps"}),
      HasSubstr("no extent from 0 to -1"));
}

TEST(ToolArguments, AnUnknownSchemeIsAnsweredWithTheKnownOnes) {
  for (const char* url : {"http://h:1", "tcp://h:1,udp://h:1", "tpc://h:1"}) {
    const std::string why = refusal({"stats", "--server", url});
    EXPECT_THAT(why, HasSubstr("--server: "));
    for (const char* scheme : {"shm://", "tcp://", "rdma://", "etcd://"}) {
      EXPECT_THAT(why, HasSubstr(scheme));
    }
  }
  EXPECT_THAT(refusal({"stats", "--server", "somewhere"}), HasSubstr("scheme"));
  EXPECT_THAT(
      refusal({"cluster", "init", "0", "0", "1", "1", "http://h:1", "--server", "etcd://h:1/maps"}),
      HasSubstr("tcp://"));
}

TEST(ToolArguments, AClusterNeedsAnEtcd) {
  EXPECT_THAT(refusal({"cluster", "status", "--server", "tcp://h:1"}),
              HasSubstr("--server etcd://host:port/name"));
  EXPECT_EQ(settings({"cluster", "status", "--server", "etcd://h:1/maps"}).url, "etcd://h:1/maps");
}

TEST(ToolArguments, OptionsOfOtherCommandsAreUnknown) {
  for (const CommandTable& command : commands()) {
    for (const CommandTable& other : commands()) {
      for (const flags::Option& option : other.options) {
        const auto has = [&](const auto& options) {
          return std::ranges::count(options, option.name, &flags::Option::name) != 0;
        };
        if (has(command.options) || has(general_options())) continue;
        const std::string spelled = flags::spelled(option.name);
        EXPECT_THAT(refusal({std::string(command.name), spelled}),
                    HasSubstr("unknown option " + spelled));
      }
    }
  }
}

RangeAnswer<2> some_range() {
  RangeAnswer<2> found;
  found.count = 3;
  found.ids = {5, 18446744073709551615u, 7};
  found.version = 9;
  found.access = Access::kOffload;
  return found;
}

NearestAnswer some_neighbors() {
  NearestAnswer found;
  found.neighbors = {{3, 0.1}, {4, 1.0 / 3}};
  found.version = 9;
  return found;
}

TEST(ToolOutput, ARangeAsJsonHasCountIdsModeAndVersion) {
  const auto json =
      nlohmann::json::parse(format_range<2>(some_range(), ResultShape::kIds, Format::kJson));
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(json["ids"], (std::vector<std::uint64_t>{5, 18446744073709551615u, 7}));
  EXPECT_EQ(json["mode"], "offload");
  EXPECT_EQ(json["version"], 9);
}

TEST(ToolOutput, ACountLeavesTheIdsOut) {
  const auto json =
      nlohmann::json::parse(format_range<2>(some_range(), ResultShape::kCount, Format::kJson));
  EXPECT_FALSE(json.contains("ids"));
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(format_range<2>(some_range(), ResultShape::kCount, Format::kText), "3\n");
  EXPECT_EQ(format_range<2>(some_range(), ResultShape::kCount, Format::kCsv), "count\n3\n");
}

TEST(ToolOutput, TextAndCsvListOneALine) {
  EXPECT_EQ(format_range<2>(some_range(), ResultShape::kIds, Format::kText),
            "5\n18446744073709551615\n7\n");
  EXPECT_EQ(format_range<2>(some_range(), ResultShape::kIds, Format::kCsv),
            "id\n5\n18446744073709551615\n7\n");
}

TEST(ToolOutput, BoxesComeWithTheirIds) {
  RangeAnswer<2> found;
  found.count = 1;
  found.ids = {5};
  found.boxes = {{{0, 0.5}, {1, 2}}};
  constexpr auto kShape = ResultShape::kEntries;
  EXPECT_EQ(format_range<2>(found, kShape, Format::kText), "5 0 0.5 1 2\n");
  EXPECT_EQ(format_range<2>(found, kShape, Format::kCsv), "id,xmin,ymin,xmax,ymax\n5,0,0.5,1,2\n");
  const auto json = nlohmann::json::parse(format_range<2>(found, kShape, Format::kJson));
  EXPECT_EQ(json["entries"][0]["id"], 5);
  EXPECT_EQ(json["entries"][0]["min"], (std::vector<double>{0, 0.5}));
  EXPECT_EQ(json["entries"][0]["max"], (std::vector<double>{1, 2}));
  EXPECT_FALSE(json.contains("ids"));
  const auto none = nlohmann::json::parse(format_range<2>({}, kShape, Format::kJson));
  EXPECT_EQ(none["entries"].size(), 0u);
}

TEST(ToolOutput, PairsOfAJoinAreTwoIds) {
  const JoinAnswer found{.pairs = {{1, 2}, {3, UINT64_MAX}}, .version = 9};
  EXPECT_EQ(format_join(found, false, Format::kText), "1 2\n3 18446744073709551615\n");
  EXPECT_EQ(format_join(found, true, Format::kCsv), "count\n2\n");
  const auto json = nlohmann::json::parse(format_join(found, false, Format::kJson, true));
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["pairs"][1][1], "18446744073709551615");
  EXPECT_EQ(json["version"], 9);
}

TEST(ToolOutput, DistancesReadBackExactly) {
  const auto json = nlohmann::json::parse(format_nearest(some_neighbors(), false, Format::kJson));
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["neighbors"][1]["id"], 4);
  EXPECT_EQ(json["neighbors"][1]["distance"].get<double>(), 1.0 / 3);
  EXPECT_EQ(json["mode"], "messaging");
  EXPECT_THAT(format_nearest(some_neighbors(), false, Format::kCsv), HasSubstr("3,0.1\n"));
}

TEST(ToolOutput, IdsAsStringsSurviveReadersThatKnowDoublesOnly) {
  const auto range =
      nlohmann::json::parse(format_range<2>(some_range(), ResultShape::kIds, Format::kJson, true));
  EXPECT_EQ(range["ids"], (std::vector<std::string>{"5", "18446744073709551615", "7"}));
  EXPECT_EQ(range["count"], 3);
  const auto near =
      nlohmann::json::parse(format_nearest(some_neighbors(), false, Format::kJson, true));
  EXPECT_EQ(near["neighbors"][1]["id"], "4");
  const auto written =
      nlohmann::json::parse(format_write("inserted", UINT64_MAX, 12, Format::kJson, true));
  EXPECT_EQ(written["id"], "18446744073709551615");
  const std::string diff =
      R"({"from":3,"inserted":[18446744073709551615],"erased":[],"moved":[8]})";
  EXPECT_EQ(format_diff(diff, Format::kJson, true),
            R"({"from":3,"inserted":["18446744073709551615"],"erased":[],"moved":["8"]})"
            "\n");
}

TEST(ToolOutput, AnEmptyAnswerIsStillJson) {
  EXPECT_EQ(
      nlohmann::json::parse(format_range<2>({}, ResultShape::kIds, Format::kJson))["ids"].size(),
      0u);
  EXPECT_EQ(nlohmann::json::parse(format_nearest({}, false, Format::kJson))["count"], 0);
}

TEST(ToolOutput, WritesAndLoadsAreJsonToo) {
  EXPECT_EQ(nlohmann::json::parse(format_write("inserted", 7, 12, Format::kJson))["version"], 12);
  const LoadReport report{.loaded = 10'781'311, .skipped = 2, .seconds = 4.5, .bulk = true};
  EXPECT_EQ(nlohmann::json::parse(format_load(report, Format::kJson))["count"], 10'781'311);
  EXPECT_THAT(format_load(report, Format::kText), HasSubstr("10,781,311 boxes in 4.5 s"));
  LoadReport of_file = report;
  of_file.columns = "id, \"lat as y";
  EXPECT_EQ(nlohmann::json::parse(format_load(of_file, Format::kJson))["columns"],
            "id, \"lat as y");
  EXPECT_THAT(format_load(of_file, Format::kText), HasSubstr("\ncolumns: id, \"lat as y\n"));
  of_file.notes = {"coordinates are planar"};
  of_file.first_skipped = "feature 4 has no geometry";
  EXPECT_EQ(nlohmann::json::parse(format_load(of_file, Format::kJson))["notes"][0],
            "coordinates are planar");
  EXPECT_THAT(format_load(of_file, Format::kText),
              HasSubstr("\nnote: coordinates are planar\nleft out 2 that are malformed, the first: "
                        "feature 4 has no geometry\n"));
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

TEST(ToolOutput, WhatTakesLongerThanASecondIsTold) {
  Activity activity(0);
  activity.say("connecting to tcp://h:1", 0);
  EXPECT_EQ(activity.line(900 * kMillisecond), "");
  EXPECT_EQ(activity.line(2500 * kMillisecond), "connecting to tcp://h:1 ... 2 s");
  activity.update(0.5, 1'000, 3 * kSecond);
  EXPECT_THAT(activity.line(3 * kSecond), HasSubstr("50 %  1,000 boxes"));
  EXPECT_THAT(activity.line(8 * kSecond), HasSubstr("/s  8 s left  waiting for 5 s"));
  activity.say("building", 9 * kSecond);
  EXPECT_EQ(activity.line(9 * kSecond), "");
  EXPECT_EQ(activity.line(11 * kSecond), "building ... 2 s");
}

TEST(ToolOutput, TheProgressBarFillsUp) {
  EXPECT_THAT(format_progress(0, 0, 0), HasSubstr("[                              ]   0 %"));
  EXPECT_THAT(format_progress(0.5, 1'000, 1), HasSubstr("[###############               ]  50 %"));
  EXPECT_THAT(format_progress(0.25, 1'000, 2), HasSubstr("500/s  6 s left"));
  EXPECT_THAT(format_progress(0.01, 1'000, 2), Not(HasSubstr("left"))) << "too early to tell";
  EXPECT_THAT(format_progress(2, 1'000, 2), HasSubstr("100 %  1,000 boxes  500/s"));
  EXPECT_EQ(format_progress(-1, 1'000, 2), "1,000 boxes  500/s");
}

}  // namespace
}  // namespace silurus::tool
