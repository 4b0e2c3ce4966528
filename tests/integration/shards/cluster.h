// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "silurus/map_store.h"
#include "silurus/router.h"
#include "tests/support/etcd_process.h"
#include "tests/support/member_process.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// A real etcd and real servers, on this host, in the unit cube.
template <int D>
class Cluster {
 public:
  Cluster() : ready_(is_possible() && etcd_.wait_until_ready()) {}
  static bool is_possible() { return EtcdProcess::is_installed(); }
  bool ready() const { return ready_; }

  std::string url() const { return etcd_.address("test"); }
  /// One more server, empty; where it listens.
  std::string start_server(std::vector<std::string> arguments = {}) {
    const std::string address = "shm://" + (folder_ / ("s" + std::to_string(servers_.size())));
    arguments.insert(arguments.begin(),
                     {"--listen", address, "--log-level", "error", "--threads", "1", "--dimensions",
                      std::to_string(D), "--memory", "256M"});
    servers_.push_back(std::make_unique<ServerProcess>(arguments));
    EXPECT_FALSE(servers_.back()->addresses().empty()) << servers_.back()->errors();
    return address;
  }
  /// A new group of that many empty members, each of them in the view; how clients name it.
  std::string start_group(std::size_t members) {
    const std::string number = std::to_string(groups_.size());
    auto& group = groups_.emplace_back();
    for (std::size_t i = 0; i < members; ++i) {
      const std::string name = number + "-" + std::to_string(i);
      group.emplace_back(
          "shm://" + (folder_ / ("c" + name)), "shm://" + (folder_ / ("g" + name)),
          data("d" + name), url(), lease_,
          std::vector<std::string>{"--shard", number, "--dimensions", std::to_string(D),
                                   // A group of two goes on when its primary is killed.
                                   "--min-members", "1"});
      EXPECT_TRUE(group.back().start()) << group.back().process().errors();
      EXPECT_TRUE(wait_for_view(group, group.size()));
    }
    return url() + "/" + number;
  }
  /// No test needs it any more.
  void forget_group(const std::string& url) {
    for (MemberProcess& member : group(url)) member.kill_it();
  }
  std::vector<MemberProcess>& group(const std::string& url) {
    return groups_[std::stoul(url.substr(url.rfind('/') + 1))];
  }
  /// Kills the group's primary; who that was.
  MemberProcess& kill_primary_of(const std::string& url) {
    MemberProcess* const found = wait_for_primary(group(url));
    if (found == nullptr) {
      ADD_FAILURE() << url << " has no primary";
      return group(url).front();
    }
    found->kill_it();
    return *found;
  }

  /// A folder for a server's data.
  std::string data(const std::string& name) const { return folder_ / name; }
  ServerProcess& server(std::size_t index) { return *servers_[index]; }
  void forget_server(std::size_t index) { servers_[index].reset(); }

  /// The first map: that many shards of equal ranges, each with a server of its own.
  void make_map(std::size_t count, double limit = 0.02) {
    std::vector<std::string> urls;
    for (std::size_t i = 0; i < count; ++i) urls.push_back(start_server());
    make_map(urls, limit);
  }
  void make_map(const std::vector<std::string>& urls, double limit = 0.02) {
    shards::ShardMap map;
    map.dimensions = D;
    map.frame_min.assign(D, 0);
    map.frame_max.assign(D, 1);
    map.limit.assign(D, limit);
    for (std::size_t i = 0; i < urls.size(); ++i) {
      shards::Shard& shard = map.shards.emplace_back();
      shard.id = map.next_id++;
      shard.first = UINT64_MAX / urls.size() * i;
      shard.servers = {urls[i]};
    }
    const auto made = store()->replace({}, map);
    EXPECT_TRUE(made) << made.error().message;
  }
  std::unique_ptr<shards::MapStore> store() const {
    auto made = shards::open_map_store(url());
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  shards::ShardMap map() const {
    const auto loaded = store()->load();
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? loaded->map : shards::ShardMap{};
  }
  Router<D> router(const ClientOptions& options = {}) const {
    auto made = Router<D>::connect(url(), patient(options));
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }

 private:
  const std::string lease_ = short_lease();
  TemporaryFolder folder_;
  EtcdProcess etcd_;
  const bool ready_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
  std::vector<std::vector<MemberProcess>> groups_;
};

}  // namespace silurus::testing_support
