#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "client/shards/map_store.h"
#include "client/shards/router.h"
#include "tests/support/etcd_process.h"
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
  /// A folder for a server's data.
  std::string data(const std::string& name) const { return folder_ / name; }
  ServerProcess& server(std::size_t index) { return *servers_[index]; }
  void forget_server(std::size_t index) { servers_[index].reset(); }

  /// The first map: so many shards of equal ranges, each with a server of its own.
  void make_map(std::size_t count, double limit = 0.02) {
    shards::ShardMap map;
    map.dimensions = D;
    map.frame_min.assign(D, 0);
    map.frame_max.assign(D, 1);
    map.limit.assign(D, limit);
    for (std::size_t i = 0; i < count; ++i) {
      shards::Shard& shard = map.shards.emplace_back();
      shard.id = map.next_id++;
      shard.first = UINT64_MAX / count * i;
      shard.servers = {start_server()};
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
    auto made = Router<D>::connect(url(), options);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }

 private:
  TemporaryFolder folder_;
  EtcdProcess etcd_;
  const bool ready_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
};

}  // namespace silurus::testing_support
