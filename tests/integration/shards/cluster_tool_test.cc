// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/integration/shards/cluster.h"
#include "tests/support/tool.h"

// `silurus cluster`, and the other commands on a cluster, as a user runs them.

namespace silurus {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing_support::Cluster;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

class ClusterToolTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Cluster<2>::is_possible()) GTEST_SKIP() << "no etcd-server";
    ASSERT_TRUE(cluster_.ready());
  }
  Tool::Ran silurus(const std::string& arguments) const {
    return tool_.run("--server " + cluster_.url() + " " + arguments);
  }
  json asked(const std::string& arguments) const {
    return tool_.ask("--server " + cluster_.url() + " " + arguments);
  }
  /// A grid of 50 x 50 points in the unit square.
  std::string points() const {
    std::ofstream file(folder_ / "points.csv");
    for (int i = 0; i < 2500; ++i) {
      file << i << "," << (i % 50 + 0.5) / 50 << "," << (i / 50 + 0.5) / 50 << "\n";
    }
    return folder_ / "points.csv";
  }

  Cluster<2> cluster_;
  TemporaryFolder folder_;
  Tool tool_;
};

TEST_F(ClusterToolTest, BeforeInitEveryCommandSaysSo) {
  for (const char* command :
       {"stats", "range 0 0 1 1", "nearest 0 0", "insert 1 0 0 0 0", "cluster status",
        "cluster split 0", "cluster move 0 shm:///tmp/x", "cluster add-shard shm:///tmp/x"}) {
    const Tool::Ran ran = silurus(command);
    EXPECT_EQ(ran.status, 1) << command;
    EXPECT_THAT(ran.err, HasSubstr("silurus cluster init")) << command;
  }
}

TEST_F(ClusterToolTest, MakesAClusterLoadsItAndDividesItFurther) {
  const std::string servers = cluster_.start_server() + " " + cluster_.start_server();
  const Tool::Ran made = silurus("cluster init 0 0 1 1 " + servers + " --edge 0.01");
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out, "the cluster has 2 shards, epoch 1\n");
  EXPECT_EQ(asked("load " + points())["method"], "bulk");
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 2500);
  EXPECT_EQ(asked("range 0 0 0.1 0.1")["ids"].size(), 25u);
  EXPECT_GT(asked("compact --fill 1")["saved_nodes"], 0) << "of both shards, filled to 0.85";
  EXPECT_EQ(asked("compact --fill 1")["saved_nodes"], 0);
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 2500);
  EXPECT_EQ(asked("nearest 0.51 0.51 -k 3")["neighbors"][0]["id"], 1275);
  EXPECT_EQ(asked("insert 9000 0.3 0.3 0.3 0.3")["inserted"], 1);
  EXPECT_EQ(asked("update 9000 0.3 0.3 0.3 0.3 to 0.9 0.9 0.9 0.9")["moved"], 1);
  EXPECT_EQ(asked("erase 9000 0.9 0.9 0.9 0.9")["erased"], 1);
  EXPECT_EQ(asked("stats")["entries"], 2500);
  EXPECT_EQ(asked("load " + points())["method"], "inserts");
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 5000);

  const std::string spares = cluster_.start_server() + " " + cluster_.start_server();
  EXPECT_EQ(silurus("cluster add-shard " + spares).status, 0);
  EXPECT_EQ(asked("cluster status")["spares"].size(), 2u);
  const json split = asked("cluster split 0");
  EXPECT_EQ(split["parts"].size(), 2u);
  const json moved = asked("cluster move 1 " + cluster_.start_server());
  EXPECT_EQ(moved["parts"].size(), 1u);
  EXPECT_GE(moved["refused_writes_ms"], moved["refused_all_ms"]);
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 5000);
  const json status = asked("cluster status");
  ASSERT_EQ(status["shards"].size(), 3u);
  std::uint64_t entries = 0;
  for (const json& shard : status["shards"]) {
    EXPECT_EQ(shard["state"], "serving");
    entries += shard["entries"].get<std::uint64_t>();
  }
  EXPECT_EQ(entries, 5000u);
  EXPECT_THAT(silurus("cluster status").out, HasSubstr("0000000000000000"));
  EXPECT_THAT(silurus("cluster status --format csv").out, HasSubstr("shard,first key,"));
}

TEST_F(ClusterToolTest, GroupsOfReplicasAreShards) {
  const std::string first = cluster_.start_group(2);
  const std::string members = cluster_.start_group(2);
  std::string second;  // the other way to name one
  for (const auto& member : cluster_.group(members)) {
    second += (second.empty() ? "" : ",") + member.url();
  }
  EXPECT_THAT(silurus("cluster init 0 0 1 1 " + members + " " + second).err,
              HasSubstr("the same group"));
  ASSERT_EQ(silurus("cluster init 0 0 1 1 " + first + " " + second).status, 0);
  EXPECT_EQ(asked("load " + points())["method"], "bulk");
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 2500);
  ASSERT_EQ(silurus("cluster add-shard " + cluster_.start_group(1)).status, 0);
  const json moved = asked("cluster move 0");
  EXPECT_EQ(moved["parts"][0]["servers"], json::array({cluster_.url() + "/2"}));
  EXPECT_EQ(asked("range 0 0 1 1 --count")["count"], 2500);
  const json status = asked("cluster status");
  EXPECT_EQ(status["shards"][0]["members"], 1);
  EXPECT_EQ(status["shards"][1]["members"], 2);
  EXPECT_EQ(status["shards"][1]["state"], "serving");
  EXPECT_THAT(silurus("cluster status").out, HasSubstr("serving, 2 members"));
}

TEST_F(ClusterToolTest, SaysWhatIsWrong) {
  EXPECT_THAT(silurus("cluster status").err, HasSubstr("silurus cluster init makes one"));
  EXPECT_EQ(silurus("cluster").status, 2);
  EXPECT_EQ(silurus("cluster paint").status, 2);
  EXPECT_EQ(silurus("cluster init 0 0 1").status, 2);
  EXPECT_EQ(silurus("cluster status --abort").status, 2);
  EXPECT_EQ(silurus("cluster split 0 --at xyz").status, 2);
  EXPECT_THAT(silurus("cluster init 0 0 0 1 " + cluster_.start_server()).err,
              HasSubstr("no extent"));
  ASSERT_EQ(silurus("cluster init 0 0 1 1 " + cluster_.start_server()).status, 0);
  EXPECT_THAT(silurus("cluster init 0 0 1 1 " + cluster_.start_server()).err, HasSubstr("already"));
  EXPECT_THAT(silurus("cluster split 7").err, HasSubstr("no shard 7"));
  EXPECT_THAT(silurus("cluster split 0").err, HasSubstr("empty servers are needed"));
  EXPECT_EQ(silurus("insert 1 0 0 0 0").status, 0);
  const std::string used = cluster_.map().shards[0].servers[0];
  EXPECT_EQ(silurus("cluster add-shard " + used).status, 1);
  EXPECT_THAT(silurus("range 0 0 1 1 --as-of -1s").err, HasSubstr("versions of their own"));
  EXPECT_THAT(silurus("history").err, HasSubstr("versions of their own"));
  EXPECT_THAT(silurus("range 0 0 0 1 1 1").err, HasSubstr("2 dimensions"));
}

TEST_F(ClusterToolTest, AReplacementThatWasBegunIsShownAndCanBeEnded) {
  cluster_.make_map(1);
  auto store = cluster_.store();
  auto stored = store->load();
  ASSERT_TRUE(stored);
  shards::ShardMap next = stored->map;
  next.next_id = 2;
  next.shards[0].successors = {{1, 0, {cluster_.start_server()}}};
  ASSERT_TRUE(store->replace(*stored, next));
  EXPECT_THAT(silurus("cluster status").out, HasSubstr("being replaced by 1"));
  EXPECT_EQ(silurus("cluster move 0 --abort").status, 0);
  const json status = asked("cluster status");
  EXPECT_FALSE(status["shards"][0].contains("successors"));
  EXPECT_EQ(status["spares"].size(), 1u);
}

}  // namespace
}  // namespace silurus
