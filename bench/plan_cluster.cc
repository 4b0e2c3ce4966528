// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_cluster.h"

#include <algorithm>
#include <string>

#include "bench/plan_client.h"
#include "bench/plan_hosts.h"
#include "bench/plan_server.h"
#include "datasets/generators.h"

namespace silurus::bench {
namespace {

namespace sim = transport::sim;

/// A run that is not through after that much virtual time never will be.
constexpr Nanoseconds kMaxVirtualTime = 100 * kSecond;
/// How often it is looked whether it is.
constexpr Nanoseconds kLook = 100 * kMicrosecond;

/// What a host has done so far, in all.
struct Meter {
  Nanoseconds cpu = 0;
  sim::CardUse card;
};

/// Servers, machines with clients, and the world that they are in.
class PlanCluster {
 public:
  explicit PlanCluster(const PlanRun& run) : run_(run), world_(run.seed) {
    world_.set_default_link(link_model(run.model));
  }
  Status start();
  Status run_until_counted(std::uint64_t per_client, std::uint64_t in_all, Nanoseconds time);
  void begin_counting();
  PlanFigures figures() const;

 private:
  Status failure() const;
  bool is_through(std::uint64_t per_client, std::uint64_t in_all) const;
  void add_use(PlanFigures& figures, double seconds) const;

  const PlanRun& run_;
  sim::World world_;
  std::vector<std::unique_ptr<PlanServer>> servers_;
  std::vector<sim::Host*> machines_;
  std::vector<std::unique_ptr<PlanClient>> clients_;
  Nanoseconds began_ = 0;
  std::vector<Meter> meters_;  ///< the servers' meters when counting began
  Nanoseconds client_cpu_ = 0;
};

Status PlanCluster::start() {
  for (unsigned i = 0; i < run_.servers; ++i) {
    auto server = PlanServer::create(world_, "server" + std::to_string(i), run_);
    if (!server) return fail(server.error());
    servers_.push_back(std::move(*server));
  }
  for (unsigned i = 0; i < std::min(run_.machines, run_.clients); ++i) {
    machines_.push_back(
        &world_.add_host("machine" + std::to_string(i),
                         host_options(run_.model, run_.costs, 1, run_.costs.offload.leaf_ns)));
  }
  for (unsigned i = 0; i < run_.clients; ++i) {
    clients_.push_back(
        std::make_unique<PlanClient>(world_, *machines_[i % machines_.size()], run_, i));
    const auto& server = servers_[i % servers_.size()];
    if (auto ok = clients_.back()->connect(server->host().name()); !ok) return ok;
  }
  return {};
}

Status PlanCluster::failure() const {
  for (const auto& client : clients_) {
    if (!client->failure()) return client->failure();
  }
  return {};
}

bool PlanCluster::is_through(std::uint64_t per_client, std::uint64_t in_all) const {
  std::uint64_t all = 0;
  for (const auto& client : clients_) {
    if (client->counted() < per_client) return false;
    all += client->counted();
  }
  return all >= in_all;
}

Status PlanCluster::run_until_counted(std::uint64_t per_client, std::uint64_t in_all,
                                      Nanoseconds time) {
  const Nanoseconds start = world_.now();
  while (world_.now() - start < time || !is_through(per_client, in_all)) {
    world_.run_for(kLook);
    if (auto ok = failure(); !ok) return ok;
    if (world_.now() > kMaxVirtualTime) {
      return fail(ErrorCode::kUnavailable, "the plan is not through after " +
                                               std::to_string(kMaxVirtualTime / kSecond) +
                                               " s of virtual time");
    }
  }
  return {};
}

void PlanCluster::begin_counting() {
  began_ = world_.now();
  for (const auto& client : clients_) client->begin_counting();
  meters_.clear();
  for (const auto& server : servers_) {
    meters_.push_back({server->host().cpu_time(), server->host().card_use()});
  }
  client_cpu_ = 0;
  for (const sim::Host* machine : machines_) client_cpu_ += machine->cpu_time();
}

void PlanCluster::add_use(PlanFigures& figures, double seconds) const {
  const auto operations = static_cast<double>(figures.operations);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const sim::Host& host = servers_[i]->host();
    const sim::CardUse& use = host.card_use();
    const sim::CardUse& before = meters_[i].card;
    const auto out = static_cast<double>(use.bytes_out - before.bytes_out);
    const auto in = static_cast<double>(use.bytes_in - before.bytes_in);
    const auto reads = static_cast<double>(use.reads - before.reads);
    const auto messages = static_cast<double>(use.messages - before.messages);
    const auto busy = static_cast<double>(host.cpu_time() - meters_[i].cpu);
    const auto& nic = host.options().nic;
    figures.network_out = std::max(figures.network_out, out / seconds / nic.link_bytes_per_second);
    figures.network_in = std::max(figures.network_in, in / seconds / nic.link_bytes_per_second);
    figures.card = std::max({figures.card, reads / seconds / nic.reads_per_second,
                             messages / seconds / nic.messages_per_second});
    figures.server_cpu +=
        busy / 1e9 / seconds / run_.model.host.server_cores / static_cast<double>(servers_.size());
    figures.bytes_out += out / operations;
    figures.bytes_in += in / operations;
    figures.reads += reads / operations;
    figures.messages += messages / operations;
    figures.busy_ns += busy / operations;
  }
}

PlanFigures PlanCluster::figures() const {
  PlanFigures figures;
  Histogram latency;
  ClientStatistics statistics;
  Nanoseconds client_cpu = -client_cpu_;
  for (const auto& client : clients_) {
    figures.operations += client->counted();
    latency.merge(client->search_latency());
    statistics.merge(client->statistics());
  }
  for (const sim::Host* machine : machines_) client_cpu += machine->cpu_time();
  const double seconds = static_cast<double>(world_.now() - began_) / 1e9;
  const auto operations = static_cast<double>(figures.operations);
  figures.ops_per_second = operations / seconds;
  figures.p50_us = static_cast<double>(latency.percentile(50)) / 1e3;
  figures.p99_us = static_cast<double>(latency.percentile(99)) / 1e3;
  figures.client_cpu_us = static_cast<double>(client_cpu) / 1e3 / operations;
  const auto offloaded = static_cast<double>(statistics.offload.completed);
  const auto searches = offloaded + static_cast<double>(statistics.messaging.completed);
  figures.offload_share = searches > 0 ? offloaded / searches : 0;
  figures.round_trips =
      offloaded > 0 ? static_cast<double>(statistics.offload.round_trips) / offloaded : 0;
  figures.events = world_.events();
  add_use(figures, seconds);
  return figures;
}

}  // namespace

Result<PlanFigures> run_plan(const PlanRun& run) {
  PlanCluster cluster(run);
  if (auto ok = cluster.start(); !ok) return fail(ok.error());
  cluster.begin_counting();
  if (auto ok = cluster.run_until_counted(run.warm_up_operations, 0, run.warm_up); !ok) {
    return fail(ok.error());
  }
  cluster.begin_counting();
  if (auto ok = cluster.run_until_counted(0, run.operations, run.duration); !ok) {
    return fail(ok.error());
  }
  return cluster.figures();
}

Result<std::shared_ptr<const PlanEntries>> plan_entries(std::uint64_t count) {
  auto source = datasets::generate_uniform<2>({.count = count, .seed = 1, .edge = 0.0001});
  if (!source) return fail(source.error());
  auto entries = datasets::read_all(**source);
  if (!entries) return fail(entries.error());
  return std::make_shared<const PlanEntries>(std::move(*entries));
}

}  // namespace silurus::bench
