#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/client.h"
#include "tests/support/etcd_process.h"
#include "tests/support/raw_client.h"
#include "tests/support/server_process.h"

// A cluster of real silurus-server processes and a real etcd on one machine.

namespace silurus {

using nlohmann::json;
using testing_support::EtcdProcess;
using testing_support::RawClient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

inline constexpr rtree::Box<2> kEverything{{-1, -1}, {1e9, 1e9}};

inline rtree::Box<2> box_of(std::uint64_t id) {
  const double x = static_cast<double>(id);
  return {{x, 0}, {x, 1}};
}

/// One member: its process, if it runs, its directory and its address.
class MemberProcess {
 public:
  MemberProcess(std::string url, std::string group, std::string data, std::string etcd,
                std::vector<std::string> options)
      : url_(std::move(url)),
        group_(std::move(group)),
        data_(std::move(data)),
        etcd_(std::move(etcd)),
        options_(std::move(options)) {}

  void start() {
    std::vector<std::string> arguments{"--cluster",
                                       etcd_,
                                       "--data",
                                       data_,
                                       "--listen",
                                       url_,
                                       "--group-address",
                                       group_,
                                       "--threads",
                                       "1",
                                       "--group-lease",
                                       "400ms",
                                       "--wait",
                                       "sleep",
                                       "--checkpoint-interval",
                                       "1s",
                                       "--log-level",
                                       "info"};
    arguments.insert(arguments.end(), options_.begin(), options_.end());
    process_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(process_->addresses().empty()) << process_->errors();
    if (url_.ends_with(":0")) url_ = process_->addresses()[0];  // the same in its next life
  }
  void kill_it() { process_.reset(); }
  bool is_running() const { return process_ != nullptr; }
  ServerProcess& process() { return *process_; }
  const std::string& url() const { return url_; }
  const std::string& data() const { return data_; }

  /// What it says of the group; null if it doesn't.
  json cluster() const {
    const auto client = is_running() ? RawClient::connect(url_) : fail(ErrorCode::kNotFound, "");
    if (!client || !(*client)->bare(1, protocol::MessageType::kCluster)) return {};
    const auto reply = (*client)->reply(1, kSecond);
    return reply && !reply->error ? json::parse(reply->text(), nullptr, false) : json();
  }
  /// Ids here, at whatever version it has: the version, and how many of each id.
  std::optional<std::pair<rtree::Version, std::map<std::uint64_t, int>>> ids() const {
    const auto client = RawClient::connect(url_);
    if (!client || !(*client)->range(1, {.window = kEverything}, protocol::kAnyMember)) return {};
    const auto reply = (*client)->reply(1, 5 * kSecond);
    if (!reply || reply->error) return {};
    std::map<std::uint64_t, int> found;
    for (std::size_t at = 0; at + 8 <= reply->payload.size(); at += 8) {
      std::uint64_t id = 0;
      std::memcpy(&id, reply->payload.data() + at, sizeof id);
      ++found[id];
    }
    return std::pair(reply->version, std::move(found));
  }

 private:
  std::string url_;
  const std::string group_;
  const std::string data_;
  const std::string etcd_;
  const std::vector<std::string> options_;
  std::unique_ptr<ServerProcess> process_;
};

class ClusterOfServers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed()) GTEST_SKIP() << "no etcd here: scripts/setup installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }
  void TearDown() override {
    for (MemberProcess& member : members_) {
      if (HasFailure() && member.is_running()) {
        std::printf("--- %s, %s\n%s", member.url().c_str(), member.cluster().dump().c_str(),
                    member.process().errors().c_str());
      }
    }
  }
  void start(std::size_t members) {
    const bool is_shm = std::string(GetParam()) == "shm";
    for (std::size_t i = members_.size(); members_.size() < members; ++i) {
      const std::string name = std::to_string(i);
      const std::string url =
          is_shm ? "shm://" + (folder_ / ("c" + name)) : std::string("tcp://127.0.0.1:0");
      const std::string group =
          is_shm ? "shm://" + (folder_ / ("g" + name)) : std::string("tcp://127.0.0.1:0");
      members_.emplace_back(url, group, folder_ / ("d" + name), etcd_->address("test"), options_);
      members_.back().start();
      ASSERT_TRUE(wait_for_view(members_.size()));
    }
  }
  std::string urls() const {
    std::string all;
    for (const MemberProcess& member : members_) all += (all.empty() ? "" : ",") + member.url();
    return all;
  }
  Client<2> client() const {
    auto made =
        Client<2>::connect(urls(), {.deadline = 20 * kSecond, .reconnect_for = 20 * kSecond});
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(*made);
  }
  static bool wait_until(const std::function<bool()>& is_so) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
      if (is_so()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  /// Until all that run know of a view of so many, and are in it.
  bool wait_for_view(std::size_t size) const {
    return wait_until([&] {
      return std::ranges::all_of(members_, [&](const MemberProcess& member) {
        if (!member.is_running()) return true;
        const json said = member.cluster();
        return said.is_object() && said["members"].size() == size &&
               (said["role"] == "primary" || said["role"] == "backup");
      });
    });
  }
  /// The running member that says it is the primary and may read.
  MemberProcess* primary() {
    MemberProcess* found = nullptr;
    wait_until([&] {
      for (MemberProcess& member : members_) {
        const json said = member.cluster();
        if (said.is_object() && said["role"] == "primary" && said["lease_ms_left"] != 0) {
          found = &member;
          return true;
        }
      }
      return false;
    });
    return found;
  }
  /// Waits until all that run have the same version of exactly these ids, each once.
  void expect_everywhere(const std::set<std::uint64_t>& ids) const {
    std::map<std::uint64_t, int> expected;
    for (const std::uint64_t id : ids) expected[id] = 1;
    std::set<rtree::Version> versions;
    const bool all = wait_until([&] {
      versions.clear();
      return std::ranges::all_of(members_, [&](const MemberProcess& member) {
        if (!member.is_running()) return true;
        const auto found = member.ids();
        if (!found || found->second != expected) return false;
        versions.insert(found->first);
        return versions.size() == 1;
      });
    });
    EXPECT_TRUE(all) << "members differ, or lack what was acknowledged";
  }

  TemporaryFolder folder_;
  std::vector<std::string> options_{"--log-size", "64M", "--memory", "64M"};  ///< of members
  std::unique_ptr<EtcdProcess> etcd_;
  std::vector<MemberProcess> members_;
};

}  // namespace silurus
