#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "replication/record.h"

namespace silurus::replication::group {

/// The newest write of each client that the log has, so that a write that is sent again, to this
/// primary or to the next one, happens once (Liskov and Cowling, "Viewstamped replication
/// revisited", 2012, section 4). A client has one write under way at a time and numbers them. Made
/// from the log alone, it is the same at every member. Bounded: of too many clients, those that
/// have not written for the longest time are forgotten, everywhere at the same place of the log.
/// One thread.
class RequestTable {
 public:
  static constexpr std::size_t kMaxClients = std::size_t{1} << 16;

  explicit RequestTable(std::size_t max_clients = kMaxClients) : max_clients_(max_clients) {}

  struct Done {
    std::uint64_t sequence = 0;
    Lsn lsn = 0;  ///< of the record that says so
  };
  /// Takes note of a committed record, in the order of the log.
  void take(const Record& record) {
    if (record.header.type != RecordType::kRequest) return;
    const auto payload = payload_as<RequestPayload>(record);
    if (!payload) return;
    const auto found = clients_.find(payload->client);
    if (found != clients_.end()) {
      order_.erase(found->second.place);
      if (payload->sequence > found->second.done.sequence) {
        found->second.done = {payload->sequence, record.header.lsn};
      }
      found->second.place = order_.insert(order_.end(), payload->client);
      return;
    }
    if (clients_.size() == max_clients_) {
      clients_.erase(order_.front());
      order_.pop_front();
    }
    const auto place = order_.insert(order_.end(), payload->client);
    clients_.emplace(payload->client, Client{{payload->sequence, record.header.lsn}, place});
  }

  /// The client's newest write; nothing if it has none, or none that is remembered.
  std::optional<Done> find(std::uint64_t client) const {
    const auto found = clients_.find(client);
    return found == clients_.end() ? std::nullopt : std::optional(found->second.done);
  }
  std::size_t size() const { return clients_.size(); }

 private:
  struct Client {
    Done done;
    std::list<std::uint64_t>::iterator place;
  };
  const std::size_t max_clients_;
  std::unordered_map<std::uint64_t, Client> clients_;
  std::list<std::uint64_t> order_;  ///< by their last write
};

}  // namespace silurus::replication::group
