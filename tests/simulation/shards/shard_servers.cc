// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/shards/shard_servers.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace silurus::simulation {
namespace {

constexpr std::size_t kPushBytes = 8 << 10;
/// Files there outlive a process, and wait for no device.
constexpr const char* kMemory = "/dev/shm";
/// Between two looks at whether a server is frozen.
constexpr Nanoseconds kLookTolerance = 5 * kMillisecond;

}  // namespace

ShardServers::ShardServers(GroupWorld& everyone, EtcdOfShards& etcd, const Options& options)
    : everyone_(everyone), etcd_(etcd), options_(options), random_(options.seed) {
  if (options.alone > 0 && std::filesystem::is_directory(kMemory)) data_.emplace(kMemory);
  for (std::size_t i = 0; i < options.alone; ++i) add_alone(i + 1);
  for (std::size_t i = 0; i < options.groups.size(); ++i) add_group(i + 1, options.groups[i]);
  // In any order.
  for (std::size_t i = places_.size(); i > 1; --i) {
    std::swap(places_[i - 1], places_[random_.below(i)]);
  }
}

ShardServers::~ShardServers() {
  nodes_.clear();
  dead_.clear();
  dead_alone_.clear();
}

std::size_t ShardServers::add_node(const std::string& name, Group* group, group::MemberId id) {
  sim::Host& host = add_drifting_host(everyone_.world, random_, name);
  hosts_.push_back(&host);
  nodes_.push_back({.host = &host, .group = group, .id = id});
  return nodes_.size() - 1;
}

void ShardServers::add_alone(std::size_t number) {
  const std::size_t node = add_node("server" + std::to_string(number), nullptr, 0);
  places_.push_back({SimServer::url(*hosts_[node]), {node}});
}

void ShardServers::add_group(std::size_t number, std::size_t members) {
  Group& group = groups_.emplace_back();
  group.etcd = std::make_unique<SimEtcd>(everyone_.world, etcd_.host(), kEtcdLease);
  group.world = std::unique_ptr<GroupWorld>(new GroupWorld{GroupWorld{
      .world = everyone_.world,
      .etcd = *group.etcd,
      .timing = kQuick,
      .fabric = options_.fabric,
      .protocol = static_cast<group::ReplicationProtocol>(random_.below(3)),
      .push_bytes = kPushBytes,
      .ack = static_cast<group::Ack>(random_.below(3)),
      .number = static_cast<unsigned>(number),
      .slice = random_.below(2) == 0 ? rtree::kWorkOfAnOperation + 1 : rtree::kSliceOfWork}});
  group.service = std::make_unique<Service>(Service{.group = *group.world,
                                                    .published = {},
                                                    .fabric = options_.fabric,
                                                    .workers = 1 + random_.below(2)});
  group.service->on_arrival = [this, &world = *group.world](const sim::Host& host) {
    const auto at = std::ranges::find(nodes_, &host, &Node::host);
    start_again(*this, static_cast<std::size_t>(at - nodes_.begin()), world, *at->host);
  };
  etcd_.add_group(static_cast<std::uint32_t>(number), *group.etcd);
  Place& place = places_.emplace_back();
  place.url = etcd_.url() + "/" + std::to_string(number);
  for (std::size_t i = 1; i <= members; ++i) {
    const std::string name = "group" + std::to_string(number) + "-" + std::to_string(i);
    place.nodes.push_back(add_node(name, &group, i));
  }
}

std::string ShardServers::start_next() {
  if (started == places_.size()) return {};
  const Place& place = places_[started++];
  for (const std::size_t node : place.nodes) {
    if (nodes_[node].host->alive()) start(node);
  }
  return place.url;
}

// --- lives

void ShardServers::start(std::size_t server) {
  Node& node = nodes_[server];
  node.frozen_by = 0;
  const std::uint64_t seed = (options_.seed * 1000 + ++lives_begun_) * 2;
  everyone_.note(node.host->name() + " starts");
  if (node.group == nullptr) {
    if (data_ && node.data.empty()) node.data = *data_ / node.host->name();
    node.alone = std::make_unique<SimServer>(
        *node.host,
        SimServer::Options{.fabric = options_.fabric, .instance = seed | 1, .data = node.data});
    return;
  }
  if (node.disk == nullptr) node.disk = std::make_unique<ServerDisk>();
  node.life = std::make_unique<ServerLife>(*node.group->service, *node.host, node.id, *node.disk,
                                           seed, draw_failure(random_));
  crash_with(node.life->power(), everyone_, *node.host, [this, server] { reap(server); });
}

void ShardServers::reap(std::size_t server) {
  Node& node = nodes_[server];
  ++crashes;
  node.disk->end_life(node.life->power());
  dead_.push_back(std::move(node.life));
}

/// What it has written is what its next life finds; what is left of it has the old files.
void ShardServers::reap_alone(std::size_t server) {
  Node& node = nodes_[server];
  ++crashes;
  const std::string old =
      std::exchange(node.data, *data_ / (node.host->name() + "-" + std::to_string(lives_begun_)));
  std::filesystem::copy(old, node.data, std::filesystem::copy_options::recursive);
  dead_alone_.push_back(std::move(node.alone));
}

void ShardServers::crash(std::size_t server) {
  Node& node = nodes_[server];
  if (node.life != nullptr) node.life->power().cut();
  if (node.alone == nullptr || !data_) return;
  everyone_.note(node.host->name() + " is killed");
  node.host->kill();
  reap_alone(server);
}

void ShardServers::crash_while_writing(std::size_t server) {
  if (nodes_[server].life == nullptr) return crash(server);
  cut_soon(nodes_[server].life->power(), random_);
}

void ShardServers::set_turn(std::size_t server, Nanoseconds turn) {
  if (nodes_[server].life != nullptr) nodes_[server].life->turn = turn;
}

sim::Host* ShardServers::primary() const {
  for (const Node& node : nodes_) {
    if (node.life != nullptr && node.life->member().may_write()) return node.host;
  }
  return nullptr;
}

void ShardServers::end_faults() {
  for (Node& node : nodes_) {
    if (node.life != nullptr) keep_on(node.life->power());
  }
}

// --- looking at them

std::string ShardServers::complaint() const {
  for (const Group& group : groups_) {
    if (!group.world->complaints.empty()) return group.world->complaints.front();
  }
  for (const Node& node : nodes_) {
    const server::Core<2>* const core = node.core();
    if (core == nullptr) continue;
    if (Status valid = core->shard().tree().snapshot().validate(); !valid) {
      return node.host->name() + ": " + valid.error().message;
    }
  }
  return "";
}

void ShardServers::look_at_freezes(Nanoseconds freeze) {
  using State = server::AdmissionControl::State;
  for (Node& node : nodes_) {
    const server::Core<2>* const core = node.core();
    const Nanoseconds now = node.host->clock().now();
    if (core == nullptr) continue;
    const server::AdmissionControl& admission = core->shard().admission();
    const bool is_frozen = admission.state() == State::kFrozen && !admission.has_lapsed(now);
    if (!is_frozen ||
        admission.fencing_token() != std::exchange(node.frozen_by, admission.fencing_token())) {
      node.frozen_since = now;
      if (!is_frozen) node.frozen_by = 0;
    } else if (now - node.frozen_since > freeze + kLookTolerance) {
      everyone_.complain(node.host->name() + " has been frozen for longer than it may");
    }
  }
}

std::string ShardServers::to_string() const {
  std::string text;
  for (const Node& node : nodes_) {
    const server::Core<2>* const core = node.core();
    if (core == nullptr) continue;
    text += node.host->name() + ": " +
            std::string(replication::to_string(core->shard().admission().state())) +
            ", fencing token " + std::to_string(core->shard().admission().fencing_token()) + ", " +
            std::to_string(core->shard().tree().snapshot().size()) + " entries";
    if (node.life != nullptr) {
      const group::Member& member = node.life->member();
      text +=
          ", " + std::string(group::to_string(member.role())) + " in view " + encode(member.view());
    }
    text += "\n";
  }
  for (const Group& group : groups_) {
    for (const std::string& line : group.world->trace) {
      text += "group " + std::to_string(group.world->number) + ", " + line + "\n";
    }
  }
  return text;
}

}  // namespace silurus::simulation
