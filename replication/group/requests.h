// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/result.h"
#include "replication/record.h"
#include "rtree/node_ref.h"

namespace silurus::replication::group {

/// An operation of a write that was not done.
struct Failure {
  std::uint32_t index;  ///< in the write
  std::uint32_t code;   ///< an ErrorCode
  friend bool operator==(const Failure&, const Failure&) = default;
};

/// What came of a write.
struct Outcome {
  rtree::Version version = 0;  ///< in which it is visible
  std::vector<Failure> failed;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// The outcomes of clients' writes, so that a write that is sent again, to this primary or to the
/// next one, happens once and is answered as the first time (Lee, Park, Kejriwal, Matsushita and
/// Ousterhout, "Implementing linearizability at large scale and low latency", SOSP 2015). A client
/// numbers its writes and may have several under way; with each it says which outcomes it needs no
/// more. Made from the log alone, the table is the same at every member at the same place of the
/// log. Bounded: of too many clients, or outcomes, those of clients that have not written for the
/// longest time are forgotten, everywhere at the same place. One thread.
class RequestTable {
 public:
  static constexpr std::size_t kMaxClients = std::size_t{1} << 16;
  /// Outcomes of one client; beyond, its oldest are forgotten.
  static constexpr std::size_t kMaxOutcomes = 4096;
  /// Outcomes and failures in them of all clients together.
  static constexpr std::size_t kMaxWeight = std::size_t{1} << 20;

  explicit RequestTable(std::size_t max_clients = kMaxClients, std::size_t max_weight = kMaxWeight)
      : max_clients_(max_clients), max_weight_(max_weight) {}
  RequestTable(RequestTable&&) = default;
  RequestTable& operator=(RequestTable&&) = default;

  /// Whether a write was done already. Of what is done, nothing may be done again.
  bool is_done(std::uint64_t client, std::uint64_t sequence) const;
  /// What came of it; nullptr if it wasn't done, or its client said that it knows.
  const Outcome* find(std::uint64_t client, std::uint64_t sequence) const;
  /// Takes note of a write that is being done, in the order of the log, and forgets what its client
  /// needs no more. `request.client` is not 0.
  void note(const RequestPayload& request, Outcome outcome);

  /// The version of a write that was noted before it was known.
  void correct(std::uint64_t client, std::uint64_t sequence, rtree::Version version);

  std::size_t clients() const { return clients_.size(); }
  std::size_t weight() const { return weight_; }

  /// For a checkpoint.
  std::vector<std::byte> encode() const;
  /// kProtocol if the bytes are not what encode() made.
  static Result<RequestTable> decode(std::span<const std::byte> bytes);
  static constexpr std::size_t kMaxEncodedBytes = std::size_t{64} << 20;

 private:
  struct Client {
    std::uint64_t first = 0;  ///< all before it is done, and known
    std::vector<std::pair<std::uint64_t, Outcome>> outcomes;
    std::list<std::uint64_t>::iterator place;
  };
  void forget_before(Client& client, std::uint64_t first);
  void forget_oldest_client();

  std::size_t max_clients_;
  std::size_t max_weight_;
  std::size_t weight_ = 0;
  std::unordered_map<std::uint64_t, Client> clients_;
  std::list<std::uint64_t> order_;  ///< by their last write
};

}  // namespace silurus::replication::group
