// SPDX-License-Identifier: Apache-2.0

#include "server/core.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "protocol/decode.h"
#include "protocol/messages.h"
#include "rtree/root_block.h"
#include "server/keeper/keeper_link.h"
#include "server/stats.h"

namespace silurus::server {

template <int D>
Core<D>::Core(const CoreOptions& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      started_(clock.now()),
      slabs_({.huge_pages = options.huge_pages}) {}

template <int D>
Result<std::unique_ptr<Core<D>>> Core<D>::create(const CoreOptions& options, const Clock& clock,
                                                 Executor& executor,
                                                 const MembershipOpener<D>& member) {
  SILURUS_CHECK(options.workers > 0);
  std::unique_ptr<Core> core(new Core(options, clock));
  auto shard = Shard<D>::create({.grace = options.grace,
                                 .memory_budget_bytes = options.memory_budget_bytes,
                                 .build_threads = options.build_threads,
                                 .durability = options.durability,
                                 .group = options.group,
                                 .history = options.history,
                                 .slice = options.slice},
                                core->slabs_, clock, executor, member);
  if (!shard) return fail(shard.error());
  core->shard_ = std::move(*shard);
  core->team_.shard = core->shard_.get();
  core->team_.served = core->shard_->served();
  core->team_.served.rules = options.rules;
  core->team_.heartbeat = options.heartbeat;
  core->team_.idle_timeout = options.idle_timeout;
  core->team_.stats = [core = core.get()] { return core->stats_json(); };
  core->team_.cluster = [core = core.get()] { return core->cluster_json(); };
  core->team_.on_session_closed = [core = core.get()](std::size_t door) {
    core->on_session_closed(door);
  };
  for (std::size_t i = 0; i < options.workers; ++i) {
    core->team_.workers.push_back(std::make_unique<Worker<D>>(core->team_, i));
  }
  return core;
}

template <int D>
Core<D>::~Core() {
  stop_listening();
  if (shard_ != nullptr) stop_writing();
  // Sessions before the pollers that drive them and the tree that their streams read.
  for (auto& worker : team_.workers) worker->drop_sessions();
  doors_.clear();
  team_.workers.clear();
}

template <int D>
Result<rtree::Version> Core<D>::load(std::vector<rtree::Entry<D>> entries) {
  return shard_->load(std::move(entries));
}

template <int D>
Result<std::vector<transport::Poller*>> Core<D>::pollers_of(transport::Fabric& fabric) {
  std::vector<transport::Poller*> pollers;
  for (const PollerOf& known : pollers_) {
    if (known.fabric == &fabric) pollers.push_back(known.poller);
  }
  if (!pollers.empty()) return pollers;
  for (auto& worker : team_.workers) {
    auto poller = fabric.create_poller();
    if (!poller) return fail(poller.error());
    pollers.push_back(&worker->add_poller(std::move(*poller)));
    pollers_.push_back({&fabric, pollers.back(), worker.get()});
  }
  return pollers;
}

template <int D>
Result<transport::Address> Core<D>::listen(transport::Fabric& fabric,
                                           const transport::Address& address,
                                           const transport::ListenOptions& options) {
  auto pollers = pollers_of(fabric);
  if (!pollers) return fail(pollers.error());
  auto door = std::make_unique<ListenEndpoint>();
  door->core = this;
  door->index = doors_.size();
  door->one_sided = has(fabric.capabilities(), transport::Capability::kOneSidedRead);
  auto listener = fabric.listen(address, options, *pollers, *door);
  if (!listener) return fail(listener.error());
  door->listener = std::move(*listener);
  if (door->one_sided) {
    if (auto ok = slabs_.add_listener(*door->listener); !ok) return fail(ok.error());
  }
  const transport::Address bound = door->listener->address();
  door->address = bound.to_string();
  doors_.push_back(std::move(door));
  return bound;
}

template <int D>
void Core<D>::stop_listening() {
  slabs_.remove_listeners();
  for (auto& door : doors_) door->listener.reset();
}

template <int D>
void Core<D>::on_session_closed(std::size_t door) {
  doors_[door]->clients.fetch_sub(1, std::memory_order_relaxed);
  clients_.fetch_sub(1, std::memory_order_relaxed);
}

/// Warns of a refusal, of which one peer may fill the log with lines.
template <int D>
void Core<D>::warn_of_refusal(const transport::Caller& caller, const Error& error) {
  const std::lock_guard lock(refusals_mutex_);
  const auto line = refusals_.line(caller.name, "refused a client: " + error.message, clock_.now());
  if (line) log::warning(*line);
}

template <int D>
Result<std::vector<std::byte>> Core<D>::ListenEndpoint::on_hello(
    std::span<const std::byte> client_hello, const transport::Caller& caller) {
  const auto client = protocol::decode_client_hello(client_hello, D);
  if (!client) return fail(client.error());
  const CoreOptions& options = core->options_;
  access::Authorization authorization(options.rules, {caller.user, caller.name, caller.key});
  const auto collection = core->shard_->collections().find(client->collection);
  const Status may =
      check_readable(authorization, client->collection,
                     collection ? &collection->info.name : nullptr, "connect for this collection");
  if (!may) {
    core->warn_of_refusal(caller, may.error());
    return fail(may.error());
  }
  if (core->clients() >= options.max_clients) {
    return fail(ErrorCode::kUnavailable,
                "the server has its " + std::to_string(options.max_clients) +
                    " clients: try again later, or start it with a larger --max-clients");
  }
  if (collection == nullptr) {
    return fail(ErrorCode::kNoCollection,
                "there is no such collection (silurus collections lists those that there are)");
  }
  const std::uint32_t root = collection->tree().root_chunk();
  const MemberStatus* const member_status = core->shard_->member_status();
  const protocol::ServerHello hello{
      .dimensions = D,
      .node_format = rtree::kNodeFormat<D>,
      .instance = options.instance,
      .grace_ns = static_cast<std::uint64_t>(options.grace),
      .heartbeat_ns = static_cast<std::uint64_t>(options.heartbeat),
      .chunk_bytes = static_cast<std::uint32_t>(rtree::kChunkBytes<D>),
      .chunks_per_region = rtree::kChunksPerSlab,
      .max_batch = kMaxBatchOperations,
      .one_sided = one_sided && authorization.rights().reads_all() ? 1u : 0u,
      .root_offset = rtree::offset_in_slab<D>(root),
      .collection = collection->info.number,
      .root_region = root / rtree::kChunksPerSlab,
      .collection_flags = collection->info.flags,
      // Before its first view too a member of a group leases its reads.
      .epoch = member_status == nullptr ? 0 : std::max<std::uint64_t>(member_status->epoch(), 1)};
  std::vector<std::byte> bytes(sizeof hello);
  std::memcpy(bytes.data(), &hello, sizeof hello);
  return bytes;
}

template <int D>
bool Core<D>::ListenEndpoint::may_read_regions(const transport::Caller& caller) {
  access::Authorization authorization(core->options_.rules, {caller.user, caller.name, caller.key});
  return authorization.rights().reads_all();
}

template <int D>
void Core<D>::ListenEndpoint::on_accept(std::unique_ptr<transport::Connection> connection,
                                        transport::Poller& poller) {
  clients.fetch_add(1, std::memory_order_relaxed);
  core->clients_.fetch_add(1, std::memory_order_relaxed);
  log::debug("client " + connection->peer() + " at " + address);
  for (const PollerOf& known : core->pollers_) {
    if (known.poller == &poller) return known.worker->adopt(std::move(connection), index);
  }
  SILURUS_CHECK(!"a connection for a poller that isn't ours");
}

template <int D>
std::string Core<D>::stats_json() const {
  const auto collection = shard_->collections().default_one();
  StatsInput input{.dimensions = D,
                   .uptime = clock_.now() - started_,
                   .cpu_seconds = options_.cpu_seconds ? options_.cpu_seconds() : 0,
                   .memory_budget_bytes = options_.memory_budget_bytes,
                   .slab_bytes = slabs_.bytes(),
                   .huge_pages = slabs_.huge(),
                   .staged_bytes = shard_->load_slot().staged_bytes(),
                   .tree = collection->tree().stats(),
                   .state = to_string(shard_->admission().state()),
                   .clock_lead = shard_->clock_lead(),
                   .writer_batches = shard().writes().batches(),
                   .writer_delays = shard().writes().delays()};
  for (const auto& door : doors_) {
    input.listeners.push_back(
        {door->address, door->clients.load(std::memory_order_relaxed),
         door->listener ? door->listener->ring_bytes() : 0,
         door->listener ? door->listener->refusals() : transport::RefusalCounts{}});
  }
  if (const auto* link = keeper::KeeperLink::of_this_process(); link != nullptr) {
    input.kept = {link->birth().life, link->held()};
  }
  input.durability = shard_->writes().durability_stats();
  if (const MemberStatus* member_status = shard_->member_status(); member_status != nullptr) {
    input.group = member_status->facts(clock_.now());
  }
  for (const auto& worker : team_.workers) input.workers.push_back(&worker->counters());
  return render_stats(input);
}

template <int D>
Status Core<D>::join_group() {
  std::string clients;
  for (const auto& door : doors_) clients += (clients.empty() ? "" : ",") + door->address;
  return shard_->join_group(
      clients, [this](transport::Listener& listener) { return slabs_.add_listener(listener); });
}

template <int D>
std::string Core<D>::cluster_json() const {
  if (const MemberStatus* member_status = shard_->member_status(); member_status != nullptr) {
    return render_cluster(member_status->facts(clock_.now()));
  }
  std::vector<std::string> addresses;
  for (const auto& door : doors_) addresses.push_back(door->address);
  const auto durability = shard_->writes().durability_stats();
  return render_cluster(addresses, durability ? durability->log_end : 0);
}

template class Core<2>;
template class Core<3>;

}  // namespace silurus::server
