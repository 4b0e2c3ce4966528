// SPDX-License-Identifier: Apache-2.0

// One-sided writes: what the cards of both sides do. The receiving host has no part in it.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "transport/sim/endpoint.h"
#include "transport/sim/listener.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {
namespace {

constexpr std::size_t kWriteWord = 8;
/// Most pieces in which one write becomes visible, at different instants and in any order.
constexpr std::size_t kMaxWritePieces = 3;

}  // namespace

Result<std::span<const std::byte>> Endpoint::offer_window(std::size_t bytes) {
  if (!has(listener->options.capabilities, Capability::kOneSidedWrite)) {
    return fail(ErrorCode::kUnsupported, peer_name + " is set up without one-sided writes");
  }
  if (is_server || !window.empty() || bytes == 0 || bytes % kWindowGrain != 0 ||
      bytes > kMaxWindowBytes) {
    return fail(ErrorCode::kInvalidArgument, "a window of " + std::to_string(bytes) +
                                                 " bytes cannot be offered to " + peer_name);
  }
  window.assign(bytes / kWriteWord, 0);
  if (!is_closing) out->send({Item::Kind::kWindow, bytes, {}});
  return std::as_bytes(std::span(window));
}

/// Each piece travels by itself; what is sent afterwards arrives after all of them.
PostStatus Endpoint::post_write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (end_reason || is_closing) return PostStatus::kClosed;
  if (peer_window_bytes == 0) return PostStatus::kUnknownRegion;
  if (bytes.empty() || bytes.size() % kWriteWord != 0 || offset % kWriteWord != 0 ||
      bytes.size() > peer_window_bytes || offset > peer_window_bytes - bytes.size()) {
    return PostStatus::kInvalid;
  }
  flush();  // what was committed before must not come after
  ++counters.doorbells;
  ++counters.writes;
  counters.write_bytes += bytes.size();
  Random& random = host.world().random();
  const std::size_t words = bytes.size() / kWriteWord;
  std::vector<std::size_t> cuts = {0, words};
  for (std::size_t i = random.below(kMaxWritePieces); i > 0; --i)
    cuts.push_back(random.below(words));
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<std::size_t> order(cuts.size() - 1);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (const std::size_t i : order) {
    const auto piece = bytes.subspan(cuts[i] * kWriteWord, (cuts[i + 1] - cuts[i]) * kWriteWord);
    out->send({Item::Kind::kWrite, offset + cuts[i] * kWriteWord, {piece.begin(), piece.end()}});
  }
  return PostStatus::kPosted;
}

void Endpoint::land(const Item& item) {
  std::memcpy(std::as_writable_bytes(std::span(window)).data() + item.number, item.bytes.data(),
              item.bytes.size());
}

}  // namespace silurus::transport::sim
