// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/core.h"
#include "transport/sim/fabric.h"
#include "transport/sim/host.h"

namespace silurus::simulation {

namespace sim = transport::sim;

/// A server that ships but for its threads, on a simulated host: each worker is a process of its
/// own. It takes orders of all clients.
class SimServer {
 public:
  static constexpr std::uint64_t kChunks = 1024;  ///< chunks of its tree at most

  struct Options {
    sim::FabricOptions fabric;  ///< that clients come by
    std::size_t workers = 2;
    Nanoseconds grace = 5 * kMillisecond;
    Nanoseconds heartbeat = kMillisecond;
    std::uint32_t slice = rtree::kWorkOfAnOperation + 1;  ///< an operation, and a node, at a time
    std::uint64_t instance = 1;
    std::string data = {};  ///< a data directory in memory; empty: none
    /// Called when all is ready, before clients can connect; may be empty.
    std::function<void()> before_listening = {};
  };
  /// `member`: see server::Core::create().
  SimServer(sim::Host& host, const Options& options,
            const server::MembershipOpener<2>& member = nullptr);
  ~SimServer();

  const server::Core<2>& core() const { return *core_; }
  rtree::Snapshot<2> snapshot() const { return core_->shard().tree().snapshot(); }

  static std::string url(const sim::Host& host) { return "sim://" + host.name() + ":1"; }

 private:
  sim::Host& host_;
  sim::SimFabric fabric_;
  server::InlineExecutor executor_;
  std::unique_ptr<server::Core<2>> core_;
  std::vector<std::unique_ptr<sim::Process>> workers_;
};

}  // namespace silurus::simulation
