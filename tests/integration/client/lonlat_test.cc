// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "silurus/client.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// A collection of degrees, by messages and by one-sided reads, and by the tool.

namespace silurus {
namespace {

using testing::HasSubstr;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

/// Metres of a degree along a great circle.
constexpr double kDegreeMetres = 6'371'008.8 * 3.14159265358979323846 / 180;
constexpr Box<2> kGlobe{{-180, -90}, {180, 90}};

class LonLatTest : public testing::TestWithParam<Mode> {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{
        "--listen", "shm://" + (folder_ / "socket"), "--log-level", "error", "--memory", "256M"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
  }
  const std::string& url() const { return server_->addresses().at(0); }
  Client<2> connect(const std::string& collection = "places") {
    ClientOptions options = patient();
    options.collection = collection;
    options.mode = GetParam();
    auto client = Client<2>::connect(url(), options);
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  Client<2> create() {
    EXPECT_TRUE(connect("default").create_collection("places", {.lonlat = true}));
    return connect();
  }
  static std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

using Ids = std::vector<std::uint64_t>;

TEST_P(LonLatTest, AWindowGoesOnBeyondTheAntimeridian) {
  start();
  Client<2> client = create();
  ASSERT_TRUE(client.load(std::vector<Entry<2>>{{1, {{179, 0}, {179, 0}}},
                                                {2, {{-179, 0}, {-179, 0}}},
                                                {3, {{0, 0}, {0, 0}}},
                                                {4, {{170, -1}, {-170, 1}}}}));
  EXPECT_EQ(sorted(client.range({{178, -1}, {-178, 1}})->ids), (Ids{1, 2, 4}));
  EXPECT_EQ(sorted(client.range({{-175, -1}, {-171, 1}})->ids), (Ids{4}));
  EXPECT_EQ(sorted(client.range({{-5, -1}, {5, 1}})->ids), (Ids{3}));
  EXPECT_EQ(client.count(kGlobe).value(), 4u);
}

TEST_P(LonLatTest, NeighboursAreNearestInMetres) {
  start();
  Client<2> client = create();
  // At 60 degrees north a degree of longitude is half as long as one of latitude.
  ASSERT_TRUE(client.load(std::vector<Entry<2>>{
      {1, {{11.5, 60}, {11.5, 60}}}, {2, {{10, 61}, {10, 61}}}, {3, {{-170, 60}, {-170, 60}}}}));
  const auto found = client.nearest({{10, 60}}, 3);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].id, 1u);
  EXPECT_NEAR((*found)[1].distance, kDegreeMetres, 1e-6);
  EXPECT_NEAR((*found)[2].distance, 60 * kDegreeMetres, 1e-5);  // over the pole
}

TEST_P(LonLatTest, ARadiusHasAllWithinIt) {
  start();
  Client<2> client = create();
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 1'000; ++id) {
    const double longitude =
        id % 2 == 0 ? 180 - 0.01 * static_cast<double>(id) : -180 + 0.01 * static_cast<double>(id);
    entries.push_back({id, {{longitude, 0}, {longitude, 0}}});
  }
  ASSERT_TRUE(client.load(entries));
  const auto found = client.radius({{180, 0}}, 2.005 * kDegreeMetres);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 201u);
  for (std::uint64_t id = 0; id < 201; ++id) EXPECT_EQ((*found)[id].id, id);
  EXPECT_EQ(client.nearest({{180, 0}}, 50, 0, 0.095 * kDegreeMetres)->size(), 10u);
}

TEST_P(LonLatTest, ABoxIsToldAsItWasGivenAndErasedByThat) {
  start();
  Client<2> client = create();
  const Box<2> across{{179.3, -1}, {-178.7, 1}};
  const Box<2> further{{179.1, -1}, {-178.9, 1}};
  const Box<2> around{{-180, 2}, {180, 3}};
  ASSERT_TRUE(client.insert(1, across));
  ASSERT_TRUE(client.insert(2, around));
  const auto found = client.range(kGlobe, {.shape = ResultShape::kEntries});
  ASSERT_EQ(found->count, 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const Box<2>& expected = found->ids[i] == 1 ? across : around;
    EXPECT_NEAR(found->boxes[i].max[0], expected.max[0], 1e-12);
    EXPECT_EQ(found->boxes[i].min, expected.min);
  }
  ASSERT_TRUE(client.update(1, across, further));
  EXPECT_TRUE(client.erase(1, further));
  EXPECT_TRUE(client.erase(2, around));
  EXPECT_EQ(client.count(kGlobe).value(), 0u);
}

TEST_P(LonLatTest, WhatIsNoDegreesIsRefused) {
  start();
  Client<2> client = create();
  const auto east = client.insert(1, {{0, 0}, {181, 0}});
  ASSERT_FALSE(east);
  EXPECT_THAT(east.error().message, HasSubstr("a longitude is -180 to 180 degrees"));
  EXPECT_FALSE(client.insert(1, {{0, 5}, {1, 4}}));
  EXPECT_FALSE(client.load(std::vector<Entry<2>>{{1, {{0, -95}, {0, -95}}}}));
  EXPECT_FALSE(client.range({{0, 0}, {0, 91}}));
  EXPECT_FALSE(client.nearest({{200, 0}}, 1));
  EXPECT_FALSE(client.radius({{0, 0}}, -1));
  // In a collection that is planar nothing has changed.
  EXPECT_TRUE(connect("default").insert(1, {{0, 0}, {500, 500}}));
  EXPECT_FALSE(connect("default").insert(1, {{10, 0}, {-10, 0}}));
}

TEST_P(LonLatTest, ItIsTheSameAfterARestart) {
  start({"--data", folder_ / "data"});
  {
    Client<2> client = create();
    ASSERT_TRUE(client.insert(1, {{179, 0}, {-179, 0}}));
    ASSERT_TRUE(client.insert(2, {{-178, 0}, {-178, 0}}));
  }
  server_.reset();
  start({"--data", folder_ / "data"});
  Client<2> client = connect();
  const auto found = client.nearest({{-179.5, 0}}, 2);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0], (Neighbor{1, 0}));
  EXPECT_NEAR((*found)[1].distance, 1.5 * kDegreeMetres, 1e-6);
  EXPECT_TRUE(client.erase(1, {{179, 0}, {-179, 0}}));
}

INSTANTIATE_TEST_SUITE_P(Modes, LonLatTest, testing::Values(Mode::kMessaging, Mode::kOffload),
                         [](const auto& mode) {
                           return mode.param == Mode::kMessaging ? "Messaging" : "Offload";
                         });

class RadiusTest : public LonLatTest {};

TEST_P(RadiusTest, IsEuclideanWhereCoordinatesArePlanar) {
  start();
  Client<2> client = connect("default");
  for (std::uint64_t id = 0; id < 100; ++id) {
    const auto at = static_cast<double>(id);
    ASSERT_TRUE(client.insert(id, {{3 * at, 4 * at}, {3 * at, 4 * at}}));
  }
  const auto found = client.radius({{0, 0}}, 50);
  ASSERT_EQ(found->size(), 11u);
  EXPECT_EQ((*found)[10], (Neighbor{10, 50}));
  EXPECT_EQ(client.radius({{0, 0}}, 49.999)->size(), 10u);
  EXPECT_EQ(client.radius({{0, 0}}, 0)->size(), 1u);
}

TEST_P(RadiusTest, IsAskedByTheTool) {
  start();
  const Tool tool;
  const std::string to = " --server " + url() +
                         (GetParam() == Mode::kMessaging ? " --mode messaging" : " --mode offload");
  ASSERT_EQ(tool.run("create places --lonlat" + to).status, 0);
  EXPECT_EQ(tool.ask("collections" + to)["collections"][1]["lonlat"], true);
  ASSERT_EQ(tool.run("insert 7 179 0 -179 0 -c places" + to).status, 0);
  EXPECT_EQ(tool.run("radius -178 0 111200 -c places --count" + to).out, "1\n");
  EXPECT_EQ(tool.run("radius -178 0 111100 -c places --count" + to).out, "0\n");
  EXPECT_EQ(tool.run("nearest -178 0 -k 5 --max-distance 111100 --count -c places" + to).out,
            "0\n");
  const auto found = tool.ask("nearest -178 0 -c places" + to);
  EXPECT_NEAR(found["neighbors"][0]["distance"].get<double>(), kDegreeMetres, 1e-6);
  const auto refused = tool.run("range 0 0 181 0 -c places" + to);
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("longitude"));
}

INSTANTIATE_TEST_SUITE_P(Modes, RadiusTest, testing::Values(Mode::kMessaging, Mode::kOffload),
                         [](const auto& mode) {
                           return mode.param == Mode::kMessaging ? "Messaging" : "Offload";
                         });

}  // namespace
}  // namespace silurus
