// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/environment.h"
#include "common/random.h"
#include "tests/simulation/group/sim_view_store.h"
#include "transport/sim/fabric.h"
#include "transport/sim/thread.h"

namespace silurus::simulation {

/// etcd, as far as a cluster of shards uses it: keys that are replaced by their revision, and what
/// the members of its groups of replicas say (SimEtcd), on one host. It forgets nothing.
class EtcdOfShards {
 public:
  EtcdOfShards(sim::Host& host, std::string cluster) : host_(host), cluster_(std::move(cluster)) {}

  /// The group that clients call "etcd://.../cluster/number". Outlives this.
  void add_group(std::uint32_t number, SimEtcd& etcd) { groups_[number] = &etcd; }
  std::string url() const { return "etcd://" + host_.name() + ":2379/" + cluster_; }
  sim::Host& host() { return host_; }

  etcd::KeyValue read(const std::string& key) const;
  std::vector<etcd::KeyValue> read_prefix(const std::string& prefix);
  std::uint64_t replace(const std::string& key, std::uint64_t revision, const std::string& value);
  /// All values that keys have had, in their order.
  const std::vector<std::string>& history() const { return history_; }

 private:
  sim::Host& host_;
  const std::string cluster_;
  std::map<std::string, etcd::KeyValue> keys_;
  std::map<std::uint32_t, SimEtcd*> groups_;
  std::vector<std::string> history_;
};

/// What code that blocks stands on, within a thread of a simulated host.
class SimEnvironment final : public client::Environment {
 public:
  SimEnvironment(sim::Thread& thread, EtcdOfShards& etcd, const sim::FabricOptions& fabric,
                 std::uint64_t seed)
      : thread_(thread), etcd_(etcd), fabric_(fabric), random_(seed) {}

  const Clock& clock() const override { return thread_.clock(); }
  void sleep(Nanoseconds time) override { thread_.sleep(time); }
  std::uint64_t random_id() override { return random_() | 1; }
  Result<std::unique_ptr<client::Fabrics>> open_fabrics(const transport::WaitOptions&) override;
  Result<std::unique_ptr<etcd::Gateway>> open_etcd(const etcd::Address& address,
                                                   Nanoseconds timeout) override;

 private:
  sim::Thread& thread_;
  EtcdOfShards& etcd_;
  const sim::FabricOptions fabric_;
  Random random_;
};

}  // namespace silurus::simulation
