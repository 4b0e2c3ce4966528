// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/subprocess.h"
#include "tests/support/patience.h"
#include "tests/support/server_process.h"

// silurus-bench peers, run for real with whatever peers are installed.

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::patient;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

const char* const kPeers[] = {"postgis", "redis", "sqlite", "spatialindex", "geos", "boost"};

std::string bench_program() {
  return fs::read_symlink("/proc/self/exe").replace_filename("silurus-bench").string();
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Starts `silurus-bench peers` on few entries, with these options more; its output is in `log`.
Result<Subprocess> start_bench(const TemporaryFolder& folder, std::vector<std::string> more) {
  // Its servers may run as another user, who has to get through.
  fs::permissions(folder / "", fs::perms::others_exec, fs::perm_options::add);
  more.insert(more.begin(), {bench_program(), "peers", "--directory", folder / ""});
  return Subprocess::start({.words = more, .log = folder / "log"});
}

/// Processes whose command line names that folder.
std::set<pid_t> processes_about(const std::string& folder) {
  std::set<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (text_of(entry.path() / "cmdline").find(folder) != std::string::npos) {
      found.insert(std::stoi(name));
    }
  }
  return found;
}

TEST(Peers, AgreeWithSilurusOrAreNamedAsMissing) {
  const TemporaryFolder folder;
  auto bench = start_bench(folder, {"--data", "uniform:5000", "--runs", "1", "--seconds", "0.01",
                                    "--checked", "100", "--json", folder / "rows.json"});
  ASSERT_TRUE(bench) << bench.error().message;
  const int status = bench->wait();
  const std::string said = text_of(folder / "log");
  ASSERT_EQ(status, 0) << said;
  const auto all = nlohmann::json::parse(text_of(folder / "rows.json"));
  std::set<std::string> rows;
  for (const auto& row : all["rows"]) rows.insert(row["name"]);
  for (const std::string peer : kPeers) {
    const bool measured = rows.contains("peers/agreement/" + peer) &&
                          rows.contains("peers/small/clients=1/in-flight=1/" + peer) &&
                          rows.contains("peers/200-results/clients=1/in-flight=1/vs-" + peer);
    if (!measured) {
      EXPECT_THAT(said, HasSubstr(peer + " is left out: "));
    }
  }
  EXPECT_TRUE(rows.contains("peers/agreement/boost"));
  EXPECT_TRUE(rows.contains("peers/knn10/clients=1/in-flight=1/silurus"));
}

TEST(Peers, EndWithAKilledBench) {
  const TemporaryFolder folder;
  auto bench = start_bench(folder, {"--data", "uniform:5000", "--seconds", "60"});
  ASSERT_TRUE(bench) << bench.error().message;
  // Until the first peer, or at least Silurus, is being measured.
  wait_until([&] { return text_of(folder / "log").find("agree") != std::string::npos; },
             120 * kSecond);
  ASSERT_THAT(text_of(folder / "log"), HasSubstr("agree"));
  ASSERT_GE(processes_about(folder / "").size(), 2u);
  kill(bench->pid(), SIGKILL);
  EXPECT_EQ(bench->wait(), -SIGKILL);
  std::set<pid_t> left;
  wait_until([&] { return (left = processes_about(folder / "")).empty(); });
  EXPECT_THAT(left, testing::IsEmpty());
}

TEST(Peers, RefuseWhatMakesNoSense) {
  const TemporaryFolder folder;
  const auto run = [&](const std::vector<std::string>& more) {
    auto bench = start_bench(folder, more);
    const int status = bench ? bench->wait() : -1;
    return std::to_string(status) + ": " + text_of(folder / "log");
  };
  EXPECT_THAT(run({"--peers", "oracle"}), HasSubstr("2: silurus-bench peers: --peers are of"));
  EXPECT_THAT(run({"--data", "uniform:0"}), HasSubstr("1: "));
  std::ofstream(folder / "far.csv") << "1,5,5,6,6\n";
  EXPECT_THAT(run({"--data", folder / "far.csv"}), HasSubstr("not within the unit square"));
}

TEST(Load, MeasuresTheServersCpuTimeAtEachShareOfItsPeak) {
  const TemporaryFolder folder;
  auto bench =
      Subprocess::start({.words = {bench_program(), "load", "--data", "uniform:5000", "--waits",
                                   "periodic,sleep", "--percents", "10,50,100", "--runs", "1",
                                   "--seconds", "0.05", "--json", folder / "rows.json"},
                         .log = folder / "log"});
  ASSERT_TRUE(bench) << bench.error().message;
  ASSERT_EQ(bench->wait(), 0) << text_of(folder / "log");
  const auto all = nlohmann::json::parse(text_of(folder / "rows.json"));
  int measured = 0;
  for (const auto& row : all["rows"]) {
    if (!row.contains("server_cpu")) continue;
    EXPECT_GT(row["server_cpu"], 0) << row;
    EXPECT_EQ(row["latency"].back()[1], 1) << row;
    ++measured;
  }
  EXPECT_EQ(measured, 6) << "two ways at three loads";
}

TEST(Subprocess, SaysWhyAProgramDoesNotGetReady) {
  const TemporaryFolder folder;
  auto none = Subprocess::start({.words = {"/nowhere/redis-server"}});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message, HasSubstr("cannot run /nowhere/redis-server"));
  auto process = Subprocess::start(
      {.words = {"/bin/sh", "-c", "echo the port is in use >&2; exit 3"}, .log = folder / "log"});
  ASSERT_TRUE(process);
  const auto ready = wait_until_ready(*process, "it", patient(10 * kSecond), [] { return false; });
  ASSERT_FALSE(ready);
  EXPECT_THAT(ready.error().message, HasSubstr("it ended with status 3"));
  EXPECT_THAT(ready.error().message, HasSubstr("the port is in use"));
}

TEST(Subprocess, CountsTheCpuTimeOfItsChildren) {
  // All of it comes to an end by itself, whichever process ends first.
  const std::string count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 20";
  auto process = Subprocess::start(
      {.words = {"/bin/sh", "-c", "(" + count + ") & wait"}, .stop_signal = SIGKILL});
  ASSERT_TRUE(process);
  EXPECT_TRUE(wait_until([&] { return process->cpu_seconds() >= 0.05; }));
}

}  // namespace
}  // namespace silurus::bench
