// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/core.h"
#include "server/core.h"
#include "tests/simulation/cluster/oracle.h"
#include "transport/sim/fabric.h"

namespace silurus::simulation {

namespace sim = transport::sim;

struct ClusterOptions {
  std::uint64_t seed = 1;
  std::size_t workers = 2;
  std::size_t entries = 3000;
  Nanoseconds grace = 5 * kMillisecond;
  Nanoseconds heartbeat = kMillisecond;
  /// Little, so that memory is soon used again.
  std::uint64_t memory_budget_bytes = std::uint64_t{4} << 20;
  /// Old versions that can be asked, and how far back.
  std::size_t retain_versions = 16;
  Nanoseconds retain = kSecond;
  Nanoseconds hold_lease = 15 * kMillisecond;
  std::uint32_t slice = rtree::kWorkOfAnOperation + 1;  ///< an operation, and a node, at a time
  sim::NicModel server_nic = {};
  /// CPU time of one turn of a worker, and of a client.
  Nanoseconds server_turn = 2 * kMicrosecond;
  Nanoseconds client_turn = kMicrosecond;
  sim::FabricOptions fabric = {.give_up = 60 * kMillisecond};
};

/// The server that ships, but for its threads, on a simulated host: one process for each worker.
class ServerNode {
 public:
  ServerNode(sim::World& world, sim::Host& host, const ClusterOptions& options,
             std::uint64_t instance, std::vector<Entry> entries);
  ~ServerNode();

  server::Core<2>& core() { return *core_; }
  Oracle oracle;

 private:
  sim::Host& host_;
  const ClusterOptions& options_;
  sim::SimFabric fabric_;
  server::InlineExecutor executor_;
  std::unique_ptr<server::Core<2>> core_;
  std::vector<std::unique_ptr<sim::Process>> processes_;
};

/// What a client does, and how much of it.
struct Workload {
  Mode mode = Mode::kAdaptive;
  PolicyKind policy = PolicyKind::kCost;
  std::size_t in_flight = 4;
  double write_share = 0.2;
  double nearest_share = 0.2;
  double past_share = 0;  ///< share of searches that ask an older version
  double window_edge = 0.05;
  std::size_t cache_bytes = std::size_t{1} << 20;
};

/// A client that ships, on a simulated host, always busy with its workload; hands every answer to
/// the oracle.
class ClientNode {
 public:
  ClientNode(sim::World& world, sim::Host& host, const ClusterOptions& options,
             const Workload& workload, std::uint64_t number);
  ~ClientNode();

  /// Runs the world meanwhile. The server's oracle is told of the answers from now on.
  Status connect(ServerNode& server);
  /// Forgets the server, whose answers to what is under way never come.
  void drop();
  bool connected() const { return core_ != nullptr && core_->ready(); }
  /// No new operations.
  void stop() { is_stopping_ = true; }
  void go_on();
  std::size_t in_flight() const { return started_ - ended_; }

  sim::Host& host() { return host_; }
  /// Statistics of all connections so far.
  ClientStatistics statistics() const;
  std::uint64_t succeeded() const { return succeeded_; }
  std::uint64_t failed() const { return failed_; }
  /// Searches of older versions: answered, and told that the version is not kept.
  std::uint64_t past_answers() const { return past_answers_; }
  std::uint64_t past_forgotten() const { return past_forgotten_; }
  /// What went wrong that must not, whatever the faults.
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  void step(sim::Process& process);
  void start_one();
  void start_range();
  void start_nearest();
  void start_write();
  Operation draw_operation();
  void end_write(const Operation& operation, const Result<WriteAnswer*>& answer);
  /// Counts, and looks at errors and versions; whether there is an answer.
  bool end(const Error* error, Version version, Version at_least, const std::string& what);
  /// The version that a search shall ask; 0: the current one.
  Version draw_past();
  /// The same as end(), of a search that asked that version.
  bool end_past(const Error* error, Version version, Version as_of, const std::string& what);
  Box draw_box(double edge);

  sim::Host& host_;
  const ClusterOptions& options_;
  const Workload workload_;
  const std::uint64_t number_;
  Random random_;
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  client::OneFabric network_;
  std::unique_ptr<client::ClientCore<2>> core_;
  std::unique_ptr<sim::Process> process_;
  ServerNode* server_ = nullptr;
  ClientStatistics past_;
  bool is_stopping_ = false;
  std::uint64_t next_id_ = 0;
  std::vector<Entry> own_;  ///< entries that are surely there
  std::uint64_t started_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t succeeded_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t past_answers_ = 0;
  std::uint64_t past_forgotten_ = 0;
  std::vector<std::string> complaints_;
};

}  // namespace silurus::simulation
