#include "transport/ring_budget.h"

#include "transport/ring.h"

namespace silurus::transport {

Result<std::uint32_t> RingBudget::take() {
  if (connections_ >= options_.max_connections) {
    return fail(ErrorCode::kTooLarge, listener_name_ + ": max_connections (" +
                                          std::to_string(options_.max_connections) +
                                          ") reached; close some, or raise the limit");
  }
  // An eighth of the budget, shared by those here: the sum grows with the logarithm of their
  // number until all rings are of the smallest size.
  const std::uint64_t share = options_.ring_budget_bytes / 8 / (connections_ + 1);
  std::uint32_t ring = kMaxRingBytes;
  const auto fits = [&] {
    return 2 * ring <= share && bytes_ + 2 * ring <= options_.ring_budget_bytes;
  };
  while (ring > kMinRingBytes && !fits()) ring /= 2;
  if (bytes_ + 2 * std::uint64_t{ring} > options_.ring_budget_bytes) {
    return fail(ErrorCode::kTooLarge, listener_name_ + ": ring_budget_bytes (" +
                                          std::to_string(options_.ring_budget_bytes) +
                                          ") used up by " + std::to_string(connections_) +
                                          " connections; close some, or raise the limit");
  }
  bytes_ += 2 * std::uint64_t{ring};
  ++connections_;
  return ring;
}

void RingBudget::give_back(std::uint32_t ring_bytes) {
  bytes_ -= 2 * std::uint64_t{ring_bytes};
  --connections_;
}

}  // namespace silurus::transport
