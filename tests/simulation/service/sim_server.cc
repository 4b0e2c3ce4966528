// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/service/sim_server.h"

#include <iostream>
#include <optional>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kWorkerTurn = kMicrosecond;

}  // namespace

SimServer::SimServer(sim::Host& host, const Options& options,
                     const server::MembershipOpener<2>& member)
    : host_(host), fabric_(host.world(), host, options.fabric) {
  std::optional<server::DurabilityOptions> durability;
  if (!options.data.empty()) {
    // Checkpoints are a real thread's, and therefore not taken.
    durability.emplace(server::DurabilityOptions{.path = options.data,
                                                 .checkpoint_interval = 3600 * kSecond,
                                                 .log_bytes = replication::kMinLogBytes});
  }
  auto core = server::Core<2>::create(
      {.workers = options.workers,
       .grace = options.grace,
       .heartbeat = options.heartbeat,
       .memory_budget_bytes = kChunks * rtree::kChunkBytes<2>,
       .build_threads = 1,
       .durability = durability,
       .history = {.unix_ns = [&clock = host.clock()] { return clock.now(); }},
       .slice = options.slice,
       .instance = options.instance},
      host.clock(), executor_, member);
  if (!core) std::cerr << host.name() << ": " << core.error().message << '\n';
  SILURUS_CHECK(core.has_value());
  core_ = std::move(*core);
  if (options.before_listening) options.before_listening();
  SILURUS_CHECK(core_->listen(fabric_, transport::Address::parse(url(host)).value(), {}));
  SILURUS_CHECK(core_->join_group());
  for (std::size_t i = 0; i < core_->worker_count(); ++i) {
    auto& worker = core_->worker(i);
    workers_.push_back(host.spawn("worker", [this, &worker](sim::Process& process) {
      const bool is_busy = worker.sweep();
      host_.charge(kWorkerTurn);
      if (is_busy) return process.wake();
      if (const auto deadline = worker.deadline()) process.wake_at(*deadline);
    }));
    for (const auto& poller : worker.pollers()) workers_.back()->watch(*poller);
    worker.set_waker([process = workers_.back().get()] { process->wake(); });
  }
}

SimServer::~SimServer() {
  for (std::size_t i = 0; i < core_->worker_count(); ++i) core_->worker(i).set_waker(nullptr);
  workers_.clear();
}

}  // namespace silurus::simulation
