// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/group/fault_run.h"
#include "tests/simulation/service/server_life.h"
#include "tests/simulation/shards/sim_environment.h"
#include "tests/support/server_process.h"

namespace silurus::simulation {

/// Who can have a shard: servers alone, or groups of replicas, each of which is started, empty,
/// when it is needed. They crash and restart as the faults of a run have it: servers alone, which
/// have a data directory, as processes that are killed.
class ShardServers final : public Faults::Victims {
 public:
  struct Options {
    sim::FabricOptions fabric;
    std::size_t alone = 0;                 ///< servers
    std::vector<std::size_t> groups = {};  ///< number of members of each
    std::uint64_t seed = 1;
  };
  /// `everyone`: what is noted and complained of.
  ShardServers(GroupWorld& everyone, EtcdOfShards& etcd, const Options& options);
  ~ShardServers();

  const std::vector<sim::Host*>& hosts() const { return hosts_; }
  /// Starts one more; how the map names it. Empty: there are no more.
  std::string start_next();
  /// The host of a group's primary, if there is only one group; null: it has none.
  sim::Host* primary() const;
  /// No node crashes in the midst of writing any more.
  void end_faults();
  /// What is wrong with any of them, or nothing.
  std::string complaint() const;
  /// Looks at all admission states: whether a freeze lasts no longer than it may.
  void look_at_freezes(Nanoseconds freeze);
  /// For people.
  std::string to_string() const;

  std::uint64_t crashes = 0;
  std::uint64_t started = 0;

  // --- Faults::Victims
  bool is_up(std::size_t server) const override { return nodes_[server].host->alive(); }
  void crash(std::size_t server) override;
  void start(std::size_t server) override;
  void set_turn(std::size_t server, Nanoseconds turn) override;
  void crash_while_writing(std::size_t server) override;

 private:
  struct Group {
    std::unique_ptr<SimEtcd> etcd;
    std::unique_ptr<GroupWorld> world;
    std::unique_ptr<Service> service;
  };
  struct Node {
    sim::Host* host;
    Group* group;  ///< null: it is alone
    group::MemberId id;
    std::unique_ptr<ServerDisk> disk = {};
    std::unique_ptr<ServerLife> life = {};
    std::unique_ptr<SimServer> alone = {};
    std::string data = {};  ///< data directory of `alone`
    // When it was seen frozen first, by its own clock and which fencing token.
    Nanoseconds frozen_since = 0;
    std::uint64_t frozen_by = 0;
    const server::Core<2>* core() const {
      if (alone != nullptr) return &alone->core();
      return life != nullptr ? &life->core() : nullptr;
    }
  };
  struct Place {
    std::string url;
    std::vector<std::size_t> nodes;
  };

  void add_alone(std::size_t number);
  void add_group(std::size_t number, std::size_t members);
  std::size_t add_node(const std::string& name, Group* group, group::MemberId id);
  void reap(std::size_t server);
  void reap_alone(std::size_t server);

  GroupWorld& everyone_;
  EtcdOfShards& etcd_;
  const Options options_;
  Random random_;
  /// Where servers alone keep their data; nothing, without a file system in memory: nowhere.
  std::optional<testing_support::TemporaryFolder> data_;
  std::deque<Group> groups_;
  std::deque<Node> nodes_;
  std::vector<sim::Host*> hosts_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<ServerLife>> dead_;
  std::vector<std::unique_ptr<SimServer>> dead_alone_;
  std::uint64_t lives_begun_ = 0;
};

}  // namespace silurus::simulation
