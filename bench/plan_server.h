// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/plan_cluster.h"
#include "rtree/cursor.h"
#include "server/core.h"
#include "transport/sim/fabric.h"

namespace silurus::bench {

/// What a range search makes its server do.
struct SearchDemand {
  std::uint64_t inner = 0;  ///< nodes, the root among them
  std::uint64_t leaves = 0;
  std::uint64_t results = 0;
};

/// Counts it, by walking the tree as the server does.
class DemandCounter {
 public:
  SearchDemand count(const rtree::Snapshot<2>& snapshot, const rtree::RangeQuery<2>& query);

 private:
  rtree::RangeCursor<2> cursor_;
  rtree::RangeResult<2> result_;
};

/// The server that ships, on a simulated host, a process to each core, charged with what its work
/// costs by the model.
///
/// The writer's role is a thing of virtual time too: after a batch it stays taken for as long as
/// the batch takes, so that batches form as they do in a server.
class PlanServer {
 public:
  /// `run` must outlive it.
  static Result<std::unique_ptr<PlanServer>> create(transport::sim::World& world,
                                                    const std::string& name, const PlanRun& run);
  ~PlanServer();

  transport::sim::Host& host() { return host_; }
  server::Core<2>& core() { return *core_; }
  /// Searches by message that were run.
  std::uint64_t searches() const { return searches_; }

 private:
  PlanServer(transport::sim::World& world, transport::sim::Host& host, const PlanRun& run);
  Status start();
  void turn(std::size_t worker);
  Nanoseconds work_of(std::span<const std::byte> message);
  void hold_writer();

  transport::sim::World& world_;
  transport::sim::Host& host_;
  const PlanRun& run_;
  transport::sim::SimFabric fabric_;
  server::InlineExecutor executor_;
  std::unique_ptr<server::Core<2>> core_;
  std::vector<std::unique_ptr<transport::sim::Process>> processes_;
  DemandCounter demand_;
  std::uint64_t searches_ = 0;
  unsigned in_this_turn_ = 0;         ///< messages
  std::uint64_t queued_inserts_ = 0;  ///< received and not yet applied
  std::uint64_t batches_ = 0;         ///< seen
};

}  // namespace silurus::bench
