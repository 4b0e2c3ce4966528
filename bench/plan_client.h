// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/plan_cluster.h"
#include "client/core.h"
#include "common/random.h"
#include "silurus/histogram.h"
#include "transport/sim/fabric.h"

namespace silurus::bench {

/// The policy that a client goes by, watched: what it chose last.
class WatchedPolicy final : public AccessPolicy {
 public:
  explicit WatchedPolicy(std::unique_ptr<AccessPolicy> policy) : policy_(std::move(policy)) {}
  Access choose(std::uint8_t search_class) override {
    last_ = policy_->choose(search_class);
    return last_;
  }
  void on_search(const SearchOutcome& outcome) override { policy_->on_search(outcome); }
  void on_heartbeat(const ServerLoad& load) override { policy_->on_heartbeat(load); }
  Access last() const { return last_; }

 private:
  std::unique_ptr<AccessPolicy> policy_;
  Access last_ = Access::kMessaging;
};

/// A client thread that ships, on a simulated host: always that many requests in flight.
class PlanClient {
 public:
  PlanClient(transport::sim::World& world, transport::sim::Host& host, const PlanRun& run,
             unsigned number);
  ~PlanClient();

  Status connect(const std::string& server);
  /// From now on it counts.
  void begin_counting();

  std::uint64_t completed() const { return completed_; }
  /// Since begin_counting():
  std::uint64_t counted() const { return completed_ - completed_before_; }
  const Histogram& search_latency() const { return search_latency_; }
  ClientStatistics statistics() const { return core_->statistics(); }
  /// What went wrong first; nothing should.
  const Status& failure() const { return failure_; }

 private:
  void step(transport::sim::Process& process);
  void start_one();
  void start_search();
  void start_insert();
  void end(const Error* error);
  void charge(double ns);

  transport::sim::Host& host_;
  const PlanRun& run_;
  Random random_;
  datasets::WindowGenerator<2> windows_;
  transport::sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  client::OneFabric network_;
  std::shared_ptr<WatchedPolicy> policy_;
  std::unique_ptr<client::ClientCore<2>> core_;
  std::unique_ptr<transport::sim::Process> process_;
  unsigned in_flight_ = 0;
  std::uint64_t next_id_;
  std::uint64_t completed_ = 0;
  std::uint64_t completed_before_ = 0;
  Histogram search_latency_;
  Status failure_;
};

}  // namespace silurus::bench
