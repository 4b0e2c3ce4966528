// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/service/service_run.h"

#include <algorithm>
#include <utility>

namespace silurus::simulation {
namespace {

using testing_support::SetHistory;
using testing_support::SetOperation;

constexpr std::size_t kClients = 3;
constexpr std::size_t kPushBytes = 8 << 10;
constexpr Nanoseconds kFaultsFrom = 40 * kMillisecond;
constexpr Nanoseconds kFaultsUntil = 440 * kMillisecond;
/// Time after the last fault within which everything is as it should be.
constexpr Nanoseconds kRecovery = 3 * kSecond;
/// When bulk loads begin.
constexpr Nanoseconds kLoadsFrom = 20 * kMillisecond;
constexpr Nanoseconds kLoadsWithin = 80 * kMillisecond;
/// Two that compete begin at most that long one after the other.
constexpr Nanoseconds kLoadsApart = 10 * kMillisecond;
static_assert(kLoads <= kClients);
/// Operations of a column while there are faults, and in all but for the last look.
constexpr std::size_t kRoomWithFaults = 50;
constexpr std::size_t kRoom = SetHistory::kMaxOperations - 1;
/// Operations of each client when all is well again.
constexpr std::size_t kLastOperations = 3;

}  // namespace

ServiceRun::ServiceRun(std::uint64_t seed) : FaultRun(seed, 0x5e41ce, 4, kPushBytes) {
  service_ = std::make_unique<Service>(Service{.group = *group_,
                                               .published = {},
                                               .fabric = group_->fabric,
                                               .workers = 1 + random_.below(2)});
  // In half of the runs an operation, and a node, at a time.
  if (random_.below(2) == 0) group_->slice = rtree::kWorkOfAnOperation + 1;
  draw_copies();
  add_hosts([] { return ServerDisk(); }, kClients);
  ledger_.room = kRoomWithFaults;
  add_clients();
}

ServiceRun::~ServiceRun() {
  clients_.clear();
  dead_.clear();
  nodes_.clear();
}

/// Most logs keep little, so that a member that is away for a while needs a copy; and some disks
/// are too slow for one, so that it is in the way.
void ServiceRun::draw_copies() {
  service_->kept_log = random_.below(4) == 0 ? 0 : std::uint64_t{256} << random_.below(4);
  group_->window_bytes = service_->kept_log == 0 ? std::size_t{8} << 10 : 512;
  // Trees are small: so that what copies hold may be too much.
  if (random_.below(2) == 0) service_->copies.memory_share *= 128;
  const std::uint64_t slowness = random_.below(4);
  const Nanoseconds longest = slowness == 0 ? 100 * kMillisecond : 15 * kMillisecond;
  if (slowness < 2) service_->node_time = static_cast<Nanoseconds>(random_.below(longest));
  service_->on_copy = [this](const sim::Host& copier, const sim::Host& source) {
    group_->note(copier.name() + " copies " + source.name());
    if (world_.now() < kFaultsUntil && random_.below(4) != 0) faults_->disturb(copier, source);
  };
  service_->on_arrival = [this](const sim::Host& host) {
    const std::size_t member = place_of(host);
    start_again(*this, member, *group_, *nodes_[member].host);
  };
}

ClientOptions ServiceRun::draw_client() {
  ClientOptions options{.connect_timeout = random_.below(2) == 0 ? 60 * kMillisecond : kSecond,
                        .silence = 40 * kMillisecond,
                        .seed = random_(),
                        .client_id = random_() | 1,
                        .offload = {.cache_bytes = std::size_t{64} << 10}};
  const bool is_one_sided = service_->fabric.capabilities != 0;
  const Mode modes[] = {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive};
  options.mode = modes[is_one_sided ? random_.below(3) : 0];
  if (random_.below(2) == 0) {
    options.policy = random_.below(2) == 0 ? PolicyKind::kCatfish : PolicyKind::kCatfishDoubling;
  }
  if (random_.below(3) == 0) options.deadline = 60 * kMillisecond;
  if (random_.below(3) == 0) {
    options.read.from = ReadFrom::kAny;
    options.read.max_staleness =
        5 * kMillisecond + static_cast<Nanoseconds>(random_.below(100 * kMillisecond));
  }
  return options;
}

void ServiceRun::add_clients() {
  std::vector<std::string> urls;
  for (const Node& node : nodes_) urls.push_back(SimServer::url(*node.host));
  for (std::size_t i = 0; i < kClients; ++i) {
    ServiceClient::Options options{.client = draw_client()};
    options.knows_members = random_.below(2) == 0;
    options.in_flight = 1 + random_.below(3);
    clients_.push_back(
        std::make_unique<ServiceClient>(*service_, ledger_, *client_hosts_[i], urls, options));
  }
  if (random_.below(2) == 0) return;
  // The tree is empty only in the beginning. In half of the runs that load, two clients compete.
  const auto begin = kLoadsFrom + static_cast<Nanoseconds>(random_.below(kLoadsWithin));
  const unsigned loads = 1 + static_cast<unsigned>(random_.below(kLoads));
  for (unsigned which = 0; which < loads; ++which) {
    const auto rest = static_cast<Nanoseconds>(random_.below(kLoadsApart));
    clients_[which]->plan_load(clients_[which]->host().clock().now() + begin + rest, which);
  }
}

// --- members

std::unique_ptr<ServerLife> ServiceRun::make_life(Node& node, std::uint64_t seed,
                                                  Power::Failure failure) {
  return std::make_unique<ServerLife>(*service_, *node.host, node.id, node.disk, seed, failure);
}

void ServiceRun::crash_while_writing(std::size_t member) {
  if (!nodes_[member].life->power().is_off()) ++counters_.torn;
  FaultRun::crash_while_writing(member);
}

void ServiceRun::on_end(Node& node) {
  ++counters_.crashes;
  if (node.life->copies().is_fetching() && !node.life->copies().has_arrived()) {
    ++counters_.copiers_died;
  }
  if (node.life->load_taker().is_copying()) ++counters_.load_copiers_died;
  collect(*node.life);
  node.disk.end_life(node.life->power());
}

std::size_t ServiceRun::place_of(const sim::Host& host) const {
  const auto node = std::ranges::find(nodes_, &host, &Node::host);
  return static_cast<std::size_t>(node - nodes_.begin());
}

void ServiceRun::collect(const ServerLife& life) {
  const replication::StateTransferCounters& copies = life.copies().counters();
  add_counters(counters_.copies, copies);
  if (service_->fabric.capabilities == 0) counters_.arrived_by_message += copies.arrived;
  counters_.checkpoints += life.checkpoints();
  counters_.loads_taken += life.load_taker().taken();
  counters_.elections += life.member().counters().elections;
}

// --- the whole

std::string ServiceRun::run() {
  run_faults(kFaultsFrom, kFaultsUntil);
  ledger_.room = kRoom;
  for (auto& client : clients_) client->finish_with(kLastOperations);
  const bool converged = world_.run_until(
      [this] { return has_converged() || !group_->complaints.empty(); }, world_.now() + kRecovery);
  if (!group_->complaints.empty()) return group_->complaints.front();
  if (!converged) return "no progress after the faults had ended";
  for (const Node& node : nodes_) collect(*node.life);
  counters_.sources_died = service_->sources_died;
  counters_.load_sources_died = service_->load_sources_died;
  if (service_->loads.size() > 1) ++counters_.rival_loads;
  for (const auto& client : clients_) {
    const ServiceClientCounters counters = client->counters();
    counters_.operations += counters.operations;
    counters_.in_doubt += counters.in_doubt;
    counters_.failed += counters.failed;
    counters_.any_reads += counters.any_reads;
    counters_.loads += counters.loads;
    counters_.loads_failed += counters.loads_failed;
    counters_.loads_refused += counters.loads_refused;
    counters_.asked_of_backups += counters.statistics.asked_of_backups;
    if (client->reads_one_sidedly()) {
      counters_.read_from_backups += counters.statistics.asked_of_backups;
    }
    counters_.too_old += counters.statistics.refused_answers;
    counters_.offloaded += counters.statistics.offload.completed;
    counters_.reconnects += counters.statistics.reconnects;
  }
  return check();
}

bool ServiceRun::has_converged() const {
  return have_members_converged() &&
         std::ranges::all_of(clients_, [](const auto& client) { return client->is_idle(); });
}

std::string ServiceRun::check() {
  const Published::Content* const last = service_->published.find(service_->published.newest());
  for (const Node& node : nodes_) {
    if (node.life->snapshot().version() != service_->published.newest()) {
      return "the members' trees differ";
    }
    if (Status valid = node.life->snapshot().validate(); !valid) return valid.error().message;
  }
  for (unsigned column = 0; column < kColumns; ++column) {
    // What is there in the end was read, as it were: so an acknowledged write that is lost is
    // found.
    SetHistory history = ledger_.histories[column];
    history.operations.push_back({.kind = SetOperation::Kind::kRead,
                                  .found = ServiceClient::for_history((*last)[column]),
                                  .called = world_.now(),
                                  .returned = world_.now(),
                                  .whose = "the end"});
    if (!history.is_linearizable()) {
      return "column " + std::to_string(column) + " is not linearizable:\n" + history.to_string();
    }
  }
  return "";
}

std::string ServiceRun::describe(const ServerLife& life) const {
  return ", version " + std::to_string(life.snapshot().version()) +
         (life.member().needs_copy() ? ", needs a copy" : "");
}

std::string ServiceRun::describe_clients() const {
  std::string text;
  for (const auto& client : clients_) text += client->to_string() + "\n";
  return text;
}

}  // namespace silurus::simulation
