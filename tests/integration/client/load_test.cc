// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/patience.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// Loads by inserts that fail on the way, and go on from there.

namespace silurus {
namespace {

using ::testing::HasSubstr;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

class LoadTest : public testing::Test {
 protected:
  std::string url() const { return "shm://" + (folder_ / "socket"); }
  /// A server that keeps its data in a folder; with one entry, so that loads are not in bulk.
  void start(std::vector<std::string> arguments = {}) {
    server_.reset();
    arguments.insert(arguments.begin(),
                     {"--listen", url(), "--log-level", "error", "--data", folder_ / "data"});
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }
  void start_with_an_entry(const std::vector<std::string>& arguments = {}) {
    start(arguments);
    ASSERT_EQ(silurus("insert 1000000 -5 -5 -5 -5").status, 0);
  }
  Tool::Ran silurus(const std::string& arguments) const {
    return tool_.run("--server " + url() + " " + arguments);
  }
  /// The arguments of the command that an error ends with.
  static std::string way_on(const std::string& error) {
    constexpr std::string_view kBefore = "to go on: silurus ";
    const std::size_t at = error.find(kBefore);
    if (at == std::string::npos) return "nothing";
    const std::string command = error.substr(at + kBefore.size());
    return command.substr(0, std::min(command.find(')'), command.find(", with the same input")));
  }
  void write_points(const std::string& name, std::size_t count) const {
    std::ofstream file(folder_ / name);
    for (std::size_t i = 0; i < count; ++i) file << point(i);
  }
  static std::string point(std::size_t i) {
    const std::string id = std::to_string(i);
    return id + "," + std::to_string(i % 1000) + "," + std::to_string(i / 1000) + "\n";
  }
  std::uint64_t entries() const {
    return tool_.ask("--server " + url() + " stats")["entries"].get<std::uint64_t>();
  }
  /// All points are in, each once.
  void expect_all_once(std::size_t count) const {
    auto ids = tool_.ask("--server " + url() + " range 0 0 1000 1000")["ids"]
                   .get<std::vector<std::uint64_t>>();
    std::ranges::sort(ids);
    ASSERT_EQ(ids.size(), count);
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(ids[i], i);
  }

  TemporaryFolder folder_;
  Tool tool_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(LoadTest, ThatFilledTheTreeGoesOnInALargerOne) {
  constexpr std::size_t kPoints = 70'000;
  write_points("points.csv", kPoints);
  start_with_an_entry({"--memory", "4M"});
  const Tool::Ran full = silurus("load " + (folder_ / "points.csv"));
  EXPECT_EQ(full.status, 1);
  const std::uint64_t in = entries();
  EXPECT_THAT(full.err, HasSubstr(std::to_string(in - 1) + " entries of this load are in"));
  start({"--memory", "256M"});
  ASSERT_EQ(entries(), in);
  const std::string on = way_on(full.err);
  const Tool::Ran rest = silurus(on);
  ASSERT_EQ(rest.status, 0) << on << ": " << rest.err;
  expect_all_once(kPoints);
}

TEST_F(LoadTest, ThatMetAMalformedLineGoesOnBehindWhatIsIn) {
  write_points("points.csv", 20'000);
  std::ofstream(folder_ / "points.csv", std::ios::app) << "20000,x,20\n" << point(20'001);
  start_with_an_entry();
  const Tool::Ran bad = silurus("load " + (folder_ / "points.csv"));
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.err, HasSubstr("points.csv:20001: column 2 (x): \"x\""));
  const std::uint64_t in = entries() - 1;
  EXPECT_GT(in, 0u);
  EXPECT_THAT(bad.err, HasSubstr("--skip " + std::to_string(in) + " --server "));
  write_points("points.csv", 20'002);
  const std::string on = way_on(bad.err);
  const Tool::Ran rest = silurus(on + " --format json");
  ASSERT_EQ(rest.status, 0) << on << ": " << rest.err;
  EXPECT_EQ(nlohmann::json::parse(rest.out)["count"], 20'002 - in);
  expect_all_once(20'002);
}

TEST_F(LoadTest, WhoseServerDiedGoesOnWithNothingTwice) {
  constexpr std::size_t kPoints = 40'000;
  write_points("points.csv", kPoints);
  start_with_an_entry();
  const auto before = ::signal(SIGPIPE, SIG_IGN);  // the load ends before the pipe does
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::optional<Tool::Ran> ran;
  std::thread load([&] { ran = silurus("--timeout 2s load - <" + pipe); });
  std::ofstream file(pipe);
  for (std::size_t i = 0; i < kPoints / 2; ++i) file << point(i);
  file.flush();
  const Tool other;
  EXPECT_TRUE(testing_support::wait_until([&] {
    return other.ask("--server " + url() + " stats")["entries"].get<std::uint64_t>() > 5'000;
  }));
  server_->signal(SIGKILL);
  for (std::size_t i = kPoints / 2; i < kPoints; ++i) file << point(i);
  file.close();
  load.join();
  ::signal(SIGPIPE, before);
  EXPECT_EQ(ran->status, 1);
  EXPECT_THAT(ran->err, HasSubstr("entries of this load are in the tree"));
  start();
  const std::string on = way_on(ran->err);
  const Tool::Ran rest = silurus(on + " <" + (folder_ / "points.csv"));
  ASSERT_EQ(rest.status, 0) << on << ": " << rest.err;
  expect_all_once(kPoints);
}

TEST_F(LoadTest, ThatLeftNoWordCanBeCheckedAsAWhole) {
  write_points("some.csv", 700);
  write_points("points.csv", 2'000);
  start_with_an_entry();
  ASSERT_EQ(silurus("load " + (folder_ / "some.csv")).status, 0);
  const Tool::Ran rest = silurus("load " + (folder_ / "points.csv") + " --check all");
  ASSERT_EQ(rest.status, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr("loaded 1,300 boxes"));
  EXPECT_THAT(rest.out, HasSubstr("700 were in the tree already"));
  expect_all_once(2'000);
}

TEST_F(LoadTest, InBulkThatFailsLeavesNothing) {
  start();
  std::ofstream(folder_ / "bad.csv") << "1,2,3\n2,x,3\n";
  const Tool::Ran bad = silurus("load " + (folder_ / "bad.csv"));
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.err, HasSubstr("nothing of this load is in the tree"));
  EXPECT_EQ(entries(), 0u);
}

TEST_F(LoadTest, ThatLeavesOutMoreThanThereIsIsRefused) {
  start();
  write_points("points.csv", 10);
  EXPECT_THAT(silurus("load " + (folder_ / "points.csv") + " --skip 11").err,
              HasSubstr("points.csv has 10 entries, fewer than --skip leaves out"));
  EXPECT_EQ(silurus("load " + (folder_ / "points.csv") + " --skip 10").status, 0);
  EXPECT_EQ(silurus("load " + (folder_ / "points.csv") + " --check some").status, 2);
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace silurus
