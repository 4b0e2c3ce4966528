// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocol/decode.h"
#include "protocol/encode.h"
#include "transport/sim/fabric.h"

namespace silurus::simulation {

/// What a group has agreed on, as its members know it: who leads, and what was committed. Members
/// that are scripted, not the server that ships: what a client does about them is what is tested.
struct GroupState {
  struct Outcome {
    rtree::Version version;
    std::size_t times = 0;  ///< that it was carried out
  };
  int primary = 0;  ///< -1: between two views
  std::uint64_t epoch = 1;
  rtree::Version version = 1;
  /// Outcomes of each client's writes, by sequence.
  std::map<std::pair<std::uint64_t, std::uint64_t>, Outcome> outcomes;
  std::vector<std::uint64_t> order;  ///< sequences, as they were carried out
};

/// One member on a simulated host: answers searches with a count and the version that it has.
class ScriptedMember final : public transport::AcceptHandler {
 public:
  ScriptedMember(transport::sim::World& world, transport::sim::Host& host, int number,
                 GroupState& state);
  ~ScriptedMember() override;

  std::string url() const { return "sim://" + host_.name() + ":1"; }
  transport::sim::Host& host() { return host_; }

  // --- the script
  bool carries_out = true;  ///< writes, when it is the primary
  bool answers = true;      ///< anything
  Nanoseconds thinks = 0;   ///< for each search, and does nothing else meanwhile
  Nanoseconds lease = 20 * kMillisecond;
  std::uint64_t staleness = protocol::kNoEnd;  ///< that its heartbeats tell, as a backup
  rtree::Version behind = 0;                   ///< versions, as a backup
  std::uint32_t cpu_busy_permyriad = 0;
  // --- what it saw
  std::size_t searches = 0;
  std::size_t refused = 0;
  std::size_t tasks = 0;
  std::uint64_t forgettable = 0;  ///< below it, by the last write

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> hello,
                                          const transport::Caller&) override;
  void on_accept(std::unique_ptr<transport::Connection> connection,
                 transport::Poller& poller) override;

 private:
  class Session;
  bool leads() const { return state_.primary == number_; }
  rtree::Version version() const { return leads() ? state_.version : state_.version - behind; }
  std::string cluster_json() const;
  void step(transport::sim::Process& process);

  transport::sim::Host& host_;
  const int number_;
  GroupState& state_;
  transport::sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Listener> listener_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::uint64_t client_ = 0;  ///< client that the last hello named
  std::uint64_t heartbeats_ = 0;
  Nanoseconds next_heartbeat_ = 0;
  std::unique_ptr<transport::sim::Process> process_;
};

}  // namespace silurus::simulation
