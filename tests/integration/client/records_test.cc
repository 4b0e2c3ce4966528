// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
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

// A collection of one real server whose entries carry records.

namespace silurus {
namespace {

using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

/// A point, as well-known binary.
std::string geometry_at(double x, double y) {
  std::string bytes("\x01\x01\x00\x00\x00", 5);
  for (const double coordinate : {x, y}) {
    bytes.append(reinterpret_cast<const char*>(&coordinate), sizeof coordinate);
  }
  return bytes;
}

/// An object of about that many bytes.
std::string properties_of(std::size_t bytes, char letter = 'a') {
  return R"({"t":")" + std::string(bytes, letter) + R"("})";
}

Box<2> place(double x, double y) { return {{x, y}, {x, y}}; }

class RecordsTest : public testing::Test {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"--listen",    "shm://" + (folder_ / "socket"),
                                       "--listen",    "tcp://127.0.0.1:0",
                                       "--log-level", "error",
                                       "--memory",    "1G"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_EQ(server_->addresses().size(), 2u) << server_->errors();
  }
  /// The server with an empty collection "ports".
  void start_with_ports(const std::vector<std::string>& more = {}) {
    start(more);
    const Status made = connect("").create_collection("ports", {.records = true});
    ASSERT_TRUE(made) << made.error().message;
  }
  Client<2> connect(const std::string& collection = "ports", std::size_t address = 0) {
    ClientOptions options = patient();
    options.collection = collection;
    auto client = Client<2>::connect(server_->addresses().at(address), options);
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  static GetAnswer<2> get(Client<2>& client, std::vector<std::uint64_t> ids, Moment as_of = 0) {
    auto found = client.get(ids, as_of, true);
    EXPECT_TRUE(found) << found.error().message;
    return found ? std::move(*found) : GetAnswer<2>();
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(RecordsTest, ComeBackAsTheyWereWritten) {
  start_with_ports();
  for (const std::size_t address : {0u, 1u}) {
    Client<2> ports = connect("ports", address);
    EXPECT_TRUE(ports.has_records());
    EXPECT_TRUE(ports.is_keyed()) << "a record is found by the id of its entry";
    const Record hamburg{geometry_at(10, 53.5), R"({"name":"Hamburg"})"};
    ASSERT_TRUE(ports.put(1, place(10, 53.5), hamburg));
    ASSERT_TRUE(ports.put(2, place(4, 52),
                          Record{.properties = "{ \"name\" : \"Rotterdam\",\n\"a\": [1, 2]}"}));
    ASSERT_TRUE(ports.put(3, place(5, 51), Record{.geometry = geometry_at(5, 51)}));
    ASSERT_TRUE(ports.put(4, place(6, 50)));
    const GetAnswer<2> found = get(ports, {4, 9, 1, 3, 2});
    ASSERT_EQ(found.entries.size(), 4u);
    ASSERT_EQ(found.records.size(), 4u);
    EXPECT_EQ(found.entries[1].id, 1u);
    EXPECT_TRUE(found.records[0].empty());
    EXPECT_EQ(found.records[1], hamburg);
    EXPECT_EQ(found.records[2].geometry, geometry_at(5, 51));
    EXPECT_EQ(found.records[2].properties, "");
    EXPECT_EQ(found.records[3].properties, R"({"name":"Rotterdam","a":[1,2]})");
    EXPECT_EQ(found.missing, (std::vector<std::uint64_t>{9}));
    const auto bare = ports.get(std::vector<std::uint64_t>{1});
    ASSERT_TRUE(bare);
    EXPECT_TRUE(bare->records.empty()) << "not asked for";
    for (const std::uint64_t id : {1, 2, 3, 4}) ASSERT_TRUE(ports.erase(id));
  }
}

TEST_F(RecordsTest, StayWithAnUpdateAndGoWithAPut) {
  start_with_ports();
  Client<2> ports = connect();
  const Record record{.properties = properties_of(5000)};
  ASSERT_TRUE(ports.put(1, place(1, 1), record));
  ASSERT_TRUE(ports.update(1, place(2, 2)));
  EXPECT_EQ(get(ports, {1}).records.at(0), record);
  const Record other{.properties = properties_of(20)};
  ASSERT_TRUE(ports.put(1, place(2, 2), other));
  EXPECT_EQ(get(ports, {1}).records.at(0), other);
  ASSERT_TRUE(ports.put(1, place(2, 2)));
  EXPECT_TRUE(get(ports, {1}).records.at(0).empty());
}

TEST_F(RecordsTest, OfAnyLengthTravel) {
  start_with_ports();
  const std::size_t room = kMaxRecordBytes - properties_of(0).size();
  for (const std::size_t address : {0u, 1u}) {
    Client<2> ports = connect("ports", address);
    std::vector<std::uint64_t> ids;
    std::vector<Record> written;
    // Around what a page, a message and an answer hold.
    for (const std::size_t bytes : {0, 1, 600, 601, 602, 603, 604, 605, 606, 607, 608, 4'000,
                                    16'300, 16'400, 32'000, 64'000, 65'536, 300'000, 900'000}) {
      ids.push_back(ids.size());
      written.push_back({geometry_at(1, 2), properties_of(bytes)});
      const auto put = ports.put(ids.back(), place(1, 2), written.back());
      ASSERT_TRUE(put) << bytes << ": " << put.error().message;
    }
    ids.push_back(ids.size());
    written.push_back({.properties = properties_of(room)});
    ASSERT_TRUE(ports.put(ids.back(), place(1, 2), written.back()));
    const GetAnswer<2> found = get(ports, ids);
    ASSERT_EQ(found.records.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(found.entries[i].id, ids[i]);
      EXPECT_TRUE(found.records[i] == written[i]) << i;
    }
    const auto longer = ports.put(1, place(1, 2), Record{.properties = properties_of(room + 1)});
    ASSERT_FALSE(longer);
    EXPECT_EQ(longer.error().code, ErrorCode::kTooLarge);
    EXPECT_TRUE(get(ports, {1}).records.at(0) == written[1]);
    for (const std::uint64_t id : ids) ASSERT_TRUE(ports.erase(id));
  }
}

TEST_F(RecordsTest, OfABatchAreEachWithItsOwnEntry) {
  start_with_ports();
  Client<2> ports = connect();
  ASSERT_TRUE(ports.put(3, place(0, 0), Record{.properties = properties_of(3)}));
  WriteBatch<2> batch;
  batch.put(1, place(1, 1), {.properties = properties_of(10, 'x')})
      .insert(3, place(9, 9), {.properties = properties_of(2000, 'y')})  // refused: it is there
      .put(2, place(2, 2))
      .erase(7)
      .insert(4, place(4, 4), {.properties = properties_of(700, 'z')})
      .put(5, place(5, 5), {.properties = properties_of(1, 'w')});
  const auto done = ports.write(batch);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(done->failed.size(), 2u);
  const GetAnswer<2> found = get(ports, {1, 2, 3, 4, 5});
  ASSERT_EQ(found.records.size(), 5u);
  EXPECT_EQ(found.records[0].properties, properties_of(10, 'x'));
  EXPECT_TRUE(found.records[1].empty());
  EXPECT_EQ(found.records[2].properties, properties_of(3));
  EXPECT_EQ(found.records[3].properties, properties_of(700, 'z'));
  EXPECT_EQ(found.records[4].properties, properties_of(1, 'w'));
}

TEST_F(RecordsTest, AreRefusedWhereThereAreNone) {
  start_with_ports();
  Client<2> main = connect("");
  ASSERT_TRUE(main.create_collection("buses", {.keyed = true}));
  Client<2> buses = connect("buses");
  EXPECT_FALSE(buses.has_records());
  const auto refused = buses.put(1, place(1, 1), Record{.properties = properties_of(3)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("--records"), std::string::npos)
      << refused.error().message;
  ASSERT_TRUE(buses.put(1, place(1, 1)));
  const auto read = buses.get(std::vector<std::uint64_t>{1}, 0, true);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
  WriteBatch<2> batch;
  batch.insert(1, place(1, 1), {.properties = properties_of(3)});
  const auto in_bag = main.write(batch);
  ASSERT_TRUE(in_bag);
  ASSERT_EQ(in_bag->failed.size(), 1u);
  EXPECT_EQ(in_bag->failed[0].code, ErrorCode::kUnsupported);
}

TEST_F(RecordsTest, ThatAreNoneAreRefusedWithWhatIsWrong) {
  start_with_ports();
  Client<2> ports = connect();
  const auto expect = [&](const Record& record, const Box<2>& box, std::string_view says) {
    const auto refused = ports.put(7, box, record);
    ASSERT_FALSE(refused) << says;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument) << refused.error().message;
    EXPECT_NE(refused.error().message.find(says), std::string::npos) << refused.error().message;
  };
  expect({.properties = "[1]"}, place(1, 1), "id 7");
  expect({.properties = R"({"a": })"}, place(1, 1), "id 7");
  expect({.geometry = geometry_at(1, 1).substr(0, 20)}, place(1, 1), "geometry");
  expect({.geometry = geometry_at(1, 2)}, place(1, 1), "does not hold");
  WriteBatch<2> batch;
  batch.put(1, place(1, 1)).put(2, place(2, 2), {.properties = "[]"}).put(3, place(3, 3));
  EXPECT_FALSE(batch.check());
  EXPECT_FALSE(ports.write(batch));
  EXPECT_EQ(get(ports, {1, 2, 3, 7}).missing.size(), 4u);
  batch.clear();
  EXPECT_TRUE(batch.check());
}

TEST_F(RecordsTest, AreOfOneVersionWithTheirBoxes) {
  start_with_ports({"--retain", "1h"});
  Client<2> ports = connect();
  std::atomic<bool> ends{false};
  const auto write = [](Client<2>& client, int i) {
    WriteBatch<2> batch;
    // Long enough together that an answer holds only a part of them.
    for (std::uint64_t id = 0; id < 8; ++id) {
      batch.put(id, place(i, i),
                {.properties = R"({"n":)" + std::to_string(i) + R"(,"t":")" +
                               std::string(140'000, 'a') + R"("})"});
    }
    ASSERT_TRUE(client.write(batch));
  };
  write(ports, 0);
  std::thread writer([&] {
    Client<2> own = connect();
    for (int i = 1; !ends; ++i) write(own, i);
  });
  for (int i = 0; i < 30; ++i) {
    const GetAnswer<2> found = get(ports, {0, 1, 2, 3, 4, 5, 6, 7});
    ASSERT_EQ(found.entries.size(), 8u);
    for (std::size_t at = 0; at < found.entries.size(); ++at) {
      const auto n = static_cast<int>(found.entries[at].box.min[0]);
      EXPECT_EQ(n, static_cast<int>(found.entries[0].box.min[0]));
      const std::string begin = R"({"n":)" + std::to_string(n) + ",";
      EXPECT_EQ(found.records[at].properties.substr(0, begin.size()), begin);
    }
  }
  ends = true;
  writer.join();
}

TEST_F(RecordsTest, TheToolPutsAndPrintsThem) {
  start_with_ports();
  const std::string of_ports = " -c ports --server " + server_->addresses()[0];
  const Tool tool;
  const auto run = [&](const std::string& words) { return tool.run(words + of_ports); };
  std::ofstream(folder_ / "area.json")
      << R"({"type": "Polygon", "coordinates": [[[0, 0], [0, 2], [2, 2], [0, 0]]]})";
  EXPECT_EQ(run(R"(put 3 --geometry 'POINT (4.1 51.9)' --properties '{"a": "x, y"}')").status, 0);
  EXPECT_EQ(run("put 4 --geometry @" + (folder_ / "area.json")).status, 0);
  EXPECT_EQ(run("put 5 9 53").status, 0);
  const Tool::Ran text = run("get 3 4 5 --records");
  EXPECT_EQ(text.status, 0) << text.err;
  const std::string lines = text.out;
  EXPECT_NE(lines.find(" POINT (4.1 51.9) {\"a\":\"x, y\"}\n"), std::string::npos) << lines;
  EXPECT_NE(lines.find(" POLYGON ((0 0, 2 2, 0 2, 0 0))\n"), std::string::npos)
      << "counter-clockwise: " << lines;
  const auto told = nlohmann::json::parse(run("get 5 3 --records --format json").out);
  EXPECT_TRUE(told["entries"][0]["record"].is_null());
  EXPECT_EQ(told["entries"][1]["record"]["properties"]["a"], "x, y");
  EXPECT_EQ(told["entries"][1]["record"]["geometry"]["type"], "Point");
  const auto features = nlohmann::json::parse(run("get 3 4 5 --format geojson").out);
  EXPECT_EQ(features["features"].size(), 3u);
  EXPECT_EQ(features["features"][2]["geometry"]["coordinates"][1], 53);
  EXPECT_TRUE(features["features"][2]["properties"].is_null());
  EXPECT_NE(run("get 3 --records --format csv").out.find(R"(""a"":""x, y"")"), std::string::npos);
  const Tool::Ran crossed = run("put 6 --geometry 'POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))'");
  EXPECT_EQ(crossed.status, 1);
  EXPECT_NE(crossed.err.find("crosses itself"), std::string::npos) << crossed.err;
  EXPECT_EQ(run("get 6").status, 1);
}

TEST_F(RecordsTest, OutliveTheServerThatIsKilled) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random random(seed);
  const std::vector<std::string> durable{"--data", folder_ / "data", "--checkpoint-interval", "1s"};
  start_with_ports(durable);
  std::map<std::uint64_t, std::pair<Box<2>, Record>> written;
  for (int life = 0; life < 2; ++life) {
    Client<2> ports = connect();
    for (int i = 0; i < 300; ++i) {
      const std::uint64_t id = random.below(200);
      const Box<2> box = place(random.uniform(), random.uniform());
      if (random.below(4) == 0 && written.contains(id)) {
        ASSERT_TRUE(ports.erase(id));
        written.erase(id);
      } else if (random.below(4) == 0 && written.contains(id)) {
        ASSERT_TRUE(ports.update(id, box));
        written[id].first = box;
      } else {
        Record record;
        if (random.below(4) != 0) {
          const std::size_t most = random.below(20) == 0 ? 200'000 : 3'000;
          record.properties = properties_of(random.below(most));
        }
        ASSERT_TRUE(ports.put(id, box, record));
        written[id] = {box, record};
      }
    }
    server_->signal(SIGKILL);
    server_.reset();
    start(durable);
    Client<2> after = connect();
    for (std::uint64_t id = 0; id < 200; ++id) {
      const GetAnswer<2> found = get(after, {id});
      const auto expected = written.find(id);
      ASSERT_EQ(found.entries.size(), expected == written.end() ? 0u : 1u) << id;
      if (found.entries.empty()) continue;
      EXPECT_EQ(found.entries[0].box, expected->second.first) << id;
      EXPECT_TRUE(found.records[0] == expected->second.second) << id;
    }
  }
}

TEST_F(RecordsTest, LieBesideEntriesThatAreReadOneSidedly) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random random(seed);
  start_with_ports();
  Client<2> writer = connect();
  ClientOptions options = patient();
  options.collection = "ports";
  options.mode = Mode::kOffload;
  auto reader = Client<2>::connect(server_->addresses()[0], options);
  ASSERT_TRUE(reader) << reader.error().message;
  std::map<std::uint64_t, Box<2>> written;
  for (int i = 0; i < 600; ++i) {
    const std::uint64_t id = random.below(3000);
    written[id] = place(random.uniform(), random.uniform());
    const Record record{.properties = properties_of(random.below(800))};
    ASSERT_TRUE(writer.put(id, written[id], record));
    const std::uint64_t asked = random.below(2) == 0 ? id : random.below(3000);
    const auto found = reader->get(std::vector<std::uint64_t>{asked});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->access, Access::kOffload);
    const auto expected = written.find(asked);
    ASSERT_EQ(found->entries.size(), expected == written.end() ? 0u : 1u) << asked;
    if (expected == written.end()) continue;
    EXPECT_EQ(found->entries[0].box, expected->second) << asked;
  }
  const auto told = reader->get(std::vector<std::uint64_t>{written.begin()->first}, 0, true);
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_FALSE(told->records.at(0).empty()) << "records come by message";
}

TEST_F(RecordsTest, AreReadAsTheyWere) {
  start_with_ports({"--retain", "1h"});
  Client<2> ports = connect();
  const auto first = ports.put(1, place(1, 1), Record{.properties = properties_of(9000, 'a')});
  ASSERT_TRUE(first);
  ASSERT_TRUE(ports.put(1, place(2, 2), Record{.properties = properties_of(10, 'b')}));
  ASSERT_TRUE(ports.erase(1));
  EXPECT_EQ(get(ports, {1}, first->version).records.at(0).properties, properties_of(9000, 'a'));
  EXPECT_EQ(get(ports, {1}).missing.size(), 1u);
}

}  // namespace
}  // namespace silurus
