// SPDX-License-Identifier: Apache-2.0

#include "transport/ring_budget.h"

#include <algorithm>

#include "common/check.h"
#include "transport/limits.h"
#include "transport/ring.h"

namespace silurus::transport {

static_assert(kDefaultRingBudget / kOthersRingShare >= 64 * 2 * std::uint64_t{kMinRingBytes},
              "what is kept for others is enough for 64 of their connections");

tl::unexpected<Error> RingBudget::refuse(RefusalReason reason, const std::string& what,
                                         const std::string& option) {
  refusals_.add(reason);
  // Short, for rdma: a refusal there has 140 characters.
  return fail(ErrorCode::kTooLarge,
              listener_name_ + ": " + what + "; close some, or raise " + option);
}

Result<std::uint32_t> RingBudget::take(const std::string& peer) {
  if (connections_ >= options_.max_connections) {
    return refuse(RefusalReason::kConnections,
                  "max_connections (" + std::to_string(options_.max_connections) + ") reached",
                  "--max-clients");
  }
  const auto known = peers_.find(peer);
  const Account account = known == peers_.end() ? Account{} : known->second;
  const bool limited = is_limited(peer);
  if (limited && account.connections >= options_.max_connections_per_peer) {
    return refuse(RefusalReason::kPeerConnections,
                  peer + " has its " + std::to_string(account.connections) + " connections",
                  "--max-clients-per-peer");
  }
  const std::uint64_t all = options_.ring_budget_bytes;
  const std::uint64_t of_peer = limited ? all - all / kOthersRingShare : all;
  // An eighth of the budget, shared by those here: the sum grows with the logarithm of their
  // number until all rings are of the smallest size.
  const std::uint64_t share = all / 8 / (connections_ + 1);
  const std::uint64_t left = all - bytes_;
  const std::uint64_t left_of_peer = of_peer - std::min(of_peer, account.bytes);
  std::uint32_t ring = kMaxRingBytes;
  const auto fits = [&] { return 2 * ring <= std::min({share, left, left_of_peer}); };
  while (ring > kMinRingBytes && !fits()) ring /= 2;
  if (2 * std::uint64_t{ring} > left) {
    return refuse(RefusalReason::kRings,
                  "ring_budget_bytes (" + std::to_string(all) + ") used up by " +
                      std::to_string(connections_) + " connections",
                  "--ring-budget");
  }
  if (2 * std::uint64_t{ring} > left_of_peer) {
    return refuse(
        RefusalReason::kPeerRings,
        peer + " has used up its share of ring_budget_bytes (" + std::to_string(all) + ")",
        "--ring-budget");
  }
  bytes_ += 2 * std::uint64_t{ring};
  ++connections_;
  if (limited) {
    peers_[peer] = {account.bytes + 2 * std::uint64_t{ring}, account.connections + 1};
  }
  return ring;
}

void RingBudget::give_back(std::uint32_t ring_bytes, const std::string& peer) {
  bytes_ -= 2 * std::uint64_t{ring_bytes};
  --connections_;
  if (!is_limited(peer)) return;
  const auto account = peers_.find(peer);
  SILURUS_CHECK(account != peers_.end() && account->second.connections > 0);
  account->second.bytes -= 2 * std::uint64_t{ring_bytes};
  if (--account->second.connections == 0) peers_.erase(account);
}

}  // namespace silurus::transport
