// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_server.h"

#include <utility>

#include "bench/plan_hosts.h"
#include "protocol/decode.h"
#include "server/combiner.h"
#include "server/limits.h"

namespace silurus::bench {

namespace sim = transport::sim;

SearchDemand DemandCounter::count(const rtree::Snapshot<2>& snapshot,
                                  const rtree::RangeQuery<2>& query) {
  SearchDemand demand;
  rtree::RangeQuery<2> counted = query;
  counted.shape = rtree::ResultShape::kCount;
  cursor_.start(counted, snapshot.root(), result_);
  while (!cursor_.done()) {
    const auto wanted = cursor_.take();
    ++(wanted->level == 0 ? demand.leaves : demand.inner);
    cursor_.feed(snapshot.node(wanted->ref));
  }
  demand.results = result_.count;
  return demand;
}

PlanServer::PlanServer(sim::World& world, sim::Host& host, const PlanRun& run)
    : world_(world), host_(host), run_(run), fabric_(world, host, fabric_options(run.model)) {}

Result<std::unique_ptr<PlanServer>> PlanServer::create(sim::World& world, const std::string& name,
                                                       const PlanRun& run) {
  sim::Host& host =
      world.add_host(name, host_options(run.model, run.costs, run.model.card.cards, 0));
  std::unique_ptr<PlanServer> server(new PlanServer(world, host, run));
  if (auto ok = server->start(); !ok) return fail(ok.error());
  return server;
}

PlanServer::~PlanServer() { processes_.clear(); }

Status PlanServer::start() {
  auto core =
      server::Core<2>::create({.workers = static_cast<std::size_t>(run_.model.host.server_cores)},
                              host_.clock(), executor_);
  if (!core) return fail(core.error());
  core_ = std::move(*core);
  if (auto loaded = core_->load(*run_.entries); !loaded) return fail(loaded.error());
  const auto bound = core_->listen(fabric_, {"sim", host_.name(), "1", ""}, {});
  if (!bound) return fail(bound.error());
  host_.set_work([this](std::span<const std::byte> message) { return work_of(message); });
  for (std::size_t i = 0; i < core_->worker_count(); ++i) {
    auto& worker = core_->worker(i);
    processes_.push_back(host_.spawn("worker", [this, i](sim::Process&) { turn(i); }));
    for (const auto& poller : worker.pollers()) processes_.back()->watch(*poller);
    worker.set_waker([process = processes_.back().get()] { process->wake(); });
  }
  return {};
}

void PlanServer::turn(std::size_t index) {
  auto& worker = core_->worker(index);
  worker.woke();
  in_this_turn_ = 0;
  host_.charge(on_core(run_.model, run_.costs.server.sweep_ns));
  const bool is_busy = worker.sweep();
  if (core_->shard().writes().batches() != batches_) hold_writer();
  if (is_busy) return processes_[index]->wake();
  if (const auto deadline = worker.deadline()) processes_[index]->wake_at(*deadline);
}

/// What a message will cost its worker. Searches that are found together run interleaved.
Nanoseconds PlanServer::work_of(std::span<const std::byte> message) {
  const PlanCosts& costs = run_.costs;
  const auto header = protocol::decode_header(message);
  if (!header) return 0;
  if (header->type == protocol::MessageType::kWrite) {
    const auto write = protocol::decode_write<2>(message, server::kMaxBatchOperations);
    if (!write) return 0;
    queued_inserts_ += write->operations.size();
    return on_core(run_.model,
                   costs.server.write_ns +
                       costs.writer.operation_ns * static_cast<double>(write->operations.size()));
  }
  if (header->type != protocol::MessageType::kRange) return 0;
  const auto request = protocol::decode_range<2>(message);
  if (!request) return 0;
  ++searches_;
  const SearchDemand demand = demand_.count(core_->shard().tree().snapshot(), request->query);
  const auto& search = in_this_turn_++ == 0 ? costs.search : costs.interleaved;
  const auto results = static_cast<double>(demand.results);
  return on_core(run_.model, costs.server.request_ns + costs.server.result_ns * results +
                                 search.search_ns + search.result_ns * results +
                                 search.leaf_ns * static_cast<double>(demand.leaves));
}

/// A batch has just been applied, in no time; what it costs is charged already where its operations
/// came in. The role is kept until that time has passed.
void PlanServer::hold_writer() {
  auto& combiner = core_->worker(0).shard().combiner();
  batches_ = combiner.batches();
  const auto applied = static_cast<double>(std::exchange(queued_inserts_, 0));
  const Nanoseconds publish = on_core(run_.model, run_.costs.writer.publish_ns);
  host_.charge(publish);
  if (!combiner.try_acquire()) return;
  world_.after(publish + on_core(run_.model, run_.costs.writer.operation_ns * applied), [this] {
    auto& released = core_->worker(0).shard().combiner();
    released.release();
    // The worker that took the role sees to it that what has queued up meanwhile is done.
    if (!released.pending()) return;
    for (const auto& process : processes_) process->wake();
  });
}

}  // namespace silurus::bench
