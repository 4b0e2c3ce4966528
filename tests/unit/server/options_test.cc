#include "server/options.h"

#include <gtest/gtest.h>

#include <vector>

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
                              "--cpus",        "0,2",
                              "--memory",      "1.5G",
                              "--ring-budget", "8MiB",
                              "--max-clients", "10",
                              "--grace",       "20ms",
                              "--heartbeat",   "5ms",
                              "--wait",        "sleep",
                              "--huge-pages",  "--allow-other-users",
                              "--load",        "uniform:100",
                              "--log-level",   "off",
                              "--ready-file",  "/tmp/ready",
                              "--allow-orders"});
  ASSERT_TRUE(command) << command.error().message;
  const auto& run = std::get<RunCommand>(*command);
  EXPECT_EQ(run.server.listen, (std::vector<std::string>{"shm:///tmp/a", "tcp://127.0.0.1:7470"}));
  EXPECT_EQ(run.server.dimensions, 3);
  EXPECT_EQ(run.server.threads, 4u);
  EXPECT_EQ(run.server.cpus, (std::vector<int>{0, 2}));
  EXPECT_EQ(run.server.memory_bytes, std::uint64_t{3} << 29);
  EXPECT_EQ(run.server.ring_budget_bytes, std::uint64_t{8} << 20);
  EXPECT_EQ(run.server.max_clients, 10u);
  EXPECT_EQ(run.server.grace, 20 * kMillisecond);
  EXPECT_EQ(run.server.heartbeat, 5 * kMillisecond);
  EXPECT_EQ(run.server.wait, transport::WaitPolicy::kSleep);
  EXPECT_TRUE(run.server.huge_pages);
  EXPECT_TRUE(run.server.allow_other_users);
  EXPECT_TRUE(run.server.allow_orders);
  EXPECT_EQ(run.server.load, "uniform:100");
  EXPECT_EQ(run.log_level, log::Level::kOff);
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
  EXPECT_FALSE(server.allow_orders);
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
      {{"--grace", "50"}, "--grace"},
      {{"--grace", "1h"}, "--grace"},
      {{"--heartbeat", "0"}, "--heartbeat"},
      {{"--wait", "forever"}, "--wait"},
      {{"--cpus", "0,,1"}, "--cpus"},
      {{"--log-level", "loud"}, "--log-level"},
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

TEST(ServerOptions, HelpAndVersionArePrinted) {
  for (const char* option : {"--help", "--version"}) {
    const auto command = parse({option});
    ASSERT_TRUE(command);
    EXPECT_NE(std::get<PrintCommand>(*command).text.find("silurus-server"), std::string::npos);
  }
}

}  // namespace
}  // namespace silurus::server
