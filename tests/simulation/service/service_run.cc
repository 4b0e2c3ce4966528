#include "tests/simulation/service/service_run.h"

#include <algorithm>
#include <utility>

namespace silurus::simulation {
namespace {

using testing_support::SetHistory;
using testing_support::SetOperation;

constexpr std::size_t kMembers = 3;
constexpr std::size_t kClients = 3;
constexpr std::size_t kPushBytes = 8 << 10;
constexpr Nanoseconds kFaultsFrom = 100 * kMillisecond;
constexpr Nanoseconds kFaultsUntil = 500 * kMillisecond;
constexpr Nanoseconds kEtcdLease = 30 * kMillisecond;
/// After the last fault everything is as it should be within so long, but for members whose log
/// ends before all others' begin: they need a copy of the tree, which is not simulated here
/// (TreeCopies).
constexpr Nanoseconds kRecovery = 3 * kSecond;
constexpr group::Timing kTiming = {.lease = 40 * kMillisecond,
                                   .heartbeat = 2 * kMillisecond,
                                   .silence = 15 * kMillisecond,
                                   .slowness = 20 * kMillisecond,
                                   .poll = 8 * kMillisecond,
                                   .candidacy = 4 * kMillisecond};
/// Operations of a column while there are faults, and in all but for the last look.
constexpr std::size_t kRoomWithFaults = 50;
constexpr std::size_t kRoom = SetHistory::kMaxOperations - 1;
/// Operations of each client when all is well again.
constexpr std::size_t kLastOperations = 3;
/// A life that crashes in the midst of writing does so within so many stores and flushes.
constexpr std::uint64_t kStoresToLive = 40;

}  // namespace

void ServiceCounters::add(const ServiceCounters& other) {
  operations += other.operations;
  in_doubt += other.in_doubt;
  failed += other.failed;
  any_reads += other.any_reads;
  asked_of_backups += other.asked_of_backups;
  read_from_backups += other.read_from_backups;
  too_old += other.too_old;
  offloaded += other.offloaded;
  reconnects += other.reconnects;
  crashes += other.crashes;
  torn += other.torn;
  checkpoints += other.checkpoints;
  elections += other.elections;
  need_copies += other.need_copies;
}

ServiceRun::ServiceRun(std::uint64_t seed) : seed_(seed), world_(seed), random_(seed ^ 0x5e41ce) {
  etcd_ = std::make_unique<SimEtcd>(world_, world_.add_host("etcd"), kEtcdLease);
  sim::FabricOptions fabric{.give_up = 30 * kMillisecond};
  // A quarter of the runs on fabrics that have connections and nothing else, as tcp is.
  if (random_.below(4) == 0) fabric.capabilities = 0;
  group_ = std::make_unique<GroupWorld>(world_, *etcd_, kTiming, fabric,
                                        static_cast<group::ReplicationProtocol>(seed % 3),
                                        kPushBytes, static_cast<group::Ack>(seed / 3 % 3));
  service_ = std::make_unique<Service>(Service{
      .group = *group_, .published = {}, .fabric = fabric, .workers = 1 + random_.below(2)});
  add_members();
  ledger_.room = kRoomWithFaults;
  add_clients();
}

ServiceRun::~ServiceRun() { clients_.clear(); }

void ServiceRun::add_members() {
  Faults::Hosts hosts;
  const auto add = [this](const std::string& name) {
    const double drift = random_.uniform(-1, 1) / group::kDriftDenominator;
    const auto offset = static_cast<Nanoseconds>(random_.below(kSecond)) + kSecond;
    return &world_.add_host(name, {.clock_offset = offset, .clock_rate = 1 + drift});
  };
  for (std::size_t i = 0; i < kMembers; ++i) {
    hosts.members.push_back(add("member" + std::to_string(i + 1)));
    nodes_.push_back({.host = hosts.members.back(), .id = i + 1});
  }
  for (std::size_t i = 0; i < kClients; ++i) {
    hosts.clients.push_back(add("client" + std::to_string(i + 1)));
  }
  faults_ = std::make_unique<Faults>(*group_, random_, std::move(hosts), *this);
  faults_->draw_links();
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
}

client::ClientOptions ServiceRun::draw_client() {
  client::ClientOptions options{
      .connect_timeout = random_.below(2) == 0 ? 60 * kMillisecond : kSecond,
      .silence = 40 * kMillisecond,
      .seed = random_(),
      .client_id = random_() | 1,
      .offload = {.cache_bytes = std::size_t{64} << 10}};
  const bool is_one_sided = service_->fabric.capabilities != 0;
  const client::Mode modes[] = {client::Mode::kMessaging, client::Mode::kOffload,
                                client::Mode::kAdaptive};
  options.mode = modes[is_one_sided ? random_.below(3) : 0];
  if (random_.below(2) == 0) options.policy = client::PolicyKind::kCatfish;
  if (random_.below(3) == 0) options.deadline = 60 * kMillisecond;
  if (random_.below(3) == 0) {
    options.read.from = client::ReadFrom::kAny;
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
    auto& host = *world_.find_host("client" + std::to_string(i + 1));
    clients_.push_back(std::make_unique<ServiceClient>(*service_, ledger_, host, urls, options));
  }
}

// --- members

void ServiceRun::start(std::size_t member) {
  Node& node = nodes_[member];
  const std::uint64_t life = seed_ * 1000 + ++lives_begun_;
  const auto failure =
      random_.below(2) == 0 ? Power::Failure::kPowerCut : Power::Failure::kProcessDies;
  node.life =
      std::make_unique<ServerLife>(*service_, *node.host, node.id, node.disk, life * 2, failure);
  node.life->power().set_on_cut([this, member] {
    group_->note(nodes_[member].host->name() + " crashes");
    nodes_[member].host->crash();
    // What it was about goes on to its end, and nothing comes of it.
    world_.after(0, [this, member] { bury(member); });
  });
  group_->note(node.host->name() + " starts");
}

void ServiceRun::crash(std::size_t member) { nodes_[member].life->power().cut(); }

void ServiceRun::crash_while_writing(std::size_t member) {
  Power& power = nodes_[member].life->power();
  if (power.is_off()) return;
  ++counters_.torn;
  power.cut_after(random_.below(kStoresToLive));
}

void ServiceRun::bury(std::size_t member) {
  Node& node = nodes_[member];
  ++counters_.crashes;
  collect(*node.life);
  for (CrashMemory::Content* content : node.disk.all()) {
    CrashMemory::end_life(node.life->power(), *content);
  }
  dead_.push_back(std::move(node.life));
}

void ServiceRun::collect(const ServerLife& life) {
  counters_.checkpoints += life.checkpoints();
  counters_.elections += life.driver().member().counters().elections;
}

// --- the whole

std::string ServiceRun::run() {
  faults_->schedule(kFaultsFrom, kFaultsUntil);
  world_.run_until(kFaultsUntil + 150 * kMillisecond);
  for (const Node& node : nodes_) {
    if (node.life != nullptr) node.life->power().cut_after(UINT64_MAX - node.life->power().steps());
  }
  faults_->heal();
  world_.run_for(100 * kMillisecond);
  ledger_.room = kRoom;
  for (auto& client : clients_) client->finish_with(kLastOperations);
  const bool converged = world_.run_until(
      [this] { return has_converged() || !group_->complaints.empty(); }, world_.now() + kRecovery);
  if (!group_->complaints.empty()) return group_->complaints.front();
  if (!converged) return "no progress after the faults had ended";
  for (const Node& node : nodes_) collect(*node.life);
  for (const auto& client : clients_) {
    const ServiceClientCounters counters = client->counters();
    counters_.operations += counters.operations;
    counters_.in_doubt += counters.in_doubt;
    counters_.failed += counters.failed;
    counters_.any_reads += counters.any_reads;
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
  if (!std::ranges::all_of(clients_, [](const auto& client) { return client->is_idle(); })) {
    return false;
  }
  const auto is_lost = [](const Node& node) { return node.life->driver().member().needs_copy(); };
  const auto there = std::ranges::find_if_not(nodes_, is_lost);
  if (there == nodes_.end()) return false;
  const group::Member& first = there->life->driver().member();
  const auto lost = static_cast<std::size_t>(std::ranges::count_if(nodes_, is_lost));
  return std::ranges::all_of(nodes_, [&](const Node& node) {
    const group::Member& member = node.life->driver().member();
    return is_lost(node) ||
           (member.view() == first.view() && member.view().members.size() + lost == kMembers &&
            member.applied() == first.applied());
  });
}

std::string ServiceRun::check() {
  const Published::Content* const last = service_->published.find(service_->published.newest());
  for (const Node& node : nodes_) {
    if (node.life->driver().member().needs_copy()) {
      ++counters_.need_copies;
    } else if (node.life->snapshot().version() != service_->published.newest()) {
      return "the members' trees differ";
    }
    if (Status valid = node.life->snapshot().validate(); !valid) return valid.error().message;
  }
  for (unsigned column = 0; column < kColumns; ++column) {
    // What is there in the end was read, as it were: so an acknowledged write that is lost is
    // found.
    SetHistory history = ledger_.histories[column];
    history.operations.push_back({.kind = SetOperation::Kind::kRead,
                                  .found = (*last)[column],
                                  .called = world_.now(),
                                  .returned = world_.now(),
                                  .whose = "the end"});
    if (!history.is_linearizable()) {
      return "column " + std::to_string(column) + " is not linearizable:\n" + history.to_string();
    }
  }
  return "";
}

std::string ServiceRun::trace() const {
  std::string text = std::string(to_string(group_->protocol)) + ", ack " +
                     std::string(to_string(group_->ack)) + "\n";
  for (const std::string& line : group_->trace) text += line + "\n";
  for (const Node& node : nodes_) {
    if (node.life == nullptr) continue;
    const group::Member& member = node.life->driver().member();
    text += node.host->name() + ": " + std::string(to_string(member.role())) + " in view " +
            encode(member.view()) + ", committed " + std::to_string(member.committed()) +
            ", applied " + std::to_string(member.applied().lsn) + ", version " +
            std::to_string(node.life->snapshot().version()) +
            (member.needs_copy() ? ", needs a copy" : "") + "\n";
  }
  for (const auto& client : clients_) text += client->to_string() + "\n";
  return text;
}

}  // namespace silurus::simulation
