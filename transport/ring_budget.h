// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/result.h"
#include "transport/fabric.h"

namespace silurus::transport {

/// Shares a listener's memory for message rings among its connections: full rings while they are
/// few, halved again and again as they come, refused when nothing is left, or when one peer
/// (peer.h) has what one may take. Counts what a listener refuses. One thread (or the caller's
/// lock), but for refusals().
class RingBudget {
 public:
  RingBudget(const ListenOptions& options, std::string listener_name)
      : options_(options), listener_name_(std::move(listener_name)) {}

  /// Ring size of one direction for a new connection, taken twice from the budget; kTooLarge, with
  /// the limit's name and the option that raises it, when the budget or the number of connections
  /// is used up, of all or of this peer. An empty `peer` is not limited by itself.
  Result<std::uint32_t> take(const std::string& peer = {});
  /// Gives back what take() answered, for the same peer.
  void give_back(std::uint32_t ring_bytes, const std::string& peer = {});

  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t connections() const { return connections_; }
  /// Counters of the whole listener. Any thread.
  RefusalCounters& refusals() { return refusals_; }
  const RefusalCounters& refusals() const { return refusals_; }

 private:
  struct Account {
    std::uint64_t bytes = 0;
    std::uint32_t connections = 0;
  };
  bool is_limited(const std::string& peer) const {
    return options_.max_connections_per_peer != 0 && !peer.empty();
  }
  tl::unexpected<Error> refuse(RefusalReason reason, const std::string& what,
                               const std::string& option);

  ListenOptions options_;
  std::string listener_name_;
  std::uint64_t bytes_ = 0;
  std::uint32_t connections_ = 0;
  std::map<std::string, Account> peers_;  ///< those that have connections
  RefusalCounters refusals_;
};

}  // namespace silurus::transport
