// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

namespace silurus {
namespace {

using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

class DurableServerTest : public testing::Test {
 protected:
  std::unique_ptr<ServerProcess> start(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"--listen",   "shm://" + (folder_ / "socket"),
                                       "--data",     data_,
                                       "--log-size", "1M",
                                       "--memory",   "256M"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<ServerProcess>(arguments);
  }
  std::unique_ptr<ServerProcess> start_well(std::vector<std::string> more = {}) {
    auto server = start(std::move(more));
    EXPECT_FALSE(server->addresses().empty()) << server->errors();
    return server;
  }
  static Client<2> connect(const ServerProcess& server) {
    auto client = Client<2>::connect(server.addresses().at(0), testing_support::patient());
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  static nlohmann::json durability(Client<2>& client) {
    return nlohmann::json::parse(client.server_statistics().value().json)["durability"];
  }

  struct Output {
    int status;
    std::string text;
  };
  /// Runs silurus-server to its end.
  static Output run(const std::string& arguments) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    FILE* pipe = popen((self + "/silurus-server " + arguments + " 2>&1").c_str(), "r");
    Output output{-1, ""};
    std::array<char, 4096> buffer;
    for (std::size_t got; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      output.text.append(buffer.data(), got);
    }
    const int status = pclose(pipe);
    output.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return output;
  }

  TemporaryFolder folder_;
  std::string data_ = folder_ / "data";
};

constexpr Box<2> kEverywhere{{-1, -1}, {2, 2}};

TEST_F(DurableServerTest, KeepsItsTreeOverACleanStop) {
  {
    const auto server = start_well();
    auto client = connect(*server);
    for (std::uint64_t id = 0; id < 100; ++id) ASSERT_TRUE(client.insert(id, {{0, 0}, {1, 1}}));
    ASSERT_TRUE(client.erase(7, {{0, 0}, {1, 1}}));
    EXPECT_EQ(server->stop(), 0);
  }
  const auto server = start_well();
  auto client = connect(*server);
  EXPECT_EQ(client.count(kEverywhere).value(), 99u);
  const auto stats = durability(client);
  EXPECT_EQ(stats["recovery"]["records"], 0) << "a clean stop leaves no log to replay";
  EXPECT_EQ(stats["recovery"]["entries"], 99);
}

TEST_F(DurableServerTest, KeepsABulkLoadOnceItIsAcknowledged) {
  {
    const auto server = start_well();
    auto client = connect(*server);
    std::vector<Entry<2>> entries(50'000);
    for (std::uint64_t id = 0; id < entries.size(); ++id) {
      const double x = static_cast<double>(id) / 50'000;
      entries[id] = {id, {{x, x}, {x, x}}};
    }
    ASSERT_TRUE(client.load(entries));
    ASSERT_TRUE(client.insert(1'000'000, {{0, 0}, {1, 1}}));
    server->signal(SIGKILL);
    server->wait();
  }
  const auto server = start_well();
  auto client = connect(*server);
  EXPECT_EQ(client.count(kEverywhere).value(), 50'001u);
}

/// A server that has ended leaves its memory behind in the clients that had mapped it. However it
/// ended: a client that was idle since must not find there what was erased in its successor.
class EndedServerTest : public DurableServerTest, public testing::WithParamInterface<int> {};

TEST_P(EndedServerTest, ItsMemoryIsNotBelieved) {
  const Box<2> box{{0, 0}, {1, 1}};
  auto server = start_well();
  ClientOptions options;
  options.mode = Mode::kOffload;
  auto idle = Client<2>::connect(server->addresses().at(0), options);
  ASSERT_TRUE(idle) << idle.error().message;
  for (int round = 0; round < 10; ++round) {
    const auto id = static_cast<std::uint64_t>(round);
    ASSERT_TRUE(idle->insert(id, box));
    ASSERT_EQ(idle->count(box).value(), 1u);
    server->signal(GetParam());
    server->wait();
    server = start_well();
    ASSERT_TRUE(connect(*server).erase(id, box));
    for (int i = 0; i < 50; ++i) {
      const auto found = idle->range(box);
      ASSERT_TRUE(found) << found.error().message;
      ASSERT_EQ(found->ids.size(), 0u) << "answer " << i << " in round " << round;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(However, EndedServerTest, testing::Values(SIGKILL, SIGTERM));

TEST_F(DurableServerTest, TakesMoreWritesThanItsLogHasRoomFor) {
  const auto server = start_well();
  auto client = connect(*server);
  std::uint64_t id = 0;
  nlohmann::json stats;
  // All over the place, so that checkpoints have much to write: sooner or later one is too slow.
  Random random(1);
  do {
    for (int batch = 0; batch < 100; ++batch) {
      WriteBatch<2> writes;
      for (int i = 0; i < 500; ++i) {
        const double x = random.uniform();
        const double y = random.uniform();
        writes.insert(id++, {{x, y}, {x, y}});
      }
      const auto answer = client.write(writes);
      ASSERT_TRUE(answer) << answer.error().message;
    }
    stats = durability(client);
  } while (id < 1'000'000 && (id < 200'000 || stats["log"]["full_waits"] == 0));
  EXPECT_GT(stats["log"]["end_lsn"], 10 * stats["log"]["capacity_bytes"].get<std::uint64_t>());
  EXPECT_GT(stats["checkpoints"]["count"], 5);
  EXPECT_LE(stats["log"]["used_bytes"], stats["log"]["capacity_bytes"]);
  server->signal(SIGKILL);
  server->wait();
  const auto again = start_well();
  auto reader = connect(*again);
  EXPECT_EQ(reader.count(kEverywhere).value(), id);
}

TEST_F(DurableServerTest, SaysWhyItCannotHaveADirectoryInUse) {
  const auto first = start_well();
  auto second = run("--listen shm://" + (folder_ / "other") + " --data " + data_);
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.text.find("in use by another server, process " + std::to_string(first->pid())),
            std::string::npos)
      << second.text;
  second = run("--check " + data_);
  EXPECT_EQ(second.status, 1);
}

TEST_F(DurableServerTest, ChecksADirectoryOffline) {
  {
    const auto server = start_well();
    auto client = connect(*server);
    for (std::uint64_t id = 0; id < 100; ++id) ASSERT_TRUE(client.insert(id, {{0, 0}, {1, 1}}));
    server->signal(SIGKILL);
    server->wait();
  }
  const auto good = run("--check " + data_);
  EXPECT_EQ(good.status, 0) << good.text;
  EXPECT_NE(good.text.find("100 entries"), std::string::npos) << good.text;
  EXPECT_NE(good.text.find("100 records of the log"), std::string::npos) << good.text;
  std::FILE* log = std::fopen((data_ + "/log").c_str(), "r+");
  std::fseek(log, 1000, SEEK_SET);
  std::fputs("garbage", log);
  std::fclose(log);
  const auto bad = run("--check " + data_);
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.text.find("damaged"), std::string::npos) << bad.text;
  const auto refused = start();
  EXPECT_TRUE(refused->addresses().empty()) << "started on a damaged log";
  auto server = start_well({"--accept-damaged-log"});
  std::uint64_t left = connect(*server).count(kEverywhere).value();
  EXPECT_LT(left, 100u);
  // Over the first records of what lay behind the damage, and then over all of it.
  for (const std::uint64_t more : {1u, 200u}) {
    auto client = connect(*server);
    for (std::uint64_t i = 0; i < more; ++i) {
      ASSERT_TRUE(client.insert(1000 + left + i, {{0, 0}, {1, 1}}));
    }
    left += more;
    server->signal(SIGKILL);
    server->wait();
    EXPECT_EQ(run("--check " + data_).status, 0);
    server = start_well();
    EXPECT_EQ(connect(*server).count(kEverywhere).value(), left);
  }
}

TEST_F(DurableServerTest, RefusesOptionsThatMakeNoSense) {
  for (const char* options : {"--durability often", "--log-size 3", "--flush-interval 1h",
                              "--checkpoint-interval 1ms", "--check x --data y"}) {
    const auto output = run("--data " + data_ + " " + options);
    EXPECT_EQ(output.status, 2) << options << ": " << output.text;
  }
}

TEST_F(DurableServerTest, KeepsNothingWithoutADataDirectory) {
  const auto server = start_well({"--durability", "none"});
  auto client = connect(*server);
  EXPECT_EQ(durability(client)["mode"], "none");
}

}  // namespace
}  // namespace silurus
