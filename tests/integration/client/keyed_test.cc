// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// A keyed collection of one real server, where an id is unique.

namespace silurus {
namespace {

using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

Box<2> point_at(double x, double y) { return {{x, y}, {x, y}}; }

class KeyedTest : public testing::Test {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"--listen",    "shm://" + (folder_ / "socket"),
                                       "--listen",    "tcp://127.0.0.1:0",
                                       "--log-level", "error",
                                       "--memory",    "256M"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_EQ(server_->addresses().size(), 2u) << server_->errors();
  }
  /// The server with an empty keyed collection "buses".
  void start_with_buses(const std::vector<std::string>& more = {}) {
    start(more);
    const Status made = connect("").create_collection("buses", {.keyed = true});
    ASSERT_TRUE(made) << made.error().message;
  }
  Client<2> connect(const std::string& collection = "buses", std::size_t address = 0,
                    Mode mode = ClientOptions().mode) {
    ClientOptions options = patient();
    options.collection = collection;
    options.mode = mode;
    auto client = Client<2>::connect(server_->addresses().at(address), options);
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  static GetAnswer<2> get(Client<2>& client, std::vector<std::uint64_t> ids, Moment as_of = 0) {
    auto found = client.get(ids, as_of);
    EXPECT_TRUE(found) << found.error().message;
    return found ? std::move(*found) : GetAnswer<2>();
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(KeyedTest, EntriesArePutReadMovedAndTakenOutByTheirIds) {
  start_with_buses();
  for (const std::size_t address : {0u, 1u}) {
    Client<2> buses = connect("buses", address);
    EXPECT_TRUE(buses.is_keyed());
    const auto first = buses.put(7, point_at(1, 2));
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_FALSE(first->replaced);
    const auto second = buses.put(7, {{3, 4}, {5, 6}});
    ASSERT_TRUE(second);
    EXPECT_TRUE(second->replaced);
    EXPECT_GT(second->version, first->version);
    const GetAnswer<2> found = get(buses, {9, 7, 8});
    ASSERT_EQ(found.entries.size(), 1u);
    EXPECT_EQ(found.entries[0], (KeyedEntry<2>{7, {{3, 4}, {5, 6}}, second->version}));
    EXPECT_EQ(found.missing, (std::vector<std::uint64_t>{9, 8}));
    EXPECT_EQ(buses.range({{0, 0}, {9, 9}})->ids, (std::vector<std::uint64_t>{7}));
    EXPECT_EQ(buses.count({{1, 2}, {1, 2}}).value(), 0u) << "where it was";
    const auto third = buses.update(7, point_at(8, 8));
    ASSERT_TRUE(third);
    EXPECT_EQ(get(buses, {7}).entries.at(0).version, *third);
    ASSERT_TRUE(buses.erase(7));
    EXPECT_TRUE(get(buses, {7}).entries.empty());
    EXPECT_EQ(buses.count({{0, 0}, {9, 9}}).value(), 0u);
  }
}

TEST_F(KeyedTest, ConditionsAreKept) {
  start_with_buses();
  Client<2> buses = connect();
  const Version first = buses.put(7, point_at(1, 1))->version;
  const Version second = buses.put(7, point_at(2, 2), {first})->version;
  ASSERT_GT(second, first);
  buses.put(8, point_at(3, 3)).value();  // another one's version is no reason
  const auto expect = [&](const auto& result, ErrorCode code, std::string_view says) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(says), std::string::npos) << result.error().message;
  };
  expect(buses.put(7, point_at(0, 0), {first}), ErrorCode::kConflict,
         "not written last in version");
  expect(buses.update(7, point_at(0, 0), IfVersion{first}), ErrorCode::kConflict,
         "not written last in version");
  expect(buses.erase(7, IfVersion{first}), ErrorCode::kConflict, "not written last in version");
  expect(buses.put(9, point_at(0, 0), {first}), ErrorCode::kNotFound, "id 9");
  expect(buses.update(9, point_at(0, 0)), ErrorCode::kNotFound, "no entry of that id");
  expect(buses.erase(9), ErrorCode::kNotFound, "no entry of that id");
  expect(buses.insert(7, point_at(0, 0)), ErrorCode::kConflict, "already");
  EXPECT_EQ(get(buses, {7}).entries.at(0), (KeyedEntry<2>{7, point_at(2, 2), second}));
  const Version third = buses.update(7, point_at(4, 4), IfVersion{second}).value();
  EXPECT_TRUE(buses.erase(7, IfVersion{third}));
  EXPECT_TRUE(buses.insert(7, point_at(0, 0)));
}

TEST_F(KeyedTest, ABatchSaysWhatItReplacedAndWhatFailed) {
  start_with_buses();
  Client<2> buses = connect();
  buses.put(1, point_at(1, 1)).value();
  WriteBatch<2> batch;
  batch.put(1, point_at(5, 5)).put(2, point_at(2, 2)).update(3, point_at(3, 3)).erase(4);
  batch.insert(2, point_at(9, 9)).put(2, point_at(6, 6)).erase(1);
  const auto done = buses.write(batch);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->replaced, (std::vector<std::size_t>{0, 5}));
  ASSERT_EQ(done->failed.size(), 3u);
  const std::array<std::pair<std::size_t, ErrorCode>, 3> failed{
      {{2, ErrorCode::kNotFound}, {3, ErrorCode::kNotFound}, {4, ErrorCode::kConflict}}};
  for (std::size_t i = 0; i < failed.size(); ++i) {
    EXPECT_EQ(done->failed[i].index, failed[i].first);
    EXPECT_EQ(done->failed[i].code, failed[i].second);
  }
  const GetAnswer<2> found = get(buses, {1, 2});
  ASSERT_EQ(found.entries.size(), 1u);
  EXPECT_EQ(found.entries[0], (KeyedEntry<2>{2, point_at(6, 6), done->version}));
}

TEST_F(KeyedTest, ABagHasNone) {
  start();
  Client<2> bag = connect("");
  EXPECT_FALSE(bag.is_keyed());
  const std::vector<std::uint64_t> ids{1};
  for (const ErrorCode code :
       {bag.get(ids).error().code, bag.put(1, point_at(0, 0)).error().code,
        bag.update(1, point_at(0, 0)).error().code, bag.erase(1).error().code}) {
    EXPECT_EQ(code, ErrorCode::kUnsupported);
  }
  ASSERT_TRUE(bag.insert(1, point_at(0, 0)));
  EXPECT_TRUE(bag.insert(1, point_at(0, 0))) << "ids need not be unique";
}

/// What a writer was told is there for every reader that asks after that, and for one reader time
/// does not go back: a look-up takes effect between its beginning and its end.
TEST_F(KeyedTest, ReadOneSidedlyEntriesAreAsNewAsWhatWasAcknowledged) {
  start_with_buses();
  constexpr std::uint64_t kIds = 20'000;
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < kIds; ++id) entries.push_back({id, point_at(0, 0)});
  ASSERT_TRUE(connect().load(entries));
  constexpr std::array<std::uint64_t, 4> kWritten{5, 6, 9'000, kIds - 1};
  std::array<std::atomic<double>, kWritten.size()> acknowledged{};
  std::vector<std::jthread> writing;
  for (std::size_t w = 0; w < kWritten.size(); ++w) {
    writing.emplace_back([&, w, client = connect()](const std::stop_token& stop) mutable {
      for (double x = 1; !stop.stop_requested(); ++x) {
        ASSERT_TRUE(client.put(kWritten[w], point_at(x, x)));
        acknowledged[w].store(x, std::memory_order_release);  // pairs with the reader's load
      }
    });
  }
  Client<2> buses = connect("buses", 0, Mode::kOffload);
  Version newest = 0;
  std::array<double, kWritten.size()> seen{};
  for (int i = 0; i < 3'000; ++i) {
    std::array<double, kWritten.size()> before;
    for (std::size_t w = 0; w < before.size(); ++w) {
      before[w] = acknowledged[w].load(std::memory_order_acquire);  // pairs with the writer's store
    }
    const GetAnswer<2> found = get(buses, {kWritten.begin(), kWritten.end()});
    ASSERT_EQ(found.entries.size(), kWritten.size());
    ASSERT_GE(found.version, newest);
    newest = found.version;
    for (std::size_t w = 0; w < before.size(); ++w) {
      const double x = found.entries[w].box.min[0];
      ASSERT_GE(x, before[w]);
      ASSERT_GE(x, seen[w]);
      ASSERT_LE(found.entries[w].version, found.version);
      seen[w] = x;
    }
  }
  writing.clear();
  const ClientStatistics statistics = buses.statistics();
  EXPECT_GT(statistics.offload.completed, 2'900u) << "the others were given back";
  // What is read one-sidedly is what is told by message.
  std::vector<std::uint64_t> ids;
  for (std::uint64_t id = 0; id < kIds + 10; id += 7) ids.push_back(id);
  Client<2> asking = connect("buses", 0, Mode::kMessaging);
  const GetAnswer<2> told = get(asking, ids);
  const GetAnswer<2> read = get(buses, ids);
  EXPECT_EQ(read.entries, told.entries);
  EXPECT_EQ(read.missing, told.missing);
  EXPECT_EQ(read.version, told.version);
  EXPECT_EQ(read.access, Access::kOffload);
  EXPECT_EQ(told.access, Access::kMessaging);
}

/// A reader of one-sided reads is told that its collection is gone, as one that asks by message is.
TEST_F(KeyedTest, ReadOneSidedlyACollectionThatIsGoneOrReplacedIsNotReadOn) {
  start_with_buses();
  connect().put(1, point_at(1, 1)).value();
  Client<2> buses = connect("buses", 0, Mode::kOffload);
  ASSERT_EQ(get(buses, {1}).entries.size(), 1u);
  Client<2> operating = connect("");
  ASSERT_TRUE(operating.create_collection("bag", {}));
  ASSERT_TRUE(operating.rename_collection("bag", "buses", true));
  const std::vector<std::uint64_t> ids{1};
  EXPECT_EQ(buses.get(ids).error().code, ErrorCode::kUnsupported) << "it is a bag now";
  ASSERT_TRUE(operating.drop_collection("buses"));
  EXPECT_EQ(buses.get(ids).error().code, ErrorCode::kNoCollection);
}

/// More than one request takes, of all of one version, however they are asked.
TEST_F(KeyedTest, ManyAreReadAtOneVersion) {
  // The writer makes many versions between two requests where there are few cores.
  start_with_buses({"--retain", "10min", "--retain-versions", "4096", "--memory", "2G"});
  constexpr std::uint64_t kIds = 2'000;
  std::vector<Entry<2>> entries;
  std::vector<std::uint64_t> ids;
  for (std::uint64_t id = 0; id < kIds; ++id) {
    entries.push_back({id * 7, point_at(0, 0)});
    ids.push_back(id * 7);
    ids.push_back(id * 7 + 1);
  }
  Client<2> buses = connect();
  ASSERT_TRUE(buses.load(entries));
  std::jthread writing([client = connect(), &entries](const std::stop_token& stop) mutable {
    for (double x = 1; !stop.stop_requested(); ++x) {
      // The first and the last one move together.
      WriteBatch<2> batch;
      batch.put(entries.front().id, point_at(x, x)).put(entries.back().id, point_at(x, x));
      EXPECT_TRUE(client.write(batch));
    }
  });
  for (int round = 0; round < 30; ++round) {
    const GetAnswer<2> found = get(buses, ids);
    ASSERT_EQ(found.entries.size(), kIds);
    ASSERT_EQ(found.missing.size(), kIds);
    EXPECT_EQ(found.entries.front().box, found.entries.back().box);
    for (const KeyedEntry<2>& entry : found.entries) EXPECT_LE(entry.version, found.version);
  }
}

/// More than one request takes, of a server that keeps no old versions.
TEST_F(KeyedTest, ManyAreReadWhileSomebodyWritesNowAndThen) {
  start_with_buses();
  std::vector<Entry<2>> entries;
  std::vector<std::uint64_t> ids;
  for (std::uint64_t id = 0; id < 3'000; ++id) {
    entries.push_back({id, point_at(0, 0)});
    ids.push_back(id);
  }
  Client<2> buses = connect();
  ASSERT_TRUE(buses.load(entries));
  for (double x = 1; x < 20; ++x) {
    ASSERT_TRUE(buses.put(7, point_at(x, x)));
    const GetAnswer<2> found = get(buses, ids);
    ASSERT_EQ(found.entries.size(), ids.size());
    EXPECT_EQ(found.entries[7].box, point_at(x, x));
  }
}

TEST_F(KeyedTest, OldVersionsAreReadToo) {
  start_with_buses({"--retain", "10min"});
  Client<2> buses = connect();
  const Version first = buses.put(1, point_at(1, 1))->version;
  const Version second = buses.put(1, point_at(2, 2))->version;
  buses.erase(1).value();
  EXPECT_EQ(get(buses, {1}, first).entries.at(0), (KeyedEntry<2>{1, point_at(1, 1), first}));
  EXPECT_EQ(get(buses, {1}, second).entries.at(0), (KeyedEntry<2>{1, point_at(2, 2), second}));
  EXPECT_TRUE(get(buses, {1}).entries.empty());
  const std::vector<std::uint64_t> ids{1};
  EXPECT_FALSE(buses.get(ids, second + 1'000));
}

/// Each of them adds one to the same entry, as often as it likes: what one writes no other undoes.
TEST_F(KeyedTest, WritersThatGoByVersionsLoseNothingOfEachOther) {
  start_with_buses();
  connect().put(1, point_at(0, 0)).value();
  constexpr int kWriters = 4;
  constexpr int kTimes = 200;
  std::atomic<std::uint64_t> conflicts{0};
  std::vector<std::jthread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, client = connect()]() mutable {
      for (int done = 0; done < kTimes;) {
        const KeyedEntry<2> now = get(client, {1}).entries.at(0);
        const double next = now.box.min[0] + 1;
        const auto put = client.put(1, point_at(next, 0), {now.version});
        if (put) {
          ++done;
        } else {
          ASSERT_EQ(put.error().code, ErrorCode::kConflict) << put.error().message;
          ++conflicts;
        }
      }
    });
  }
  writers.clear();
  Client<2> buses = connect();
  EXPECT_EQ(get(buses, {1}).entries.at(0).box.min[0], kWriters * kTimes);
  EXPECT_GT(conflicts.load(), 0u) << "none of them met another: nothing was tried";
}

TEST_F(KeyedTest, ABulkLoadRefusesAnIdThatIsThereTwice) {
  start_with_buses();
  Client<2> buses = connect();
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 2'000; ++id) entries.push_back({id, point_at(1, 1)});
  entries.push_back({1'234, point_at(2, 2)});
  const auto refused = buses.load(entries);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_NE(refused.error().message.find("1234"), std::string::npos) << refused.error().message;
  entries.pop_back();
  ASSERT_TRUE(buses.load(entries));
  EXPECT_EQ(get(buses, {1'234}).entries.at(0).box, point_at(1, 1));
}

TEST_F(KeyedTest, DegreesAreToldAsTheyWereGiven) {
  start();
  ASSERT_TRUE(connect("").create_collection("cities", {.keyed = true, .lonlat = true}));
  Client<2> cities = connect("cities");
  const Box<2> fiji{{177, -19}, {-179, -16}};
  ASSERT_TRUE(cities.put(1, fiji));
  const Box<2> told = get(cities, {1}).entries.at(0).box;
  for (int d = 0; d < 2; ++d) {
    EXPECT_NEAR(told.min[d], fiji.min[d], 1e-9);
    EXPECT_NEAR(told.max[d], fiji.max[d], 1e-9);
  }
  ASSERT_TRUE(cities.update(1, point_at(180, 0)));
  EXPECT_EQ(cities.count({{179, -1}, {-179, 1}}).value(), 1u);
  EXPECT_FALSE(cities.put(2, point_at(200, 0)));
}

TEST_F(KeyedTest, ReadersOfOneThatIsDroppedAreToldSo) {
  start_with_buses();
  Client<2> buses = connect();
  buses.put(1, point_at(1, 1)).value();
  ASSERT_TRUE(connect("").drop_collection("buses"));
  const std::vector<std::uint64_t> ids{1};
  EXPECT_EQ(buses.get(ids).error().code, ErrorCode::kNoCollection);
  EXPECT_EQ(buses.put(1, point_at(0, 0)).error().code, ErrorCode::kNoCollection);
}

TEST_F(KeyedTest, MemoryComesBack) {
  start({"--grace", "20ms"});
  Client<2> client = connect("");
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 200'000; ++id) {
    entries.push_back({id, point_at(static_cast<double>(id), 1)});
  }
  for (int round = 0; round < 30; ++round) {  // some 15 MB each, of which 256 hold few
    ASSERT_TRUE(client.create_collection("buses", {.keyed = true})) << round;
    Client<2> buses = connect();
    const auto loaded = buses.load(entries);
    ASSERT_TRUE(loaded) << round << ": " << loaded.error().message;
    EXPECT_EQ(get(buses, {77'777}).entries.size(), 1u);
    const Status gone = round % 2 == 0 ? client.drop_collection("buses")
                                       : client.rename_collection("buses", "old", round > 1);
    ASSERT_TRUE(gone) << gone.error().message;
  }
}

TEST_F(KeyedTest, IsServedByTheTool) {
  start();
  const Tool tool;
  const std::string to = " -c buses --server " + server_->addresses().at(0);
  ASSERT_EQ(tool.run("create buses --keyed --server " + server_->addresses().at(0)).status, 0);
  EXPECT_EQ(tool.ask("collections" + to)["collections"][0]["keyed"], true);
  const auto first = tool.ask("put 5 1 2" + to);
  EXPECT_EQ(first["inserted"], 1);
  const auto second = tool.ask("put 5 1 2 3 4" + to);
  EXPECT_EQ(second["replaced"], 1);
  const auto got = tool.run("get 5 6 --format json" + to);
  EXPECT_EQ(got.status, 1) << "one is missing";
  EXPECT_NE(got.err.find("id 6"), std::string::npos) << got.err;
  const auto parsed = nlohmann::json::parse(got.out);
  EXPECT_EQ(parsed["count"], 1);
  const nlohmann::json entry{
      {"id", 5}, {"min", {1, 2}}, {"max", {3, 4}}, {"version", second["version"]}};
  EXPECT_EQ(parsed["entries"], nlohmann::json::array({entry}));
  EXPECT_EQ(parsed["missing"], nlohmann::json::array({6}));
  const std::string version = second["version"].dump();
  EXPECT_EQ(tool.run("get 5" + to).out, "5 1 2 3 4 " + version + "\n");
  EXPECT_EQ(tool.run("get 5 --format csv" + to).out,
            "id,xmin,ymin,xmax,ymax,version\n5,1,2,3,4," + version + "\n");
  EXPECT_EQ(tool.run("put 5 9 9 --if-absent" + to).status, 1);
  EXPECT_EQ(tool.run("put 5 9 9 --if-version " + first["version"].dump() + to).status, 1);
  EXPECT_EQ(tool.run("put 5 9 9 --if-version " + version + to).status, 0);
  EXPECT_EQ(tool.run("put 6 0 0 --if-absent" + to).status, 0);
  EXPECT_EQ(tool.run("update 6 0 0 1 1" + to).status, 0);
  EXPECT_EQ(tool.run("update 7 0 0 1 1" + to).status, 1);
  EXPECT_EQ(tool.run("update 6 0 0 1 1 to 2 2 3 3" + to).status, 0) << "by its old box";
  const auto erased = tool.run("erase 5 6 7 --format json" + to);
  EXPECT_EQ(erased.status, 1);
  EXPECT_EQ(nlohmann::json::parse(erased.out)["ids"], nlohmann::json::array({5, 6}));
  EXPECT_EQ(tool.run("range 0 0 99 99 --count" + to).out, "0\n");
  // What makes no sense is a mistake in the command line.
  EXPECT_EQ(tool.run("put 5" + to).status, 2);
  EXPECT_EQ(tool.run("get" + to).status, 2);
  EXPECT_EQ(tool.run("get five" + to).status, 2);
  EXPECT_EQ(tool.run("put 5 1 1 --if-absent --if-version 3" + to).status, 2);
}

/// What is acknowledged is there, in the versions that were told, after each death.
class KeyedKill : public KeyedTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(KeyedKill, LosesNoEntryAndNoVersion) {
  Random random(testing_support::seed(GetParam()));
  const std::vector<std::string> durable{"--data", folder_ / "data",        "--log-size",
                                         "16M",    "--checkpoint-interval", "1s"};
  start_with_buses(durable);
  std::map<std::uint64_t, KeyedEntry<2>> model;
  for (int life = 0; life < 4; ++life) {
    Client<2> buses = connect();
    std::vector<std::uint64_t> ids;
    for (std::uint64_t id = 0; id < 600; ++id) ids.push_back(id);
    const GetAnswer<2> found = get(buses, ids);
    ASSERT_EQ(found.entries.size(), model.size()) << "life " << life;
    auto expected = model.begin();
    for (const KeyedEntry<2>& entry : found.entries) ASSERT_EQ(entry, (expected++)->second);
    ASSERT_EQ(buses.count({{-1, -1}, {2, 2}}).value(), model.size());
    const int writes = 300 + static_cast<int>(random.below(1'000));
    for (int write = 0; write < writes; ++write) {
      WriteBatch<2> batch;
      std::map<std::uint64_t, Box<2>> put;
      std::vector<std::uint64_t> erased;
      for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
        const std::uint64_t id = random.below(600);
        if (put.contains(id)) continue;
        if (random.below(4) == 0) {
          batch.erase(id);
          erased.push_back(id);
        } else {
          put[id] = point_at(random.uniform(), random.uniform());
          batch.put(id, put[id]);
        }
      }
      // In the order of the batch: an id that is erased is not put before it.
      const auto done = buses.write(batch);
      ASSERT_TRUE(done) << done.error().message;
      for (const std::uint64_t id : erased) model.erase(id);
      for (const auto& [id, box] : put) model[id] = {id, box, done->version};
    }
    server_->signal(SIGKILL);
    server_->wait();
    start(durable);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, KeyedKill, testing::Range<std::uint64_t>(1, 3));

}  // namespace
}  // namespace silurus
