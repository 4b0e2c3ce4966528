// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

// What `silurus doctor` makes of what a server says of itself.

namespace silurus::tool::doctor {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class DoctorServerTest : public testing::Test {
 protected:
  Finding finding(const std::string& name) {
    server_.statistics = statistics_.dump();
    const Findings all = advise_server(server_);
    const auto found = std::ranges::find(all, name, &Finding::name);
    EXPECT_NE(found, all.end()) << name;
    return found == all.end() ? Finding{} : *found;
  }

  ServerFacts server_{.url = "shm:///run/silurus.sock",
                      .dimensions = 2,
                      .message = {.offered = true, .median = 12000, .searches = 50},
                      .one_sided = {.offered = true, .median = 3000, .searches = 50}};
  json statistics_ = {
      {"version", 7},
      {"state", "serving"},
      {"entries", 1000},
      {"memory", {{"budget_bytes", 4u << 20}, {"used_bytes", 1u << 20}, {"huge_pages", true}}},
      {"durability", {{"mode", "none"}}},
      {"group", nullptr}};
  json durable_ = {{"mode", "sync"},
                   {"path", "/data"},
                   {"medium", "pmem"},
                   {"log", {{"capacity_bytes", 1u << 20}, {"used_bytes", 1u << 18}}},
                   {"checkpoints", {{"count", 3}, {"failed", 0}, {"version", 6}}}};
  json group_ = {
      {"name", "maps"},
      {"shard", 0},
      {"epoch", 4},
      {"self", 1},
      {"primary", 1},
      {"role", "primary"},
      {"committed_lsn", 9000000},
      {"view_store", "reachable"},
      {"fail_over", true},
      {"members",
       {{{"id", 1}, {"url", "tcp://a:1"}, {"in_view", true}, {"applied_lsn", 9000000}},
        {{"id", 2}, {"url", "tcp://b:1"}, {"in_view", true}, {"applied_lsn", 8999990}}}}};
};

TEST_F(DoctorServerTest, OneThatServesIsWell) {
  EXPECT_EQ(finding("server").found,
            "shm:///run/silurus.sock, serving, version 7, 1000 entries, 2 dimensions");
  EXPECT_EQ(finding("server").verdict, Verdict::kOk);
  EXPECT_EQ(finding("server-memory").found, "1 MiB of 4 MiB used (25 %), in huge pages");
  EXPECT_EQ(finding("server-messages").found, "12 us a round trip (median of 50)");
  EXPECT_EQ(finding("server-one-sided").verdict, Verdict::kOk);
  EXPECT_EQ(finding("server-durability").verdict, Verdict::kNotApplicable);
  EXPECT_EQ(finding("server-group").verdict, Verdict::kNotApplicable);
}

TEST_F(DoctorServerTest, OneThatIsBeingReplacedIsAWarning) {
  statistics_["state"] = "frozen";
  EXPECT_EQ(finding("server").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("server").advice, HasSubstr("silurus cluster status"));
}

TEST_F(DoctorServerTest, OneThatIsReadOnlyIsAnErrorWithItsReason) {
  statistics_["durability"] = durable_;
  statistics_["state"] = "read-only: the log is full";
  EXPECT_EQ(finding("server").verdict, Verdict::kError);
  EXPECT_THAT(finding("server").found, HasSubstr("read-only: the log is full"));
  EXPECT_THAT(finding("server").advice, HasSubstr("df /data"));
}

TEST_F(DoctorServerTest, OneThatIsNearlyFullIsToldTheOption) {
  statistics_["memory"]["used_bytes"] = 4000000;
  EXPECT_EQ(finding("server-memory").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("server-memory").advice, HasSubstr("--memory 8M"));
}

TEST_F(DoctorServerTest, AWayThatFailsIsAnErrorAndOneThatIsNotOfferedIsNone) {
  server_.message.error = Error{ErrorCode::kDeadlineExceeded, "no answer in time"};
  server_.one_sided = {};
  EXPECT_EQ(finding("server-messages").verdict, Verdict::kError);
  EXPECT_EQ(finding("server-one-sided").verdict, Verdict::kNotApplicable);
  EXPECT_THAT(finding("server-one-sided").found, HasSubstr("rdma://"));
}

TEST_F(DoctorServerTest, LogAndCheckpointsAreLookedAt) {
  statistics_["durability"] = durable_;
  EXPECT_EQ(finding("server-durability").found,
            "sync to /data (pmem), log 25 % of 1 MiB, 3 checkpoints, the last of version 6");
  EXPECT_EQ(finding("server-durability").verdict, Verdict::kOk);
  statistics_["durability"]["medium"] = "memory";
  EXPECT_EQ(finding("server-durability").verdict, Verdict::kWarning);
  statistics_["durability"]["checkpoints"]["failed"] = 2;
  EXPECT_THAT(finding("server-durability").advice, Not(HasSubstr("checkpoints failed")))
      << "it has recovered";
  statistics_["durability"]["checkpoints"]["failing"] = "no room";
  EXPECT_THAT(finding("server-durability").advice, HasSubstr("2 checkpoints failed"));
  EXPECT_THAT(finding("server-durability").advice, HasSubstr("no room"));
  statistics_["durability"]["failure"] = "the disk is gone";
  EXPECT_EQ(finding("server-durability").verdict, Verdict::kError);
}

TEST_F(DoctorServerTest, MembersAndTheirLagAreListed) {
  statistics_["group"] = group_;
  EXPECT_EQ(finding("server-group").verdict, Verdict::kOk);
  EXPECT_EQ(finding("member 2").found, "2 at tcp://b:1, in the view, 10 B of the log behind");
  EXPECT_EQ(finding("member 2").verdict, Verdict::kOk);
  statistics_["group"]["members"][1]["applied_lsn"] = 100;
  EXPECT_EQ(finding("member 2").verdict, Verdict::kWarning) << "far behind";
  statistics_["group"]["members"][1] = group_["members"][1];
  server_.members = {{"tcp://b:1", Error{ErrorCode::kUnavailable, "no server listens there"}}};
  EXPECT_THAT(finding("member 2").advice, HasSubstr("no server listens there"));
}

TEST_F(DoctorServerTest, ABackupDoesNotKnowHowFarTheOthersAre) {
  statistics_["group"] = group_;
  statistics_["group"]["members"][1]["applied_lsn"] = nullptr;
  EXPECT_THAT(finding("member 2").found, HasSubstr("only the primary knows"));
  EXPECT_EQ(finding("member 2").verdict, Verdict::kOk);
}

TEST_F(DoctorServerTest, AGroupWithTooFewCopiesIsAWarningAndSoIsOneWithoutRoomForItsCopy) {
  statistics_["group"] = group_;
  statistics_["group"]["warning"] = "there is one copy";
  EXPECT_EQ(finding("server-group").verdict, Verdict::kWarning);
  EXPECT_EQ(finding("server-group").advice, "there is one copy");
  statistics_["state"] = "read-only: there is one copy";
  EXPECT_EQ(finding("server").verdict, Verdict::kError);
  EXPECT_THAT(finding("server").advice, Not(HasSubstr("df ")));
  statistics_["group"]["copy_obstacle"] = "larger than --memory";
  EXPECT_EQ(finding("server-group").verdict, Verdict::kError);
  EXPECT_EQ(finding("server-group").advice, "larger than --memory");
}

TEST_F(DoctorServerTest, AGroupWithoutAPrimaryIsAnErrorAndWithoutEtcdAWarning) {
  statistics_["group"] = group_;
  statistics_["group"]["view_store"] = "away";
  EXPECT_EQ(finding("server-group").verdict, Verdict::kWarning);
  statistics_["group"]["primary"] = 0;
  EXPECT_EQ(finding("server-group").verdict, Verdict::kError);
}

TEST_F(DoctorServerTest, OneThatDoesNotAnswerIsAnErrorOnlyIfItWasNamed) {
  server_.unreachable = Error{ErrorCode::kNotFound, "no server"};
  EXPECT_EQ(finding("server").verdict, Verdict::kError);
  EXPECT_THAT(finding("server").advice, HasSubstr("silurus-server --listen"));
  server_.was_named = false;
  EXPECT_EQ(finding("server").verdict, Verdict::kNotApplicable);
  server_.unreachable = Error{ErrorCode::kDeadlineExceeded, "no answer in time"};
  EXPECT_EQ(finding("server").verdict, Verdict::kWarning) << "there is one, which does not answer";
}

TEST_F(DoctorServerTest, StatisticsThatAreNoJsonAreNoCrash) {
  server_.statistics = "{\"memory\": [";
  EXPECT_FALSE(advise_server(server_).empty());
  server_.statistics = R"({"memory": 3, "group": {"members": [1, {}]}, "durability": {"mode": 1}})";
  EXPECT_FALSE(advise_server(server_).empty());
}

}  // namespace
}  // namespace silurus::tool::doctor
