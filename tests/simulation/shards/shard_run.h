// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/shards/coordinator.h"

namespace silurus::simulation {

struct ShardCounters {
  RouterCounters clients;
  std::uint64_t splits = 0;
  std::uint64_t moves = 0;
  std::uint64_t aborts = 0;
  std::uint64_t kills = 0;
  std::uint64_t pauses = 0;
  std::uint64_t taken_over = 0;
  std::uint64_t refused = 0;
  std::uint64_t crashes = 0;
  std::uint64_t maps = 0;
  Nanoseconds longest_gap = 0;
};
inline void add_counters(ShardCounters& sum, const ShardCounters& more) {
  const Nanoseconds longest = std::max(sum.longest_gap, more.longest_gap);
  add_counters<ShardCounters>(sum, more);
  sum.longest_gap = longest;
}

/// A cluster of shards, each of which is a server alone or a group of replicas; routers, and
/// coordinators who split and move them; an etcd; all of it as it ships, through the faults of one
/// seed.
class ShardRun {
 public:
  using Counters = ShardCounters;
  explicit ShardRun(std::uint64_t seed);
  ~ShardRun();

  /// Everything: the first complaint, or nothing.
  std::string run();
  const ShardCounters& counters() const { return counters_; }
  /// What happened, for people.
  std::string trace() const;
  std::uint64_t trace_hash() const { return world_.trace_hash(); }

 private:
  void add_people();
  void make_map();
  ClientOptions draw_client();
  void start_client(std::size_t index);
  void start_coordinator(std::size_t index);
  /// Schedules faults of clients and of the way to etcd, beside those of Faults.
  void schedule_faults();
  void trouble_etcd(unsigned kind, Nanoseconds lasts);
  void crash_client(std::size_t index, Nanoseconds lasts);
  /// Coordinators crash by themselves.
  void look_after_coordinators();
  bool have_coordinators_finished() const;
  bool is_finished() const;
  std::string complaint() const;
  std::string check();

  sim::World world_;
  Random random_;
  std::unique_ptr<SimEtcd> nobody_;
  std::unique_ptr<GroupWorld> everyone_;
  std::unique_ptr<EtcdOfShards> etcd_;
  std::unique_ptr<ShardServers> servers_;
  std::unique_ptr<ShardWorld> shards_;
  std::unique_ptr<Replacements> replacements_;
  std::unique_ptr<Faults> faults_;
  std::vector<sim::Host*> client_hosts_;
  std::vector<sim::Host*> coordinator_hosts_;
  std::vector<std::unique_ptr<RouterClient>> clients_;
  std::vector<std::unique_ptr<Coordinator>> coordinators_;
  Nanoseconds freeze_ = 0;
  bool is_finishing_ = false;
  bool is_last_at_work_ = false;  ///< the last one of the coordinators is at work
  ShardCounters counters_;
};

}  // namespace silurus::simulation
