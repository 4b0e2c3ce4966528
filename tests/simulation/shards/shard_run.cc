// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/shards/shard_run.h"

#include <algorithm>
#include <utility>

namespace silurus::simulation {
namespace {

using testing_support::SetHistory;
using testing_support::SetOperation;

constexpr std::size_t kClients = 3;
constexpr std::size_t kCoordinators = 2;
constexpr std::size_t kServersAlone = 9;
constexpr std::size_t kGroups = 5;
constexpr Nanoseconds kFaultsFrom = 60 * kMillisecond;
constexpr Nanoseconds kFaultsUntil = 500 * kMillisecond;
/// After the last fault whatever was begun is ended, and everything found, within that time.
constexpr Nanoseconds kRecovery = 20 * kSecond;
constexpr Nanoseconds kLongestTrouble = 120 * kMillisecond;  ///< longest fault of the way to etcd
constexpr Nanoseconds kLook = 500 * kMicrosecond;
/// Operations of a column while there are faults, and in all but for the last look, which is two
/// reads of each client.
constexpr std::size_t kRoomWithFaults = 45;
constexpr std::size_t kRoom = SetHistory::kMaxOperations - 2 * kClients - 1;
/// Operations of each client when all is well again.
constexpr std::size_t kLastOperations = 3;
/// The frame holds all columns but the last one, which therefore no cell holds.
constexpr double kFrameMin = -0.5;
constexpr double kFrameMax = kColumns - 1.5;

}  // namespace

ShardRun::ShardRun(std::uint64_t seed) : world_(seed), random_(seed ^ 0x54a2d) {
  sim::Host& etcd = world_.add_host("etcd");
  const sim::FabricOptions fabric = draw_fabric(random_, 4);
  nobody_ = std::make_unique<SimEtcd>(world_, etcd, kSecond);
  everyone_ = std::unique_ptr<GroupWorld>(new GroupWorld{
      GroupWorld{.world = world_, .etcd = *nobody_, .timing = {}, .fabric = fabric}});
  etcd_ = std::make_unique<EtcdOfShards>(etcd, "maps");
  ShardServers::Options options{.fabric = fabric, .seed = seed};
  // Servers alone, groups, or some of both.
  options.alone = seed % 3 == 0 ? kServersAlone : seed % 3 == 1 ? 0 : kServersAlone / 2;
  const std::size_t groups = seed % 3 == 0 ? 0 : seed % 3 == 1 ? kGroups : kGroups / 2;
  for (std::size_t i = 0; i < groups; ++i) options.groups.push_back(1 + random_.below(3));
  servers_ = std::make_unique<ShardServers>(*everyone_, *etcd_, options);
  shards_ = std::make_unique<ShardWorld>(
      ShardWorld{.everyone = *everyone_, .etcd = *etcd_, .fabric = fabric});
  shards_->ledger.room = kRoomWithFaults;
  replacements_ = std::make_unique<Replacements>(Replacements{.servers = *servers_});
  freeze_ = 10 * kMillisecond + static_cast<Nanoseconds>(random_.below(60 * kMillisecond));
  add_people();
  make_map();
}

ShardRun::~ShardRun() {
  clients_.clear();
  coordinators_.clear();
}

void ShardRun::add_people() {
  Faults::Hosts hosts{.members = servers_->hosts()};
  for (std::size_t i = 0; i < kClients; ++i) {
    client_hosts_.push_back(&add_drifting_host(world_, random_, "client" + std::to_string(i + 1)));
  }
  for (std::size_t i = 0; i < kCoordinators; ++i) {
    coordinator_hosts_.push_back(
        &add_drifting_host(world_, random_, "coordinator" + std::to_string(i + 1)));
  }
  hosts.clients = client_hosts_;
  hosts.clients.insert(hosts.clients.end(), coordinator_hosts_.begin(), coordinator_hosts_.end());
  faults_ = std::make_unique<Faults>(*everyone_, random_, std::move(hosts), *servers_);
  faults_->draw_links();
  for (std::size_t i = 0; i < kClients; ++i) {
    clients_.emplace_back();
    start_client(i);
  }
  for (std::size_t i = 0; i < kCoordinators; ++i) {
    coordinators_.emplace_back();
    start_coordinator(i);
  }
}

/// One shard, or two.
void ShardRun::make_map() {
  shards::ShardMap map;
  map.frame_min = {kFrameMin, -1};
  map.frame_max = {kFrameMax, kColumnValues};
  map.limit = {0.1, 0.1};
  map.epoch = 1;
  map.written_by = 1;
  const std::uint64_t count = 1 + random_.below(2);
  for (std::uint64_t i = 0; i < count; ++i) {
    shards::Shard& shard = map.shards.emplace_back();
    shard.id = map.next_id++;
    shard.first = i == 0 ? 0 : random_() | 1;
    shard.servers = shards::servers_of(servers_->start_next());
  }
  etcd_->replace("silurus/maps/map", 0, encode(map));
}

ClientOptions ShardRun::draw_client() {
  ClientOptions options{
      .connect_timeout = random_.below(2) == 0 ? 60 * kMillisecond : 200 * kMillisecond,
      .silence = 40 * kMillisecond,
      .seed = random_(),
      .offload = {.cache_bytes = std::size_t{64} << 10}};
  const bool is_one_sided = shards_->fabric.capabilities != 0;
  const Mode modes[] = {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive};
  options.mode = modes[is_one_sided ? random_.below(3) : 0];
  options.deadline = random_.below(3) == 0 ? 60 * kMillisecond : kSecond;
  options.reconnect_for = options.deadline;
  return options;
}

void ShardRun::start_client(std::size_t index) {
  if (clients_[index] != nullptr) add_counters(counters_.clients, clients_[index]->counters());
  RouterClient::Options options{.client = draw_client()};
  if (shards_->fabric.memory_outlives_process && index == 0) {
    options.writes = false;
    if (shards_->fabric.capabilities != 0) options.client.mode = Mode::kOffload;
  }
  clients_[index] = std::make_unique<RouterClient>(*shards_, *client_hosts_[index], options);
  if (is_finishing_) clients_[index]->finish_with(kLastOperations);
}

void ShardRun::start_coordinator(std::size_t index) {
  coordinators_[index] = std::make_unique<Coordinator>(
      *shards_, *replacements_, *coordinator_hosts_[index],
      Coordinator::Options{.client = draw_client(), .freeze = freeze_, .wants_more = index == 0});
  if (is_finishing_) coordinators_[index]->finish(is_last_at_work_ && index == 0);
}

void ShardRun::look_after_coordinators() {
  for (std::size_t i = 0; i < kCoordinators; ++i) {
    sim::Host& host = *coordinator_hosts_[i];
    if (host.alive()) continue;
    coordinators_[i]->end();
    host.restart();
    start_coordinator(i);
  }
  servers_->look_at_freezes(freeze_);
  if (!is_finished()) world_.after(kLook, [this] { look_after_coordinators(); });
}

void ShardRun::schedule_faults() {
  const auto draw_time = [this] {
    return kFaultsFrom + static_cast<Nanoseconds>(random_.below(kFaultsUntil - kFaultsFrom));
  };
  if (random_.below(3) == 0) {
    const auto index = random_.below(kClients);
    world_.at(draw_time(), [this, index] { crash_client(index, 30 * kMillisecond); });
  }
  for (std::uint64_t count = random_.below(3); count > 0; --count) {
    const auto kind = static_cast<unsigned>(random_.below(4));
    const auto lasts = kMillisecond + static_cast<Nanoseconds>(random_.below(kLongestTrouble));
    world_.at(draw_time(), [this, kind, lasts] { trouble_etcd(kind, lasts); });
  }
}

void ShardRun::trouble_etcd(unsigned kind, Nanoseconds lasts) {
  sim::Host& etcd = etcd_->host();
  const auto number = random_.below(kClients + kCoordinators);
  sim::Host& host =
      number < kClients ? *client_hosts_[number] : *coordinator_hosts_[number - kClients];
  if (kind == 0) {
    everyone_->note("etcd stands still");
    etcd.pause();
    return world_.after(lasts, [&etcd] { etcd.resume(); });
  }
  if (kind == 1) {
    everyone_->note(host.name() + " is far from etcd");
    return world_.set_link(host, etcd, {.latency = 3 * kMillisecond});
  }
  // What is asked does not arrive there, or what is answered not here.
  everyone_->note(kind == 2 ? host.name() + " does not reach etcd"
                            : "etcd does not reach " + host.name());
  sim::Host& from = kind == 2 ? host : etcd;
  sim::Host& to = kind == 2 ? etcd : host;
  world_.cut(from, to);
  world_.after(lasts, [this, &from, &to] { world_.heal(from, to); });
}

void ShardRun::crash_client(std::size_t index, Nanoseconds lasts) {
  sim::Host& host = *client_hosts_[index];
  everyone_->note(host.name() + " crashes");
  host.crash();
  clients_[index]->end();
  world_.after(lasts, [this, index, &host] {
    host.restart();
    start_client(index);
  });
}

// --- the whole

std::string ShardRun::run() {
  faults_->schedule(kFaultsFrom, kFaultsUntil);
  schedule_faults();
  world_.after(kLook, [this] { look_after_coordinators(); });
  world_.run_until(kFaultsUntil + 150 * kMillisecond);
  servers_->end_faults();
  faults_->heal();
  world_.run_for(100 * kMillisecond);
  is_finishing_ = true;
  for (auto& one : coordinators_) one->finish(false);
  shards_->ledger.room = kRoom;
  const Nanoseconds until = world_.now() + kRecovery;
  const auto has_failed = [this] { return !everyone_->complaints.empty(); };
  const auto are_idle = [&] { return has_failed() || have_coordinators_finished(); };
  world_.run_until(are_idle, until);
  is_last_at_work_ = true;
  coordinator_hosts_[0]->crash();  // a new one takes its place
  world_.run_for(2 * kLook);
  world_.run_until(are_idle, until);
  for (auto& client : clients_) client->finish_with(kLastOperations);
  const bool ended =
      world_.run_until([&] { return has_failed() || is_finished(); }, until + kRecovery);
  if (std::string wrong = complaint(); !wrong.empty()) return wrong;
  if (!ended) return "no progress after the faults had ended";
  return check();
}

bool ShardRun::have_coordinators_finished() const {
  return std::ranges::all_of(coordinators_, [](const auto& one) { return one->is_finished(); });
}

bool ShardRun::is_finished() const {
  return is_last_at_work_ && have_coordinators_finished() &&
         std::ranges::all_of(clients_, [](const auto& one) { return one->is_finished(); });
}

std::string ShardRun::complaint() const {
  return everyone_->complaints.empty() ? servers_->complaint() : everyone_->complaints.front();
}

/// Entries that were never in two shards at a time were always asked for together: those of a
/// column in one range of the last map, since ranges are only ever divided.
std::string ShardRun::check() {
  for (const auto& client : clients_) add_counters(counters_.clients, client->counters());
  counters_.splits = replacements_->splits;
  counters_.moves = replacements_->moves;
  counters_.aborts = replacements_->aborts;
  counters_.kills = replacements_->kills;
  counters_.pauses = replacements_->pauses;
  counters_.taken_over = replacements_->taken_over;
  counters_.refused = replacements_->refused;
  counters_.longest_gap = replacements_->longest_gap;
  counters_.crashes = servers_->crashes;
  counters_.maps = etcd_->history().size();
  const auto map = shards::decode(etcd_->history().back());
  if (!map) return map.error().message;
  const shards::Space<2> space(*map);
  for (unsigned column = 0; column < kColumns; ++column) {
    const SetHistory& all = shards_->ledger.histories[column];
    for (std::size_t i = 0; i < map->shards.size(); ++i) {
      std::uint64_t here = 0;
      for (unsigned value = 0; value < kColumnValues; ++value) {
        const std::uint64_t key = space.key(entry_of(column, value).box);
        if (key >= map->shards[i].first && key <= map->last_key(i)) {
          here |= std::uint64_t{1} << value;
        }
      }
      SetHistory part;
      for (SetOperation one : all.operations) {
        if (one.kind != SetOperation::Kind::kRead && (here >> one.value & 1) == 0) continue;
        one.found &= here;
        one.looked_for &= here;
        if (one.kind != SetOperation::Kind::kRead || one.looked_for != 0) {
          part.operations.push_back(std::move(one));
        }
      }
      if (!part.is_linearizable()) {
        return "column " + std::to_string(column) + " of shard " +
               std::to_string(map->shards[i].id) + " is not linearizable:\n" + part.to_string();
      }
    }
  }
  return "";
}

std::string ShardRun::trace() const {
  std::string text;
  for (const std::string& line : everyone_->trace) text += line + "\n";
  text += servers_->to_string();
  for (const auto& client : clients_) text += client->to_string() + "\n";
  for (const auto& one : coordinators_) text += one->to_string() + "\n";
  if (!etcd_->history().empty()) text += etcd_->history().back() + "\n";
  return text;
}

}  // namespace silurus::simulation
