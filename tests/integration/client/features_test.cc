// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "geometry/wkb.h"
#include "geometry/wkt.h"
#include "silurus/client.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// Searches by geometries and by properties, of one real server.

namespace silurus {
namespace {

using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;
using Ids = std::vector<std::uint64_t>;

std::string wkb(const std::string& wkt) {
  return geometry::write_wkb(geometry::read_wkt(wkt).value());
}

class FeaturesTest : public testing::Test {
 protected:
  FeaturesTest()
      : server_(std::make_unique<ServerProcess>(
            std::vector<std::string>{"--listen", "shm://" + (folder_ / "socket"), "--log-level",
                                     "error", "--memory", "128M", "--retain", "1h"})) {
    EXPECT_TRUE(connect("").create_collection("ports", {.records = true}));
    ports_ = std::make_unique<Client<2>>(connect("ports"));
  }
  Client<2> connect(const std::string& collection, Mode mode = Mode::kAdaptive) {
    ClientOptions options = patient();
    options.collection = collection;
    options.mode = mode;
    auto client = Client<2>::connect(server_->addresses().at(0), options);
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  /// The box is that of the geometry.
  void put(std::uint64_t id, const std::string& wkt, const std::string& properties = {}) {
    const auto box = geometry::box_of<2>(geometry::read_wkt(wkt).value()).value();
    const auto done = ports_->put(id, box, Record{wkb(wkt), properties});
    ASSERT_TRUE(done) << done.error().message;
  }
  Ids ids(const FeatureQuery<2>& query) {
    const auto found = ports_->features(query);
    EXPECT_TRUE(found) << found.error().message;
    if (!found) return {};
    EXPECT_EQ(found->entries.size(), found->records.size());
    Ids ids;
    for (const auto& entry : found->entries) ids.push_back(entry.id);
    std::ranges::sort(ids);
    return ids;
  }
  Ids ids(const std::string& wkt, Predicate predicate) {
    return ids({.window = {}, .predicate = predicate, .geometry = wkb(wkt)});
  }
  Ids ids(const std::string& where) {
    return ids({.window = {{-1000, -1000}, {1000, 1000}}, .where = where});
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client<2>> ports_;
};

TEST_F(FeaturesTest, AreThoseWhoseGeometriesMeetAndNotOnlyTheirBoxes) {
  const std::string triangle = "POLYGON ((0 0, 10 0, 0 10, 0 0))";
  put(1, "POINT (1 1)");
  put(2, "POINT (9 9)");  // in its box alone
  put(3, "POINT (5 5)");  // on its edge
  put(4, "POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))");
  put(5, "POLYGON ((6 6, 9 6, 9 9, 6 9, 6 6))");
  put(6, "LINESTRING (-1 4, 20 4)");
  put(7, "POLYGON ((-5 -5, 20 -5, 20 20, -5 20, -5 -5), (-1 -1, -1 12, 12 12, 12 -1, -1 -1))");
  put(8, "POLYGON ((-5 -5, 30 -5, -5 30, -5 -5))");
  ASSERT_TRUE(ports_->put(9, {{1, 3}, {2, 4}}, Record{.properties = "{}"}));  // its box counts
  EXPECT_EQ(ids(triangle, Predicate::kIntersects), (Ids{1, 3, 4, 6, 8, 9}));
  EXPECT_EQ(ids(triangle, Predicate::kWithin), (Ids{1, 4, 9}));
  EXPECT_EQ(ids(triangle, Predicate::kContains), (Ids{8}));
  EXPECT_EQ(ids({.window = {{0, 0}, {10, 10}}}), (Ids{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(ids({.window = {{0, 0}, {10, 10}}, .predicate = Predicate::kWithin}),
            (Ids{1, 2, 3, 4, 5, 9}));
}

TEST_F(FeaturesTest, AreThoseOfWhichAConditionHolds) {
  put(1, "POINT (1 1)", R"({"kind": "port", "depth": 12.5, "open": true})");
  put(2, "POINT (2 2)", R"({"kind": "port", "depth": 8})");
  put(3, "POINT (3 3)", R"({"kind": "lock", "depth": null})");
  put(4, "POINT (4 4)", R"({"depth": "deep"})");
  put(5, "POINT (5 5)");
  EXPECT_EQ(ids("depth > 8"), (Ids{1}));
  EXPECT_EQ(ids("depth >= 8 and kind = \"port\""), (Ids{1, 2}));
  EXPECT_EQ(ids("kind in ('lock', 'port') and not (depth > 10)"), (Ids{2}));
  EXPECT_EQ(ids("depth is null"), (Ids{3, 5}));
  EXPECT_EQ(ids("open = true or kind = 'lock'"), (Ids{1, 3}));
  const auto wrong = ports_->features({.window = {{0, 0}, {9, 9}}, .where = "depth >> 8"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(wrong.error().message.find("column"), std::string::npos) << wrong.error().message;
}

TEST_F(FeaturesTest, AreAtMostAsManyAsAskedForAndOfTheMomentAskedFor) {
  for (std::uint64_t id = 0; id < 20; ++id) {
    put(id, "POINT (" + std::to_string(id) + " 0)", R"({"n": )" + std::to_string(id % 2) + "}");
  }
  const auto before = ports_->features({.window = {{0, 0}, {20, 0}}});
  ASSERT_TRUE(before);
  const auto few = ports_->features({.window = {{0, 0}, {20, 0}}, .where = "n = 1", .limit = 3});
  ASSERT_TRUE(few);
  ASSERT_EQ(few->entries.size(), 3u);
  for (const Record& record : few->records) EXPECT_EQ(record.properties, R"({"n":1})");
  EXPECT_EQ(ports_->features({.window = {{0, 0}, {20, 0}}, .limit = 4})->entries.size(), 4u);
  for (std::uint64_t id = 0; id < 20; ++id) ASSERT_TRUE(ports_->erase(id));
  EXPECT_EQ(ids({.window = {{0, 0}, {20, 0}}, .where = "n = 1"}), Ids());
  EXPECT_EQ(ids({.window = {{0, 0}, {20, 0}}, .where = "n = 1", .as_of = before->version}).size(),
            10u);
}

TEST_F(FeaturesTest, OfOtherCollectionsAreByTheirBoxes) {
  Client<2> bag = connect("");
  ASSERT_TRUE(bag.insert(1, {{1, 1}, {2, 2}}));
  ASSERT_TRUE(bag.insert(2, {{8, 8}, {9, 9}}));
  ASSERT_TRUE(bag.insert(3, {{4, 6}, {4, 6}}));
  const auto found =
      bag.features({.window = {}, .geometry = wkb("POLYGON ((0 0, 10 0, 0 10, 0 0))")});
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->entries.size(), 2u);
  EXPECT_EQ(found->entries[0].version, 0u);
  const auto wrong = bag.features({.window = {{0, 0}, {9, 9}}, .where = "a = 1"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kUnsupported);
  Client<2> offloading = connect("", Mode::kOffload);
  const auto same =
      offloading.features({.window = {}, .geometry = wkb("POLYGON ((0 0, 10 0, 0 10, 0 0))")});
  ASSERT_TRUE(same);
  EXPECT_EQ(same->entries.size(), 2u);
}

TEST_F(FeaturesTest, AreOfOneVersionWhateverIsWritten) {
  const auto write = [](Client<2>& client, int n) {
    WriteBatch<2> batch;
    for (std::uint64_t id = 0; id < 40; ++id) {
      const std::string at = std::to_string(n % 50) + " " + std::to_string(id);
      batch.put(id, {{n % 50 + 0.0, id + 0.0}, {n % 50 + 0.0, id + 0.0}},
                Record{wkb("POINT (" + at + ")"), R"({"n":)" + std::to_string(n) + "}"});
    }
    ASSERT_TRUE(client.write(batch));
  };
  write(*ports_, 0);
  std::atomic<bool> ends{false};
  std::thread writer([&] {
    Client<2> own = connect("ports");
    for (int n = 1; !ends; ++n) write(own, n);
  });
  for (int i = 0; i < 60; ++i) {
    const auto found = ports_->features({.window = {{-1, -1}, {60, 60}}, .where = "n >= 0"});
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->entries.size(), 40u);
    for (const Record& record : found->records) {
      EXPECT_EQ(record.properties, found->records[0].properties);
    }
  }
  ends = true;
  writer.join();
}

TEST_F(FeaturesTest, ArePrintedByTheTool) {
  put(1, "POINT (1 1)", R"({"kind": "port"})");
  put(2, "POINT (9 9)", R"({"kind": "port"})");
  put(3, "POINT (2 2)", R"({"kind": "lock"})");
  const Tool tool;
  const auto run = [&](const std::string& words) {
    return tool.run("range " + words + " -c ports --server " + server_->addresses()[0]);
  };
  const std::string triangle = "--geometry 'POLYGON ((0 0, 10 0, 0 10, 0 0))'";
  EXPECT_EQ(run(triangle + " --count").out, "3\n") << "by its box";
  EXPECT_EQ(run(triangle + " --exact --count").out, "2\n");
  EXPECT_EQ(run(triangle + " --exact --where 'kind = \"port\"'").out, "1\n");
  EXPECT_EQ(run("0 0 10 10 --where \"kind = 'lock'\" --boxes").out, "3 2 2 2 2\n");
  const Tool::Ran records = run("0 0 10 10 --where \"kind = 'lock'\" --records");
  EXPECT_NE(records.out.find("POINT (2 2) {\"kind\":\"lock\"}"), std::string::npos) << records.out;
  const auto features =
      nlohmann::json::parse(run(triangle + " --exact --format geojson").out, nullptr, false);
  EXPECT_EQ(features["features"].size(), 2u);
  const Tool::Ran both = run("0 0 1 1 " + triangle);
  EXPECT_EQ(both.status, 2) << both.out;
  EXPECT_EQ(run("0 0 1 1 --exact").status, 2);
  EXPECT_NE(run("0 0 1 1 --where 'a ='").err.find("column"), std::string::npos);
}

}  // namespace
}  // namespace silurus
