// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_client.h"

#include <utility>

#include "bench/plan_hosts.h"

namespace silurus::bench {
namespace {

namespace sim = transport::sim;

/// Ids of inserted boxes: above all that are loaded, each client's own.
constexpr std::uint64_t kIdsOfAClient = std::uint64_t{1} << 40;

datasets::WindowGenerator<2> windows_of(const PlanRun& run, unsigned number) {
  auto options = run.windows;
  options.seed = run.seed * 1'000'003 + number;
  return std::move(*datasets::WindowGenerator<2>::create(options));
}

}  // namespace

PlanClient::PlanClient(sim::World& world, sim::Host& host, const PlanRun& run, unsigned number)
    : host_(host),
      run_(run),
      random_(run.seed * 7919 + number),
      windows_(windows_of(run, number)),
      fabric_(world, host, fabric_options(run.model)),
      poller_(std::move(*fabric_.create_poller())),
      network_(fabric_, *poller_),
      policy_(std::make_shared<WatchedPolicy>(make_policy(run.policy, random_()))),
      next_id_(kIdsOfAClient * (number + 1)) {}

PlanClient::~PlanClient() {
  process_.reset();
  core_.reset();
}

Status PlanClient::connect(const std::string& server) {
  const ClientOptions options = {.mode = run_.mode,
                                 .policy = run_.policy,
                                 .shared_policy = policy_,
                                 .offload = {.cache_bytes = run_.cache_bytes, .slots = 96}};
  auto core =
      client::ClientCore<2>::connect("sim://" + server + ":1", network_, host_.clock(), options);
  if (!core) return fail(core.error());
  core_ = std::move(*core);
  process_ = host_.spawn("client", [this](sim::Process& process) { step(process); });
  process_->watch(*poller_);
  return {};
}

void PlanClient::begin_counting() {
  completed_before_ = completed_;
  search_latency_.clear();
  core_->reset_statistics();
}

void PlanClient::charge(double ns) { host_.charge(on_core(run_.model, ns)); }

void PlanClient::step(sim::Process& process) {
  poller_->progress();
  core_->settle();
  while (in_flight_ < run_.in_flight && failure_) start_one();
  core_->flush();
  // What is not an event: a region that is announced a moment after the connection is there.
  if (core_->max_wait() <= kMillisecond) process.wake_at(host_.clock().now() + 20 * kMicrosecond);
}

void PlanClient::start_one() {
  ++in_flight_;
  if (run_.insert_share > 0 && random_.uniform() < run_.insert_share) {
    start_insert();
  } else {
    start_search();
  }
}

void PlanClient::start_search() {
  const Nanoseconds started = host_.clock().now();
  const auto status = core_->submit(
      client::request::Range<2>{{.window = windows_.next()}},
      [this, started](const Result<RangeAnswer<2>*>& answer) {
        if (answer) {
          const bool is_offloaded = (*answer)->access == Access::kOffload;
          const auto results = static_cast<double>((*answer)->ids.size());
          charge(results *
                 (is_offloaded ? run_.costs.offload.result_ns : run_.costs.client.result_ns));
          search_latency_.add(static_cast<std::uint64_t>(host_.clock().now() - started));
        }
        end(answer ? nullptr : &answer.error());
      });
  if (!status) return end(&status.error());
  const bool offloads =
      run_.mode == Mode::kOffload ||
      (run_.mode == Mode::kAdaptive && core_->can_offload() && policy_->last() == Access::kOffload);
  charge(offloads ? run_.costs.offload.search_ns : run_.costs.client.request_ns);
}

void PlanClient::start_insert() {
  protocol::Operation<2> operation{};
  operation.id = next_id_++;
  operation.kind = protocol::OperationKind::kInsert;
  for (int d = 0; d < 2; ++d) {
    operation.box.min[d] = random_.uniform();
    operation.box.max[d] = operation.box.min[d] + 0.0001 * random_.uniform();
  }
  const auto status = core_->submit(
      client::request::Write<2>{{&operation, 1}},
      [this](const Result<WriteAnswer*>& answer) { end(answer ? nullptr : &answer.error()); });
  if (!status) return end(&status.error());
  charge(run_.costs.client.request_ns);
}

void PlanClient::end(const Error* error) {
  --in_flight_;
  if (error != nullptr) {
    if (failure_) failure_ = fail(*error);
    return;
  }
  ++completed_;
}

}  // namespace silurus::bench
