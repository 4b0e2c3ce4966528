// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/held_port.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"
#include "tests/support/small_disk.h"
#include "tests/support/tool.h"

// A real server on a disk that is full, and has room again.

namespace silurus {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing_support::ServerProcess;
using testing_support::SmallDisk;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

constexpr Box<2> kAllOfIt{{-1, -1}, {2, 2}};

class FullDiskTest : public testing::Test {
 protected:
  void start(const std::string& data, const std::function<void()>& enter,
             const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"--listen",   url(), "--data",   data,
                                       "--log-size", "1M",  "--memory", "256M"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(arguments, enter);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }
  std::string url() const { return "shm://" + (folder_ / "socket"); }
  void kill_it() {
    server_->signal(SIGKILL);
    server_->wait();
  }
  Client<2> connect() const {
    auto client = Client<2>::connect(url(), testing_support::patient());
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  static std::string state(Client<2>& client) {
    return nlohmann::json::parse(client.server_statistics().value().json)["state"];
  }
  /// Inserts the next entries at places all over the world; the error, if they are refused. Only
  /// what is acknowledged is counted.
  std::optional<Error> insert_some(Client<2>& client, std::uint64_t count) {
    WriteBatch<2> writes;
    for (std::uint64_t i = 0; i < count; ++i) {
      const double x = random_.uniform();
      const double y = random_.uniform();
      writes.insert(next_id_++, {{x, y}, {x, y}});
    }
    const auto answer = client.write(writes);
    if (!answer) return answer.error();
    EXPECT_TRUE(answer->failed.empty());
    acknowledged_ += count;
    return std::nullopt;
  }
  std::optional<Error> insert_until_refused(Client<2>& client) {
    for (int batch = 0; batch < 200; ++batch) {
      if (auto error = insert_some(client, 500)) return error;
    }
    return std::nullopt;
  }

  /// A server on a disk of its own that is full, has room, is full, and ends; `more`: options.
  void fill_and_make_room(const std::vector<std::string>& more) {
    const SmallDisk disk(48 << 20);
    if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
    const auto enter = [&] { disk.enter(); };
    start(disk.path() + "/data", enter, more);
    auto client = connect();
    ASSERT_FALSE(insert_some(client, 500));
    disk.fill();
    const auto refused = insert_until_refused(client);
    ASSERT_TRUE(refused) << "a log without end";
    EXPECT_EQ(refused->code, ErrorCode::kNoSpace) << refused->message;
    EXPECT_THAT(refused->message, HasSubstr("No space left on device"));
    EXPECT_THAT(refused->message, HasSubstr("make room on the disk of " + disk.path()));
    EXPECT_THAT(state(client), StartsWith("read-only: "));
    EXPECT_THAT(state(client), HasSubstr("No space left on device"));
    EXPECT_EQ(client.count(kAllOfIt).value(), acknowledged_) << "searches go on";
    const testing_support::Tool tool;
    const auto doctor = tool.run("doctor --card none --server " + url());
    EXPECT_THAT(doctor.out, HasSubstr("read-only: ")) << doctor.err;
    EXPECT_THAT(tool.run("--server " + url() + " stats").out, HasSubstr("\nstate: read-only: "));

    disk.make_room();
    EXPECT_TRUE(wait_until([&] { return state(client) == "serving"; })) << state(client);
    ASSERT_FALSE(insert_some(client, 500));
    // The same again, and this time the server is killed while it is full.
    disk.fill();
    ASSERT_TRUE(insert_until_refused(client));
    kill_it();
    // A primary begins each life with a record, for which a full log has no room.
    if (!more.empty()) disk.make_room();
    start(disk.path() + "/data", enter, more);
    auto again = connect();
    EXPECT_EQ(again.count(kAllOfIt).value(), acknowledged_) << "nothing more and nothing less";
    disk.make_room();
    EXPECT_TRUE(wait_until([&] { return !insert_some(again, 500); }));
    EXPECT_EQ(server_->stop(), 0);
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  Random random_{7};
  std::uint64_t next_id_ = 0;
  std::uint64_t acknowledged_ = 0;
};

TEST_F(FullDiskTest, RefusesWritesAtOnceAndGoesOnWhenThereIsRoom) { fill_and_make_room({}); }

TEST_F(FullDiskTest, SoDoesThePrimaryOfAGroup) {
  const testing_support::HeldPort port;
  fill_and_make_room({"--cluster", "static://" + port.host_and_port() + "/full", "--lead"});
}

TEST_F(FullDiskTest, ABulkLoadThatDoesNotFitIsRefusedAndSpoilsNothing) {
  const SmallDisk disk(48 << 20);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  const auto enter = [&] { disk.enter(); };
  start(disk.path() + "/data", enter);
  auto client = connect();
  const std::uint64_t free = disk.free_bytes();
  const auto entries_of = [&](std::uint64_t count) {
    std::vector<Entry<2>> entries(count);
    for (std::uint64_t id = 0; id < count; ++id) {
      const double x = random_.uniform();
      entries[id] = {1'000'000 + id, {{x, x}, {x, x}}};
    }
    return entries;
  };
  const auto refused = client.load(entries_of(1'500'000));
  ASSERT_FALSE(refused) << "it takes more than the disk has";
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace) << refused.error().message;
  EXPECT_THAT(refused.error().message, HasSubstr("make room on the disk of "));
  EXPECT_EQ(disk.free_bytes(), free) << "what was taken for it is given back";
  EXPECT_EQ(state(client), "serving");
  const auto stats = nlohmann::json::parse(client.server_statistics().value().json);
  EXPECT_FALSE(stats.at("durability").at("checkpoints").contains("failing")) << stats.dump();
  EXPECT_EQ(client.count(kAllOfIt).value(), 0u);
  ASSERT_FALSE(insert_some(client, 1));
  kill_it();
  start(disk.path() + "/data", enter);
  auto again = connect();
  EXPECT_EQ(again.count(kAllOfIt).value(), 1u);
  ASSERT_FALSE(insert_some(again, 100)) << "it may be loaded by inserts, as far as there is room";
}

TEST_F(FullDiskTest, ALoadThatFitsFollowsOneThatDidNot) {
  const SmallDisk disk(48 << 20);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  start(disk.path() + "/data", [&] { disk.enter(); });
  auto client = connect();
  std::vector<Entry<2>> entries(1'500'000);
  for (std::uint64_t id = 0; id < entries.size(); ++id) {
    const double x = random_.uniform();
    entries[id] = {id, {{x, x}, {x, x}}};
  }
  ASSERT_FALSE(client.load(entries));
  entries.resize(100'000);
  const auto loaded = client.load(entries);
  ASSERT_TRUE(loaded) << loaded.error().message;
  kill_it();
  start(disk.path() + "/data", [&] { disk.enter(); });
  auto again = connect();
  EXPECT_EQ(again.count(kAllOfIt).value(), entries.size());
}

TEST_F(FullDiskTest, ABackupSaysThatItsDiskIsFull) {
  const SmallDisk disk(12 << 20);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  start(folder_ / "data", [&] { disk.enter(); });
  auto client = connect();
  ASSERT_FALSE(insert_some(client, 500));
  for (const std::uint64_t left : {0u, 1u << 19, 2u << 20}) {  // for no folder, no log, no tree
    disk.fill(left);
    const std::uint64_t free = disk.free_bytes();
    const testing_support::Tool tool;
    const auto backup = tool.run("--server " + url() + " backup " + disk.path() + "/monday");
    EXPECT_NE(backup.status, 0);
    EXPECT_THAT(backup.err, HasSubstr("make room on the disk of ")) << backup.out;
    EXPECT_TRUE(std::filesystem::directory_iterator(disk.seen_path())->path().filename() ==
                "filler")
        << "no draft is left";
    EXPECT_EQ(disk.free_bytes(), free);
    disk.make_room();
  }
  ASSERT_FALSE(insert_some(client, 500)) << "it is another disk";
}

/// A limit of file sizes is met by the log itself, in the middle of which it lies.
TEST_F(FullDiskTest, ALogThatCannotBeWrittenTakesItsBatchBack) {
  start(folder_ / "data", {});
  auto client = connect();
  const auto stats = nlohmann::json::parse(client.server_statistics().value().json);
  if (stats["durability"]["medium"] != "disk") GTEST_SKIP() << "/tmp is not on a disk here";
  ASSERT_FALSE(insert_some(client, 10));
  rlimit before{};
  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit limit{32 << 10, before.rlim_max};
  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_FSIZE, &limit, nullptr), 0);
  const auto refused = insert_until_refused(client);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, ErrorCode::kNoSpace) << refused->message;
  EXPECT_THAT(refused->message, HasSubstr("File too large"));
  EXPECT_THAT(state(client), StartsWith("read-only: "));
  EXPECT_EQ(client.count(kAllOfIt).value(), acknowledged_);
  ASSERT_TRUE(insert_some(client, 500)) << "the next one is refused, too";

  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_FSIZE, &before, nullptr), 0);
  ASSERT_FALSE(insert_some(client, 500));
  EXPECT_EQ(state(client), "serving");
  EXPECT_EQ(client.count(kAllOfIt).value(), acknowledged_) << "what was refused is not shown";
  kill_it();
  start(folder_ / "data", {});
  auto again = connect();
  EXPECT_EQ(again.count(kAllOfIt).value(), acknowledged_);
}

}  // namespace
}  // namespace silurus
