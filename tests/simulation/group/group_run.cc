// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_run.h"

#include <algorithm>
#include <utility>

namespace silurus::simulation {
namespace {

using testing_support::SetHistory;
using testing_support::SetOperation;

constexpr std::size_t kClients = 3;
constexpr std::size_t kLogBytes = std::size_t{128} << 10;
constexpr std::size_t kPushBytes = 4 << 10;  // so small that it is full now and then
constexpr Nanoseconds kFaultsFrom = 100 * kMillisecond;
constexpr Nanoseconds kFaultsUntil = 500 * kMillisecond;
/// After the last fault everything is as it should be within that time.
constexpr Nanoseconds kRecovery = kSecond;

}  // namespace

GroupRun::GroupRun(std::uint64_t seed, bool is_static)
    : FaultRun(seed, 0x5eed, 3, kPushBytes), histories_(kKeys), next_value_(kKeys) {
  if (is_static) group_->static_views.emplace();
  group_->slice = rtree::kWorkOfAnOperation + 1;  // an operation, and a node, at a time
  add_hosts([] { return CrashMemory::fresh(kLogBytes); }, 0);
  for (std::size_t i = 0; i < kClients; ++i) {
    auto& host = world_.add_host("client" + std::to_string(i + 1));
    clients_.push_back({.host = &host, .number = i + 1, .request = {}, .own = {}});
  }
}

GroupRun::~GroupRun() {
  for (Node& node : nodes_) node.life.reset();
}

std::unique_ptr<MemberLife> GroupRun::make_life(Node& node, std::uint64_t seed,
                                                Power::Failure failure) {
  return std::make_unique<MemberLife>(*group_, *node.host, node.id, node.disk, seed, failure);
}

void GroupRun::collect(const MemberLife& life) {
  counters_.elections += life.member().counters().elections;
  counters_.voted_out += life.member().counters().voted_out;
  counters_.reads += life.replicator().counters().reads;
  counters_.fetches += life.replicator().counters().messages;
  counters_.pushed += life.replicator().counters().pushed;
  counters_.forwarded += life.replicator().counters().forwarded;
  counters_.truncations += life.replicator().counters().truncations;
}

void GroupRun::on_end(Node& node) {
  ++counters_.crashes;
  collect(*node.life);
  CrashMemory::end_life(node.life->power(), node.disk);
}

bool GroupRun::has_converged() const {
  return have_members_converged() && std::ranges::none_of(clients_, &Client::busy);
}

// --- clients

void GroupRun::begin(Client& client) {
  if (is_stopping_) return;
  const auto key = static_cast<unsigned>(random_.below(kKeys));
  SetHistory& history = histories_[key];
  // Room is kept for the reads at the end.
  if (history.operations.size() + 2 * kClients >= SetHistory::kMaxOperations) {
    world_.after(kMillisecond, [this, &client] { begin(client); });
    return;
  }
  Request& request = client.request;
  request = {.key = key, .client = client.number};
  const double dice = random_.uniform();
  const auto own = std::ranges::find(client.own, key, &std::pair<unsigned, unsigned>::first);
  if (dice < 0.4) {
    request.kind = Request::Kind::kRead;
  } else if (dice < 0.6 && own != client.own.end()) {
    request.kind = Request::Kind::kRemove;
    request.value = own->second;
    client.own.erase(own);
  } else {
    request.kind = Request::Kind::kAdd;
    request.value = next_value_[key]++;
  }
  if (request.kind != Request::Kind::kRead) request.sequence = ++client.sequence;
  client.operation = history.operations.size();
  history.operations.push_back({.kind = static_cast<SetOperation::Kind>(request.kind),
                                .value = request.value,
                                .called = world_.now(),
                                .whose = client.host->name()});
  client.busy = true;
  try_once(client);
}

void GroupRun::try_once(Client& client) {
  const std::uint64_t attempt = ++client.attempt;
  Node& node = nodes_[client.asks];
  sim::Host& from = *client.host;
  sim::Host& to = *node.host;
  const auto again = [this, &client, attempt](std::size_t asks, Nanoseconds delay) {
    world_.after(delay, [this, &client, attempt, asks] {
      if (client.attempt != attempt || !client.busy) return;
      client.asks = asks;
      try_once(client);
    });
  };
  again((client.asks + 1) % kMembers, 20 * kMillisecond);
  const auto arrival = world_.transmit(from, to, 100);
  if (!arrival) return;
  world_.at(*arrival, [this, &client, &node, &from, &to, attempt, again] {
    if (node.life == nullptr || !to.alive()) return;
    node.life->ask(client.request, [=, this, &client, &from, &to](const Answer& answer) {
      const auto back = world_.transmit(to, from, 100);
      if (!back) return;
      world_.at(*back, [=, this, &client] {
        if (client.attempt != attempt || !client.busy) return;
        if (answer.done) return end(client, answer);
        again(answer.primary == 0 ? (client.asks + 1) % kMembers : answer.primary - 1,
              kMillisecond);
      });
    });
  });
}

void GroupRun::end(Client& client, const Answer& answer) {
  const Request& request = client.request;
  SetOperation& operation = histories_[request.key].operations[client.operation];
  operation.returned = world_.now();
  operation.found = answer.found;
  client.busy = false;
  ++counters_.operations;
  if (request.kind == Request::Kind::kAdd) client.own.emplace_back(request.key, request.value);
  const auto rest = static_cast<Nanoseconds>(random_.below(12 * kMillisecond));
  world_.after(rest, [this, &client] { begin(client); });
}

// --- the whole

std::string GroupRun::run() {
  for (Client& client : clients_) begin(client);
  run_faults(kFaultsFrom, kFaultsUntil);
  is_stopping_ = true;
  const bool converged =
      world_.run_until([this] { return has_converged(); }, world_.now() + kRecovery);
  if (!group_->complaints.empty()) return group_->complaints.front();
  if (!converged) return "no progress after the faults had ended";
  std::string wrong = check();
  for (const Node& node : nodes_) collect(*node.life);
  return wrong;
}

std::string GroupRun::check() {
  for (unsigned key = 0; key < kKeys; ++key) {
    const std::uint64_t values = nodes_.front().life->machine().values(key);
    for (const Node& node : nodes_) {
      if (node.life->machine().values(key) != values) return "the members' trees differ";
    }
    // What is there in the end was read, as it were: so an acknowledged write that is lost is
    // found.
    SetHistory history = histories_[key];
    history.operations.push_back({.kind = SetOperation::Kind::kRead,
                                  .found = values,
                                  .called = world_.now(),
                                  .returned = world_.now(),
                                  .whose = "the end"});
    if (!history.is_linearizable()) {
      return "key " + std::to_string(key) + " is not linearizable:\n" + history.to_string();
    }
  }
  return group_->complaints.empty() ? "" : group_->complaints.front();
}

std::string GroupRun::describe(const MemberLife& life) const {
  return life.replicator().in_step() ? ", in step" : ", not in step";
}

std::string GroupRun::describe_clients() const {
  std::string text;
  for (const Client& client : clients_) {
    if (client.busy) text += client.host->name() + " still waits\n";
  }
  return text;
}

}  // namespace silurus::simulation
