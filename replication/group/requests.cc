// SPDX-License-Identifier: Apache-2.0

#include "replication/group/requests.h"

#include <algorithm>
#include <cstring>

namespace silurus::replication::group {
namespace {

// As encoded: CountBytes, then for each client, the one that wrote last at the end, ClientBytes and
// for each of its outcomes OutcomeBytes and its failures.
struct CountBytes {
  std::uint64_t clients;
};
struct ClientBytes {
  std::uint64_t client;
  std::uint64_t first;
  std::uint64_t outcomes;
};
struct OutcomeBytes {
  std::uint64_t sequence;
  std::uint64_t version;
  std::uint64_t failures;
};
static_assert(sizeof(Failure) == 8);
static_assert(RequestTable::kMaxClients * sizeof(ClientBytes) +
                      RequestTable::kMaxWeight * sizeof(OutcomeBytes) + sizeof(CountBytes) <=
                  RequestTable::kMaxEncodedBytes,
              "failures weigh as much as outcomes and are smaller");

template <typename T>
void put(std::vector<std::byte>& bytes, const T& value) {
  bytes.resize(bytes.size() + sizeof value);
  std::memcpy(bytes.data() + bytes.size() - sizeof value, &value, sizeof value);
}

template <typename T>
bool take(std::span<const std::byte>& bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return true;
}

std::size_t weight_of(const Outcome& outcome) { return 1 + outcome.failed.size(); }

}  // namespace

bool RequestTable::is_done(std::uint64_t client, std::uint64_t sequence) const {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return false;
  return sequence < found->second.first || find(client, sequence) != nullptr;
}

const Outcome* RequestTable::find(std::uint64_t client, std::uint64_t sequence) const {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return nullptr;
  const auto& outcomes = found->second.outcomes;
  const auto at = std::ranges::find(outcomes, sequence, [](const auto& one) { return one.first; });
  return at == outcomes.end() ? nullptr : &at->second;
}

void RequestTable::correct(std::uint64_t client, std::uint64_t sequence, rtree::Version version) {
  if (const Outcome* noted = find(client, sequence); noted != nullptr) {
    const_cast<Outcome*>(noted)->version = version;  // the table that it points into is our own
  }
}

void RequestTable::note(const RequestPayload& request, Outcome outcome) {
  auto [found, is_new] = clients_.try_emplace(request.client);
  Client& client = found->second;
  if (!is_new) order_.erase(client.place);
  client.place = order_.insert(order_.end(), request.client);
  forget_before(client, std::min(request.first, request.sequence));
  weight_ += weight_of(outcome);
  client.outcomes.emplace_back(request.sequence, std::move(outcome));
  if (client.outcomes.size() > kMaxOutcomes) {
    const auto oldest =
        std::ranges::min(client.outcomes, {}, [](const auto& one) { return one.first; });
    forget_before(client, oldest.first + 1);
  }
  while (order_.size() > 1 && (clients_.size() > max_clients_ || weight_ > max_weight_)) {
    forget_oldest_client();
  }
}

void RequestTable::forget_before(Client& client, std::uint64_t first) {
  if (first <= client.first) return;
  client.first = first;
  std::erase_if(client.outcomes, [&](const auto& one) {
    if (one.first >= first) return false;
    weight_ -= weight_of(one.second);
    return true;
  });
}

void RequestTable::forget_oldest_client() {
  const auto found = clients_.find(order_.front());
  for (const auto& one : found->second.outcomes) weight_ -= weight_of(one.second);
  clients_.erase(found);
  order_.pop_front();
}

std::vector<std::byte> RequestTable::encode() const {
  std::vector<std::byte> bytes;
  put(bytes, CountBytes{clients_.size()});
  for (const std::uint64_t id : order_) {
    const Client& client = clients_.at(id);
    put(bytes, ClientBytes{id, client.first, client.outcomes.size()});
    for (const auto& [sequence, outcome] : client.outcomes) {
      put(bytes, OutcomeBytes{sequence, outcome.version, outcome.failed.size()});
      for (const Failure& failure : outcome.failed) put(bytes, failure);
    }
  }
  return bytes;
}

Result<RequestTable> RequestTable::decode(std::span<const std::byte> bytes) {
  const auto bad = [] {
    return fail(ErrorCode::kProtocol, "the table of clients' writes is not one");
  };
  RequestTable table;
  CountBytes counts{};
  if (!take(bytes, counts) || counts.clients > kMaxClients) return bad();
  for (std::uint64_t i = 0; i < counts.clients; ++i) {
    ClientBytes head{};
    if (!take(bytes, head) || head.outcomes > kMaxOutcomes ||
        table.clients_.contains(head.client)) {
      return bad();
    }
    Client& client = table.clients_[head.client];
    client.first = head.first;
    client.place = table.order_.insert(table.order_.end(), head.client);
    for (std::uint64_t k = 0; k < head.outcomes; ++k) {
      OutcomeBytes one{};
      if (!take(bytes, one) || one.failures > bytes.size() / sizeof(Failure)) return bad();
      Outcome outcome{.version = one.version, .failed = {}};
      outcome.failed.resize(one.failures);
      for (Failure& failure : outcome.failed) {
        if (!take(bytes, failure)) return bad();
      }
      table.weight_ += weight_of(outcome);
      client.outcomes.emplace_back(one.sequence, std::move(outcome));
    }
  }
  if (!bytes.empty()) return bad();
  return table;
}

}  // namespace silurus::replication::group
