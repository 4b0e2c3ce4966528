// SPDX-License-Identifier: Apache-2.0

#include "client/heartbeats.h"

namespace silurus::client {
namespace {

/// A lease is not believed to be longer than this.
constexpr std::uint64_t kMaxLeaseNs = std::uint64_t{3600} * kSecond;
/// Clocks run at the same rate to one part in 500: twice what the group itself allows for.
constexpr Nanoseconds kDriftDenominator = 500;

}  // namespace

bool Heartbeats::take(const protocol::Heartbeat& heartbeat, Nanoseconds now) {
  if (heartbeat.sequence == sequence_) return false;
  sequence_ = heartbeat.sequence;
  state_.cpu_busy = std::min(heartbeat.cpu_busy_permyriad, 10'000u) / 10'000.0;
  state_.queued = heartbeat.queued;
  state_.seen = now;
  if (probe_ != 0 && heartbeat.received >= probe_) {
    state_.since = probe_sent_;
    probe_ = 0;
  }
  state_.version = heartbeat.version;
  state_.staleness = heartbeat.staleness_ns;
  if (!gives_leases_) {
    state_.since = now;
    state_.staleness = 0;
    state_.lease_until = INT64_MAX;
  } else if (state_.since != 0 && heartbeat.lease_ns <= kMaxLeaseNs) {
    const auto lease = static_cast<Nanoseconds>(heartbeat.lease_ns);
    // A promise that was made holds, whatever later ones are about.
    state_.lease_until =
        std::max(state_.lease_until, state_.since + lease - lease / kDriftDenominator);
  }
  return true;
}

}  // namespace silurus::client
