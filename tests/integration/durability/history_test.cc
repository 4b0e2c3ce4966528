// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "server/limits.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

// Old versions of a tree, asked of a real server; and backups of one.

namespace silurus {
namespace {

using nlohmann::json;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

constexpr Box<2> kAll{{-1, -1}, {2, 2}};
constexpr Box<2> kHere{{0.5, 0.5}, {0.6, 0.6}};
constexpr Box<2> kThere{{0.1, 0.1}, {0.2, 0.2}};

std::int64_t unix_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Until any clock of this machine shows another time.
void let_the_clock_move() {
  const std::int64_t begun = unix_ns();
  wait_until([&] { return unix_ns() > begun + 5 * kMillisecond; });
}

class HistoryTest : public testing::Test {
 protected:
  void start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--listen", "shm://" + (folder_ / "socket"), "--log-level",
                                         "error", "--memory", "256M"});
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }
  Client<2> connect() {
    auto client = Client<2>::connect(server_->addresses().at(0), patient());
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  /// Holds a version while a writer makes the server forget it after some dozens of its own, and
  /// memory is used again soon. The error, if it was lost. `was_slow`: the machine kept the reader
  /// from renewing its hold in time, or from reading within the grace period in any of a search's
  /// attempts, so that the search went by message, to a server that has forgotten the version.
  std::optional<Error> lose_a_held_version(bool& was_slow) {
    server_.reset();
    start({"--retain", "10min", "--retain-versions", "8", "--grace",
           testing_support::patient_option(kMillisecond), "--heartbeat", "1ms"});
    auto client = connect();
    WriteBatch<2> batch;
    for (std::uint64_t id = 0; id < 500; ++id) batch.insert(id, kHere);
    EXPECT_TRUE(client.write(batch));
    const Version version = client.insert(500, kHere).value();
    auto reader =
        Client<2>::connect(server_->addresses()[0],
                           patient({.mode = Mode::kOffload, .offload = {.verify_checksums = true}}))
            .value();
    EXPECT_EQ(reader.count(kAll, Predicate::kIntersects, version).value(), 501u);
    const SystemClock clock;
    Nanoseconds before = clock.now();
    for (std::uint64_t id = 0; id < 500; ++id) {
      EXPECT_TRUE(client.insert(1000 + id, kHere));
      EXPECT_TRUE(client.update(id, kHere, kThere));
      const auto found = reader.count(kHere, Predicate::kIntersects, version);
      const Nanoseconds passed = clock.now() - std::exchange(before, clock.now());
      was_slow = was_slow || passed > server::kDefaultHoldLease / 2 ||
                 reader.statistics().offload.given_back > 0;
      if (!found) return found.error();
      EXPECT_EQ(*found, 501u);
    }
    const auto forgotten = client.count(kAll, Predicate::kIntersects, version);
    EXPECT_EQ(forgotten ? ErrorCode{} : forgotten.error().code, ErrorCode::kNotFound);
    return std::nullopt;
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(HistoryTest, AnswersAsOfEveryVersionThatItKeeps) {
  start({"--retain", "10min"});
  auto client = connect();
  std::vector<Version> versions;
  for (std::uint64_t id = 0; id < 100; ++id) {
    versions.push_back(client.insert(id, kHere).value());
  }
  for (std::size_t i = 0; i < versions.size(); ++i) {
    EXPECT_EQ(client.count(kAll, Predicate::kIntersects, versions[i]).value(), i + 1);
    const auto found = client.range(kAll, {.as_of = versions[i]});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->version, versions[i]);
    EXPECT_EQ(found->ids.size(), i + 1);
    EXPECT_EQ(client.nearest({{0, 0}}, 1000, versions[i]).value().size(), i + 1);
  }
  EXPECT_EQ(client.count(kAll).value(), 100u);
}

TEST_F(HistoryTest, AnswersAsOfATime) {
  start({"--retain", "10min", "--data", folder_ / "data", "--log-size", "1M"});
  auto client = connect();
  ASSERT_TRUE(client.insert(1, kHere));
  let_the_clock_move();
  const Moment between = moment_at(unix_ns());
  let_the_clock_move();
  ASSERT_TRUE(client.update(1, kHere, kThere));
  EXPECT_EQ(client.count(kHere, Predicate::kIntersects, between).value(), 1u);
  EXPECT_EQ(client.count(kThere, Predicate::kIntersects, between).value(), 0u);
  EXPECT_EQ(client.count(kThere, Predicate::kIntersects, moment_at(unix_ns())).value(), 1u);
  const auto too_old = client.count(kHere, Predicate::kIntersects, moment_at(0));
  ASSERT_FALSE(too_old);
  EXPECT_EQ(too_old.error().code, ErrorCode::kNotFound);
}

TEST_F(HistoryTest, HoldsAnOldVersionWhileAllAroundItChanges) {
  start({"--retain", "10min", "--retain-versions", "8", "--grace", "1ms"});
  auto client = connect();
  WriteBatch<2> batch;
  for (std::uint64_t id = 0; id < 500; ++id) batch.insert(id, kHere);
  std::atomic<bool> stop{false};
  std::jthread writer([&, url = server_->addresses()[0]] {
    auto other = Client<2>::connect(url, patient());
    Random random(1);
    while (!stop.load()) {
      const double x = random.uniform();
      if (!other->insert(1'000'000 + random.below(1'000'000), {{x, x}, {x, x}})) return;
    }
  });
  ASSERT_TRUE(client.write(batch));
  std::size_t asked = 0;
  for (int round = 0; round < 200; ++round) {
    const auto versions = client.history().value();
    ASSERT_LE(versions.size(), 9u);
    const auto& kept = versions[round % versions.size()];
    const auto found = client.count(kAll, Predicate::kIntersects, kept.version);
    if (!found) {  // dropped meanwhile, and said so
      EXPECT_EQ(found.error().code, ErrorCode::kNotFound) << found.error().message;
      continue;
    }
    EXPECT_EQ(*found, kept.entries);
    ++asked;
  }
  stop.store(true);
  EXPECT_GT(asked, 0u);
}

TEST_F(HistoryTest, IsReadOneSidedlyAfterOneMessage) {
  start({"--retain", "10min", "--grace", "10s"});  // no search takes so long that it begins again
  auto writer = connect();
  std::vector<Version> versions;
  for (std::uint64_t id = 0; id < 100; ++id) {
    versions.push_back(writer.insert(id, kHere).value());
  }
  auto reader =
      Client<2>::connect(server_->addresses()[0], patient({.mode = Mode::kOffload})).value();
  const SystemClock clock;
  const Nanoseconds begun = clock.now();
  for (int i = 0; i < 50; ++i) {
    const auto found = reader.range(kAll, {.as_of = versions[49]});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->ids.size(), 50u);
    EXPECT_EQ(found->version, versions[49]);
    EXPECT_EQ(found->access, Access::kOffload);
    EXPECT_EQ(reader.nearest({{0, 0}}, 1000, versions[9]).value().size(), 10u);
  }
  const auto requests = json::parse(reader.server_statistics().value().json)["requests"];
  EXPECT_EQ(requests.value("at", 0), 0) << requests;
  const Nanoseconds half_leases = (clock.now() - begun) / (server::kDefaultHoldLease / 2);
  EXPECT_LE(requests.value("hold", 0), 2 * (half_leases + 2))
      << "one for each version and half lease: " << requests;
}

/// Tried again if a busy machine was too slow for the reader: then it is rightly refused.
TEST_F(HistoryTest, HoldsAVersionForOneSidedReadersThoughItIsForgotten) {
  std::optional<Error> lost;
  EXPECT_TRUE(wait_until([&] {
    bool was_slow = false;
    lost = lose_a_held_version(was_slow);
    return !lost || !was_slow;
  }));
  EXPECT_FALSE(lost) << lost->message;
}

TEST_F(HistoryTest, ListsWhatChangedBetweenTwoVersions) {
  start({"--retain", "10min"});
  auto client = connect();
  const Version before = client.insert(1, kHere).value();
  ASSERT_TRUE(client.insert(2, kHere));
  ASSERT_TRUE(client.update(1, kHere, kThere));
  ASSERT_TRUE(client.insert(3, kHere));
  const Version after = client.erase(3, kHere).value();
  using Ids = std::vector<std::uint64_t>;
  const auto changes = client.difference(before, after).value();
  EXPECT_EQ(changes.from, before);
  EXPECT_EQ(changes.to, after);
  EXPECT_EQ(changes.inserted, Ids{2});
  EXPECT_EQ(changes.moved, Ids{1});
  EXPECT_EQ(changes.erased, Ids{});
  EXPECT_EQ(client.difference(after, before).value().erased, Ids{2});
}

TEST_F(HistoryTest, SaysThatItKeepsNothing) {
  start({});
  auto client = connect();
  ASSERT_TRUE(client.insert(1, kHere));
  const auto found = client.count(kAll, Predicate::kIntersects, 2);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("--retain"), std::string::npos) << found.error().message;
  EXPECT_TRUE(client.insert(2, kHere)) << "the connection goes on";
}

class BackupTest : public HistoryTest {};

/// One writer inserts ids one after the other while backups are taken: each copy must hold exactly
/// the ids up to some number, and the server that starts from it must be able to go on.
TEST_F(BackupTest, IsOneVersionThatAServerStartsFrom) {
  start({"--data", folder_ / "data", "--log-size", "1M"});
  auto client = connect();
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> acknowledged{0};
  std::jthread writer([&, url = server_->addresses()[0]] {
    auto other = Client<2>::connect(url, patient());
    for (std::uint64_t id = 0; !stop.load() && other->insert(id, kHere); ++id) {
      acknowledged.store(id + 1);
    }
  });
  while (acknowledged.load() < 50) std::this_thread::yield();
  const std::uint64_t before = acknowledged.load();
  const auto made = client.backup(folder_ / "copy");
  ASSERT_TRUE(made) << made.error().message;
  const auto again = client.backup(folder_ / "copy");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  stop.store(true);
  writer.join();
  EXPECT_EQ(server_->stop(), 0);
  const auto entries = made->entries;
  EXPECT_EQ(made->path, folder_ / "copy");
  EXPECT_GE(entries, before);
  start({"--data", folder_ / "copy"});
  auto reader = connect();
  auto found = reader.range(kAll);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->version, made->version);
  std::sort(found->ids.begin(), found->ids.end());
  ASSERT_EQ(found->ids.size(), entries);
  for (std::uint64_t id = 0; id < entries; ++id) ASSERT_EQ(found->ids[id], id);
  EXPECT_TRUE(reader.insert(1'000'000, kThere));
}

TEST_F(BackupTest, SaysWhyItCannotBeMade) {
  start({});
  auto client = connect();
  for (const std::string& path : {std::string("relative"), folder_ / "not/there"}) {
    const auto made = client.backup(path);
    ASSERT_FALSE(made);
    EXPECT_FALSE(made.error().message.empty());
  }
  // What another program keeps under the name of an unfinished backup is not removed.
  std::filesystem::create_directory(folder_ / "mine.partial");
  const auto taken = client.backup(folder_ / "mine");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "mine.partial"));
  EXPECT_TRUE(client.insert(1, kHere));
}

}  // namespace
}  // namespace silurus
