// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// Several collections of one real server, over all ways to it.

namespace silurus {
namespace {

using testing_support::pace;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;
using testing_support::wait_until;

constexpr Box<2> kAll{{-1, -1}, {1e6, 1e6}};
Box<2> box_at(std::uint64_t id) {
  const auto at = static_cast<double>(id);
  return {{at, at}, {at + 0.5, at + 0.5}};
}

class CollectionsTest : public testing::Test {
 protected:
  void start(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"--listen",    "shm://" + (folder_ / "socket"),
                                       "--listen",    "tcp://127.0.0.1:0",
                                       "--log-level", "error",
                                       "--memory",    "256M"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_EQ(server_->addresses().size(), 2u) << server_->errors();
  }
  Client<2> connect(const std::string& collection = {}, Mode mode = Mode::kMessaging,
                    std::size_t address = 0) {
    ClientOptions options = patient();
    options.collection = collection;
    options.mode = mode;
    auto client = Client<2>::connect(server_->addresses().at(address), options);
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  void fill(const std::string& collection, std::uint64_t first, std::uint64_t count) {
    std::vector<Entry<2>> entries;
    for (std::uint64_t id = first; id < first + count; ++id) entries.push_back({id, box_at(id)});
    const auto loaded = connect(collection).load(entries);
    ASSERT_TRUE(loaded) << loaded.error().message;
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(CollectionsTest, AreReadAndWrittenByAllWaysToTheServer) {
  start();
  auto client = connect();
  ASSERT_TRUE(client.create_collection("roads"));
  ASSERT_TRUE(connect("roads").insert(7, box_at(7)));
  ASSERT_TRUE(connect("roads", Mode::kMessaging, 1).insert(8, box_at(8)));
  EXPECT_EQ(connect("roads", Mode::kOffload).count(kAll).value(), 2u);
  EXPECT_EQ(connect("roads", Mode::kMessaging, 1).count(kAll).value(), 2u);
  EXPECT_EQ(connect("roads", Mode::kOffload).nearest({{0, 0}}, 9)->neighbors.size(), 2u);
  EXPECT_EQ(client.count(kAll).value(), 0u);
}

TEST_F(CollectionsTest, AreListedWithWhatTheyHold) {
  start();
  auto client = connect();
  ASSERT_TRUE(client.create_collection("roads"));
  ASSERT_TRUE(client.annotate_collection("roads", "of 2026"));
  fill("roads", 1, 100);
  const auto listed = client.collections();
  ASSERT_TRUE(listed) << listed.error().message;
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_EQ(listed->at(0).name, "default");
  EXPECT_EQ(listed->at(1).name, "roads");
  EXPECT_EQ(listed->at(1).entries, 100u);
  EXPECT_EQ(listed->at(1).dimensions, 2u);
  EXPECT_EQ(listed->at(1).note, "of 2026");
}

TEST_F(CollectionsTest, OneThatIsNotThereIsNamedInTheError) {
  start();
  ClientOptions options = patient();
  options.collection = "rivers";
  const auto client = Client<2>::connect(server_->addresses().at(0), options);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ErrorCode::kNoCollection);
  EXPECT_NE(client.error().message.find("'rivers'"), std::string::npos) << client.error().message;
}

TEST_F(CollectionsTest, ReadersOfOneThatIsDroppedAreToldSo) {
  start();
  auto client = connect();
  for (const Mode mode : {Mode::kMessaging, Mode::kOffload}) {
    ASSERT_TRUE(client.create_collection("roads"));
    auto reader = connect("roads", mode);
    ASSERT_TRUE(reader.insert(1, box_at(1)));
    for (int i = 0; i < 10; ++i) ASSERT_EQ(reader.count(kAll).value(), 1u);
    ASSERT_TRUE(client.drop_collection("roads"));
    const auto found = reader.count(kAll);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::kNoCollection) << found.error().message;
    const auto written = reader.insert(2, box_at(2));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kNoCollection) << written.error().message;
  }
}

TEST_F(CollectionsTest, ReadersOfOneThatIsReplacedGoOnWithTheOther) {
  start();
  auto client = connect();
  ASSERT_TRUE(client.create_collection("roads"));
  fill("roads", 0, 1000);
  std::atomic<bool> is_over{false};
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> last{0};
  std::vector<std::thread> readers;
  for (const Mode mode : {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive}) {
    readers.emplace_back([&, mode] {
      auto reader = connect("roads", mode);
      std::uint64_t before = 1000;
      while (!is_over) {
        const auto found = reader.count(kAll);
        // Whole, and never the one before again.
        if (!found || *found % 1000 != 0 || *found < before) {
          ADD_FAILURE() << (found ? std::to_string(*found) : found.error().message);
          ++wrong;
          return;
        }
        before = *found;
        last = before;
      }
    });
  }
  for (std::uint64_t thousands = 2; thousands <= 6 && wrong == 0; ++thousands) {
    ASSERT_TRUE(client.create_collection("roads-new"));
    fill("roads-new", 0, thousands * 1000);
    ASSERT_TRUE(client.rename_collection("roads-new", "roads", true));
    EXPECT_TRUE(wait_until([&] { return last == thousands * 1000 || wrong != 0; }));
  }
  is_over = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(CollectionsTest, GiveTheirMemoryBackWhenTheyAreDropped) {
  start({"--grace", "20ms"});
  auto client = connect();
  for (int round = 0; round < 40; ++round) {  // 10 MB in each round; 256 MB hold few of them
    ASSERT_TRUE(client.create_collection("roads")) << round;
    fill("roads", 0, 200'000);
    EXPECT_EQ(connect("roads", Mode::kOffload).count(kAll).value(), 200'000u);
    ASSERT_TRUE(client.drop_collection("roads"));
    if (HasFailure()) return;
  }
}

TEST_F(CollectionsTest, ThereMayBeAThousandAndTwentyFour) {
  start();
  auto client = connect();
  for (int i = 1; i < 1024; ++i) {
    const Status made = client.create_collection("c" + std::to_string(i));
    ASSERT_TRUE(made) << i << ": " << made.error().message;
  }
  const Status more = client.create_collection("more");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kTooLarge);
  ASSERT_TRUE(connect("c1023").insert(1, box_at(1)));
  EXPECT_EQ(connect("c1023", Mode::kOffload).count(kAll).value(), 1u);
  EXPECT_EQ(client.collections()->size(), 1024u);
}

TEST_F(CollectionsTest, AreAllInABackup) {
  start({"--data", folder_ / "data"});
  auto client = connect();
  ASSERT_TRUE(client.create_collection("roads"));
  fill("roads", 0, 500);
  ASSERT_TRUE(client.insert(1, box_at(1)));
  ASSERT_TRUE(client.backup(folder_ / "backup"));
  server_.reset();
  start({"--data", folder_ / "backup"});
  EXPECT_EQ(connect("roads").count(kAll).value(), 500u);
  EXPECT_EQ(connect().count(kAll).value(), 1u);
}

TEST_F(CollectionsTest, AreToldOfByTheTool) {
  start();
  const Tool tool;
  const std::string to = " --server " + server_->addresses().at(0);
  ASSERT_EQ(tool.run("create roads" + to).status, 0);
  ASSERT_EQ(tool.run("insert 7 1 1 2 2 -c roads" + to).status, 0);
  ASSERT_EQ(
      tool.shell("SILURUS_COLLECTION=roads " + Tool::program() + " insert 8 1 1 2 2" + to).status,
      0);
  const auto listed = tool.ask("collections" + to);
  ASSERT_EQ(listed["collections"].size(), 2u);
  const auto& roads = listed["collections"][1];
  EXPECT_EQ(roads["name"], "roads");
  EXPECT_EQ(roads["dimensions"], 2);
  EXPECT_EQ(roads["keyed"], false);
  EXPECT_EQ(roads["lonlat"], false);
  EXPECT_EQ(roads["records"], false);
  EXPECT_EQ(roads["entries"], 2);
  EXPECT_GT(roads["version"], 1);
  EXPECT_EQ(tool.ask("rename roads default --replace" + to)["to"], "default");
  EXPECT_EQ(tool.run("range 0 0 9 9 --count" + to).out, "2\n");
  const auto ran = tool.run("range 0 0 9 9 -c roads" + to);
  EXPECT_EQ(ran.status, 1);
  EXPECT_NE(ran.err.find("no such collection"), std::string::npos) << ran.err;
}

TEST_F(CollectionsTest, AreJoinedByTheTool) {
  start();
  const Tool tool;
  const std::string to = " --server " + server_->addresses().at(0);
  for (const char* name : {"roads", "rivers"}) {
    ASSERT_EQ(tool.run(std::string("create ") + name + to).status, 0);
  }
  ASSERT_EQ(tool.run("insert 7 1 1 2 2 -c roads" + to).status, 0);
  ASSERT_EQ(tool.run("insert 8 2 2 3 3 -c rivers" + to).status, 0);
  ASSERT_EQ(tool.run("insert 9 5 2 6 3 -c rivers" + to).status, 0);
  EXPECT_EQ(tool.run("join roads rivers" + to).out, "7 8\n");
  EXPECT_EQ(tool.run("join rivers roads --format csv" + to).out, "first,second\n8,7\n");
  EXPECT_EQ(tool.run("join roads rivers --within-distance 3 --count" + to).out, "2\n");
  EXPECT_EQ(tool.run("join roads rivers --within-distance 2.9 --count" + to).out, "1\n");
  const auto json = tool.ask("join roads rivers" + to);
  EXPECT_EQ(json["count"], 1);
  EXPECT_EQ(json["pairs"][0][0], 7);
  EXPECT_EQ(json["pairs"][0][1], 8);
  const auto missing = tool.run("join roads lakes" + to);
  EXPECT_EQ(missing.status, 1);
  EXPECT_NE(missing.err.find("lakes"), std::string::npos) << missing.err;
  EXPECT_EQ(tool.run("join roads" + to).status, 2);
  EXPECT_EQ(tool.run("join roads rivers --within-distance -1" + to).status, 2);
}

TEST_F(CollectionsTest, AreExportedAsOneVersionAndLoadedAgain) {
  start();
  const Tool tool;
  const std::string to = " --server " + server_->addresses().at(0);
  fill("default", 0, 20'000);
  std::jthread writing([&, client = connect()](const std::stop_token& stop) mutable {
    for (std::uint64_t i = 0; !stop.stop_requested(); ++i) {
      const std::uint64_t id = i % 20'000;
      // Bulk loads keep others from writing meanwhile.
      if (!client.erase(id, box_at(id))) continue;
      while (!client.insert(id, box_at(id)) && !stop.stop_requested()) {
      }
    }
  });
  for (const std::string format : {"csv", "npy"}) {
    const std::string file = folder_ / ("boxes." + format);
    const auto ran = tool.run("export --format " + format + " --output " + file + to);
    ASSERT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(tool.run("export --output " + file + to).status, 1) << "it is there";
    ASSERT_EQ(tool.run("create " + format + to).status, 0);
    const auto loaded = tool.run("load " + file + " -c " + format + to);
    ASSERT_EQ(loaded.status, 0) << loaded.err;
    auto again = connect(format);
    const auto found = again.range(kAll, {.shape = ResultShape::kEntries});
    ASSERT_TRUE(found);
    EXPECT_GE(found->count, 19'999u);
    for (std::size_t i = 0; i < found->ids.size(); ++i) {
      ASSERT_EQ(found->boxes[i], box_at(found->ids[i])) << format;
    }
  }
  const auto lines = tool.run("export -c csv --format geojsonseq" + to);
  EXPECT_GE(std::ranges::count(lines.out, '\n'), 19'999);
  EXPECT_NE(lines.out.find("\"geometry\":{\"type\":\"Polygon\""), std::string::npos);
}

/// While a writer takes one entry after the other out and puts it back: one at most is away.
TEST_F(CollectionsTest, AreJoinedAsOneVersionHasThem) {
  start();
  auto writer = connect("default");
  auto reader = connect("default");
  ASSERT_TRUE(writer.create_collection("other"));
  auto other = connect("other");
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 3000; ++id) {
    const auto x = static_cast<double>(id);
    entries.push_back({id, {{x, 0}, {x + 0.5, 1}}});
  }
  ASSERT_TRUE(writer.load(entries));
  ASSERT_TRUE(other.load(entries));
  std::jthread writing([&](const std::stop_token& stop) {
    for (std::uint64_t i = 0; !stop.stop_requested(); ++i) {
      const Entry<2>& one = entries[i % entries.size()];
      EXPECT_TRUE(writer.erase(one.id, one.box));
      EXPECT_TRUE(writer.insert(one.id, one.box));
    }
  });
  for (int round = 0; round < 50; ++round) {
    const auto found = reader.join("other");
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_GE(found->pairs.size(), entries.size() - 1) << round;
    for (const IdPair& pair : found->pairs) EXPECT_EQ(pair.first, pair.second);
  }
}

/// What a server's collections hold, by name.
using Model = std::map<std::string, std::set<std::uint64_t>>;

/// A server that is killed among writes and orders to its collections, in each of its lives.
class CollectionsKill : public CollectionsTest {
 protected:
  /// Does something at random, and tells the model. False: the server is gone, and `pending` is the
  /// model if it was done all the same.
  bool change(Random& random, Model& model, Model& pending) {
    pending = model;
    auto one = pending.begin();
    std::advance(one, static_cast<std::ptrdiff_t>(random.below(pending.size())));
    const std::string name = one->first;
    const std::string fresh = "c" + std::to_string(random.below(6));
    ClientOptions options = patient({.reconnect_for = 0});
    options.collection = name;
    options.mode = random.below(2) == 0 ? Mode::kMessaging : Mode::kAdaptive;
    auto client = Client<2>::connect(server_->addresses().at(0), options);
    if (!client) {
      pending = model;
      return false;
    }
    const auto done = [&]() -> Status {
      switch (random.below(12)) {
        case 0:
          if (!pending.try_emplace(fresh).second) return {};
          return client->create_collection(fresh);
        case 1:
          if (name == "default") return {};
          pending.erase(name);
          return client->drop_collection(name);
        case 2:
          one->second.clear();
          return client->clear_collection(name);
        case 3: {
          if (name == "default" || pending.contains(fresh)) return {};
          pending[fresh] = one->second;
          pending.erase(name);
          return client->rename_collection(name, fresh);
        }
        case 4: {
          if (name == "default" || name == fresh) return {};
          pending[fresh] = one->second;
          pending.erase(name);
          return client->rename_collection(name, fresh, true);
        }
        default: {
          WriteBatch<2> batch;
          for (std::uint64_t i = 1 + random.below(20); i > 0; --i) {
            const std::uint64_t id = random.below(500);
            if (one->second.erase(id) != 0) {
              batch.erase(id, box_at(id));
            } else {
              one->second.insert(id);
              batch.insert(id, box_at(id));
            }
          }
          const auto written = client->write(batch);
          return written ? Status() : fail(written.error());
        }
      }
    }();
    if (!done) return false;
    model = pending;
    return true;
  }
  Model found() {
    Model found;
    auto client = connect();
    const auto collections = client.collections();
    EXPECT_TRUE(collections);
    for (const CollectionInfo& info : *collections) {
      const auto mode = found.size() % 2 == 0 ? Mode::kOffload : Mode::kMessaging;
      const auto all = connect(info.name, mode).range(kAll);
      EXPECT_TRUE(all) << info.name;
      found[info.name] = {all->ids.begin(), all->ids.end()};
    }
    return found;
  }
};

TEST_F(CollectionsKill, NothingThatWasAcknowledgedIsLost) {
  const std::uint64_t seed = testing_support::fresh_seed();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  Random random(seed);
  Model model{{"default", {}}};
  for (int life = 0; life < 6; ++life) {
    start({"--data", folder_ / "data", "--log-size", "1M"});
    ASSERT_EQ(found(), model) << "life " << life;
    std::jthread killer([&, wait = 20 + static_cast<Nanoseconds>(random.below(400))] {
      pace(wait * kMillisecond);  // pacing: the moment of the kill is to be any
      server_->signal(SIGKILL);
    });
    Model pending;
    while (change(random, model, pending)) {
    }
    killer.join();
    server_.reset();
    start({"--data", folder_ / "data", "--log-size", "1M"});
    const Model now = found();
    EXPECT_TRUE(now == model || now == pending) << "life " << life;
    if (HasFailure()) return;
    model = now;
    server_.reset();
  }
}

}  // namespace
}  // namespace silurus
