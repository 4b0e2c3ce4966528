// SPDX-License-Identifier: Apache-2.0

#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <vector>

#include "tests/support/server_process.h"

namespace silurus::server {
namespace {

Result<Command> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "silurus-server");
  return parse_command(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ServerOptions, TakesAllOfThem) {
  const auto command = parse({"--listen",      "shm:///tmp/a",
                              "--listen",      "tcp://127.0.0.1:7470",
                              "--dimensions",  "3",
                              "--threads",     "4",
                              "--cpus",        "0,0",
                              "--memory",      "1.5G",
                              "--ring-budget", "8MiB",
                              "--max-clients", "10",
                              "--grace",       "20ms",
                              "--heartbeat",   "5ms",
                              "--wait",        "sleep",
                              "--huge-pages",  "--allow-other-users",
                              "--load",        "boxes.csv",
                              "--columns",     "id,x,y,z",
                              "--log-level",   "off",
                              "--ready-file",  "/tmp/ready",
                              "--access",      "/etc/silurus/access.toml"});
  ASSERT_TRUE(command) << command.error().message;
  const auto& run = std::get<RunCommand>(*command);
  EXPECT_EQ(run.server.listen, (std::vector<std::string>{"shm:///tmp/a", "tcp://127.0.0.1:7470"}));
  EXPECT_EQ(run.server.dimensions, 3);
  EXPECT_EQ(run.server.threads, 4u);
  EXPECT_EQ(run.server.cpus, (std::vector<int>{0, 0}));
  EXPECT_EQ(run.server.memory_bytes, std::uint64_t{3} << 29);
  EXPECT_EQ(run.server.ring_budget_bytes, std::uint64_t{8} << 20);
  EXPECT_EQ(run.server.max_clients, 10u);
  EXPECT_EQ(run.server.grace, 20 * kMillisecond);
  EXPECT_EQ(run.server.heartbeat, 5 * kMillisecond);
  EXPECT_EQ(run.server.wait, transport::WaitPolicy::kSleep);
  EXPECT_TRUE(run.server.huge_pages);
  EXPECT_TRUE(run.server.allow_other_users);
  EXPECT_EQ(run.server.access, "/etc/silurus/access.toml");
  EXPECT_EQ(run.server.load, "boxes.csv");
  EXPECT_EQ(run.server.columns, "id,x,y,z");
  EXPECT_EQ(run.log.level, log::Level::kOff);
  EXPECT_EQ(run.ready_file, "/tmp/ready");
}

TEST(ServerOptions, DefaultsAreTheLimitsOfTheProgram) {
  const auto command = parse({});
  ASSERT_TRUE(command);
  const auto& server = std::get<RunCommand>(*command).server;
  EXPECT_EQ(server.listen.size(), 1u);
  EXPECT_EQ(server.memory_bytes, kDefaultMemoryBytes);
  EXPECT_EQ(server.ring_budget_bytes, kDefaultRingBudgetBytes);
  EXPECT_EQ(server.max_clients, kDefaultMaxClients);
  EXPECT_EQ(server.grace, kDefaultGrace);
  EXPECT_EQ(server.heartbeat, kDefaultHeartbeat);
  EXPECT_TRUE(server.access.empty());
  EXPECT_FALSE(server.admits_others());
}

TEST(ServerOptions, SayWhetherAKeeperOutlivesTheServer) {
  EXPECT_FALSE(std::get<RunCommand>(*parse({})).outlive);
  const auto command = parse({"--outlive", "--restart-hung", "30s"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_TRUE(std::get<RunCommand>(*command).outlive);
  EXPECT_EQ(std::get<RunCommand>(*command).restart_hung, 30 * kSecond);
}

TEST(ServerOptions, RefuseToReplaceAHungServerWithoutAKeeperOrTooSoon) {
  const auto without = parse({"--restart-hung", "30s"});
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().message.find("only with --outlive"), std::string::npos);
  const auto too_soon = parse({"--outlive", "--restart-hung", "10ms"});
  ASSERT_FALSE(too_soon);
  EXPECT_NE(too_soon.error().message.find("between 1 s and"), std::string::npos)
      << too_soon.error().message;
}

TEST(ServerOptions, RefusalsNameTheOption) {
  const std::vector<std::pair<std::vector<const char*>, const char*>> cases = {
      {{"--dimensions", "4"}, "--dimensions"},
      {{"--threads", "many"}, "--threads"},
      {{"--threads", "-1"}, "--threads"},
      {{"--memory", "4Q"}, "--memory"},
      {{"--memory", "1K"}, "--memory"},
      {{"--ring-budget", "1K"}, "--ring-budget"},
      {{"--max-clients", "0"}, "--max-clients"},
      {{"--max-clients-per-peer", "0"}, "--max-clients-per-peer"},
      {{"--handshake-timeout", "0ms"}, "--handshake-timeout"},
      {{"--idle-timeout", "10ms"}, "--idle-timeout"},
      {{"--grace", "50"}, "--grace"},
      {{"--grace", "1h"}, "--grace"},
      {{"--heartbeat", "0"}, "--heartbeat"},
      {{"--wait", "forever"}, "--wait"},
      {{"--longest-pause", "1us"}, "--longest-pause"},
      {{"--longest-pause", "1min"}, "--longest-pause"},
      {{"--wait", "periodic", "--longest-pause", "0s"}, "--longest-pause"},
      {{"--wait", "spin", "--longest-pause", "1ms"}, "--longest-pause"},
      {{"--cpus", "0,,1"}, "--cpus"},
      {{"--log-level", "loud"}, "--log-level"},
      {{"--columns", "id,x,y"}, "--columns: only with --load"},
      {{"--load", "a.csv", "--columns", "id,lta,lon"}, "--columns"},
      {{"--load", "a.csv", "--columns", "id,x,y,z"}, "--columns"},
      {{"--no-such-option"}, "no-such-option"},
      {{"stray"}, "stray"},
  };
  for (const auto& [arguments, named] : cases) {
    const auto command = parse(arguments);
    ASSERT_FALSE(command) << arguments[0];
    EXPECT_EQ(command.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(command.error().message.find(named), std::string::npos) << command.error().message;
  }
}

TEST(ServerOptions, PausesMayBeTurnedOff) {
  const auto command = parse({"--longest-pause", "0s"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(std::get<RunCommand>(*command).server.longest_pause, 0);
}

TEST(ServerOptions, HelpAndVersionArePrinted) {
  for (const char* option : {"--help", "--version", "-V", "-h"}) {
    const auto command = parse({option});
    ASSERT_TRUE(command);
    EXPECT_NE(std::get<PrintCommand>(*command).text.find("silurus-server"), std::string::npos);
  }
}

std::string refusal(std::vector<const char*> arguments) {
  const auto command = parse(std::move(arguments));
  EXPECT_FALSE(command);
  return command ? "" : command.error().message;
}

/// A file with a text, and its path.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) { std::ofstream(path_) << text; }
  const char* path() const { return path_.c_str(); }

 private:
  testing_support::TemporaryFolder folder_;
  const std::string path_ = folder_ / "a.toml";
};

TEST(ServerOptions, AFileGivesWhatTheCommandLineDoesNot) {
  const ConfigFile file(
      "listen = [\"shm:///tmp/a\", \"tcp://127.0.0.1:0\"]\ndimensions = 3\nmemory = \"64M\"\n"
      "huge-pages = true\nallow-other-users = true\ngrace = '20ms'\n");
  const auto command =
      parse({"--config", file.path(), "--memory", "32M", "--allow-other-users=false"});
  ASSERT_TRUE(command) << command.error().message;
  const auto& server = std::get<RunCommand>(*command).server;
  EXPECT_THAT(server.listen, ::testing::ElementsAre("shm:///tmp/a", "tcp://127.0.0.1:0"));
  EXPECT_EQ(server.dimensions, 3);
  EXPECT_EQ(server.memory_bytes, std::uint64_t{32} << 20);
  EXPECT_EQ(server.grace, 20 * kMillisecond);
  EXPECT_TRUE(server.huge_pages);
  EXPECT_FALSE(server.allow_other_users);
}

TEST(ServerOptions, MistakesInAFileAreNamedWithTheirLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"# none\nmemroy = '1G'\n", ":2: unknown key memroy: did you mean memory?"},
      {"help = true\n", ":1: unknown key help"},
      {"[server]\nmemory = '1G'\n", ":1: unknown key server"},
      {"memory = 'lots'\n", ":1: memory: 'lots' is not a size"},
      {"\ngrace = '1h'\n", ":2: grace: "},
      {"memory = ['1G', '2G']\n", ":1: memory: must be a number"},
      {"huge-pages = 1\n", ":1: huge-pages: '1' is neither true nor false"},
      {"memory = \n", ":1: "}};
  for (const auto& [text, message] : cases) {
    const ConfigFile file(text);
    EXPECT_THAT(refusal({"--config", file.path()}),
                ::testing::HasSubstr(std::string(file.path()) + message));
  }
  EXPECT_THAT(refusal({"--config", "/no/such/file"}), ::testing::HasSubstr("/no/such/file"));
}

TEST(ServerOptions, WhatIsPrintedAsConfigurationIsTakenBack) {
  const std::vector<const char*> given = {"--listen",
                                          "shm:///tmp/a \"quoted\" \\ path",
                                          "--listen",
                                          "tcp://127.0.0.1:0",
                                          "--dimensions",
                                          "3",
                                          "--huge-pages",
                                          "--memory",
                                          "64M",
                                          "--cpus",
                                          "0",
                                          "--data",
                                          "/tmp/\t",
                                          "--log-format",
                                          "json"};
  std::vector<const char*> first = given;
  first.push_back("--print-config");
  const auto printed = parse(first);
  ASSERT_TRUE(printed) << printed.error().message;
  const std::string text = std::get<PrintCommand>(*printed).text;
  const ConfigFile file(text);
  const auto again = parse({"--config", file.path(), "--print-config"});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(std::get<PrintCommand>(*again).text, text);
  const auto taken = parse({"--config", file.path()});
  ASSERT_TRUE(taken);
  const auto& run = std::get<RunCommand>(*taken);
  EXPECT_EQ(run.server.listen.front(), "shm:///tmp/a \"quoted\" \\ path");
  EXPECT_EQ(run.server.durability->path, "/tmp/\t");
  EXPECT_EQ(run.log.format, log::Format::kJson);
}

TEST(ServerOptions, AnEmptyValueIsPrintedAsOne) {
  const ConfigFile file("ready-file = \"\"\n");
  const auto printed = parse({"--config", file.path(), "--print-config"});
  ASSERT_TRUE(printed) << printed.error().message;
  EXPECT_THAT(std::get<PrintCommand>(*printed).text, ::testing::HasSubstr("\nready-file = \"\"\n"));
}

TEST(ServerOptions, AFileMayHoldTextOfAnyLanguage) {
  const ConfigFile file(
      "# größer, Ελλάδα, Ёлка, 日本\nlisten = \"shm:///tmp/ä\" # für alle\nmemory = '64M'ё\n");
  EXPECT_THAT(refusal({"--config", file.path()}), ::testing::HasSubstr(":3: "));
  const ConfigFile good("# größer, Ελλάδα, Ёлка, 日本\nlisten = \"shm:///tmp/ä\" # für alle\n");
  const auto command = parse({"--config", good.path()});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(std::get<RunCommand>(*command).server.listen.front(), "shm:///tmp/ä");
  const ConfigFile unknown("größe = 1\n");
  EXPECT_THAT(refusal({"--config", unknown.path()}), ::testing::HasSubstr(":1: "));
}

TEST(ServerOptions, AMemberIsToldHowManyMembersAreNeededOrNothing) {
  const auto min_members = [](std::vector<const char*> more) {
    std::vector<const char*> all = {"--cluster", "etcd://127.0.0.1:1/x", "--data", "/tmp/d"};
    all.insert(all.end(), more.begin(), more.end());
    const auto command = parse(all);
    EXPECT_TRUE(command) << command.error().message;
    return std::get<RunCommand>(*command).server.group->min_members;
  };
  EXPECT_EQ(min_members({}), std::nullopt) << "the group keeps what it was told before";
  EXPECT_EQ(min_members({"--min-members", "2"}), 2u);
  EXPECT_EQ(min_members({"--min-members", "majority"}), 0u);
  EXPECT_THAT(refusal({"--min-members", "8"}), ::testing::HasSubstr("1 to 7"));
}

TEST(ServerOptions, ImpossibleSizesAreRefused) {
  EXPECT_THAT(refusal({"--memory", "99999999999999T"}), ::testing::HasSubstr("too large"));
  EXPECT_THAT(refusal({"--memory", "1000T"}), ::testing::HasSubstr("that this machine has"));
  EXPECT_THAT(refusal({"--cpus", "4095"}), ::testing::HasSubstr("core 4095"));
  EXPECT_THAT(refusal({"--threads", "257"}), ::testing::HasSubstr("from 0 to 256"));
}

TEST(ServerOptions, WhereClientsLookForAClusterIsNoPlaceToListen) {
  setenv("SILURUS_SERVER", "etcd://127.0.0.1:2379/maps", 1);
  EXPECT_THAT(refusal({}), ::testing::HasSubstr("--listen"));
  EXPECT_TRUE(parse({"--listen", "shm:///tmp/a"}));
  unsetenv("SILURUS_SERVER");
}

}  // namespace
}  // namespace silurus::server
