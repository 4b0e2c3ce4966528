// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/server_process.h"
#include "tests/support/tool.h"

// `silurus doctor` on this machine, whatever it has, with a server and without one.

namespace silurus {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::Tool;

class DoctorTest : public testing::Test {
 protected:
  std::string url() const { return "shm://" + (folder_ / "socket"); }
  void start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--listen", url(), "--log-level", "error"});
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }
  /// Cards are probed in virtual hosts (tests/vm), where they are known to be well.
  Tool::Ran doctor(const std::string& arguments) const {
    return tool_.run("doctor --card none " + arguments);
  }
  json checks(const std::string& arguments) const {
    return json::parse(doctor("--format json " + arguments).out, nullptr, false);
  }
  static json check(const json& all, const std::string& name) {
    for (const json& one : all) {
      if (one["name"] == name) return one;
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }

  TemporaryFolder folder_;
  Tool tool_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(DoctorTest, EveryCheckHasANameAStatusAndAdviceWhereItIsNeeded) {
  const json all = checks("");
  ASSERT_TRUE(all.is_array());
  EXPECT_GT(all.size(), 10u);
  for (const json& one : all) {
    EXPECT_EQ(one.size(), 4u) << one;
    EXPECT_FALSE(one["name"].get<std::string>().empty());
    EXPECT_FALSE(one["found"].get<std::string>().empty()) << one;
    const auto status = one["status"].get<std::string>();
    EXPECT_THAT(status, AnyOf("ok", "warning", "error", "not-applicable"));
    EXPECT_EQ(one["advice"].get<std::string>().empty(),
              status == "ok" || status == "not-applicable")
        << one;
  }
  const bool any_error =
      std::ranges::any_of(all, [](const json& one) { return one["status"] == "error"; });
  EXPECT_EQ(doctor("").status, any_error ? 1 : 0);
  check(all, "kernel");
  check(all, "default-socket");
}

TEST_F(DoctorTest, AServerIsExaminedAndItsRoundTripMeasured) {
  start({"--load", "uniform:20000:seed=3", "--memory", "256M"});
  const json all = checks("--server " + url());
  EXPECT_EQ(check(all, "server")["status"], "ok");
  EXPECT_THAT(check(all, "server")["found"].get<std::string>(), HasSubstr("20000 entries"));
  EXPECT_THAT(check(all, "server-memory")["found"].get<std::string>(), HasSubstr("256 MiB"));
  EXPECT_EQ(check(all, "server-messages")["status"], "ok");
  EXPECT_EQ(check(all, "server-one-sided")["status"], "ok");
  EXPECT_EQ(check(all, "server-durability")["status"], "not-applicable");
  EXPECT_THAT(doctor("--server " + url()).out, HasSubstr("server-messages"));
}

TEST_F(DoctorTest, ADurableServersLogAndCheckpointsAreShown) {
  start({"--data", folder_ / "data", "--log-size", "16M", "--memory", "64M"});
  const json found = check(checks("--server " + url()), "server-durability");
  EXPECT_THAT(found["found"].get<std::string>(), HasSubstr("sync to " + (folder_ / "data")));
  EXPECT_THAT(found["status"].get<std::string>(), AnyOf("ok", "warning")) << "warning: in memory";
}

TEST_F(DoctorTest, ANamedServerThatIsNotThereIsAnErrorAndTheDefaultOneIsNone) {
  const Tool::Ran named = doctor("--server " + url());
  EXPECT_EQ(named.status, 1);
  EXPECT_THAT(named.out, HasSubstr("silurus-server --listen " + url()));
  EXPECT_THAT(named.err, HasSubstr("checks found an error"));
  setenv("SILURUS_SERVER", url().c_str(), 1);
  EXPECT_EQ(check(checks(""), "server")["status"], "error");
  unsetenv("SILURUS_SERVER");
  const auto status = check(checks(""), "server")["status"].get<std::string>();
  EXPECT_THAT(status, AnyOf("not-applicable", "ok")) << "this user may have a server of its own";
}

TEST_F(DoctorTest, ACardThatIsNotThereIsAnError) {
  const Tool::Ran ran = tool_.run("doctor --card no-such-card");
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, HasSubstr("probe no-such-card"));
}

}  // namespace
}  // namespace silurus
