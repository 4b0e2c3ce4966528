// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "rtree/tree.h"
#include "server/counters.h"
#include "server/durability.h"
#include "server/member_status.h"
#include "transport/refusals.h"

namespace silurus::server {

/// What the statistics of a server are made of.
struct StatsInput {
  struct Listener {
    std::string address;
    std::uint32_t clients;
    std::uint64_t ring_bytes;
    transport::RefusalCounts refusals = {};
  };

  int dimensions;
  Nanoseconds uptime;
  double cpu_seconds;
  std::uint64_t memory_budget_bytes;
  std::uint64_t slab_bytes;
  bool huge_pages;
  std::uint64_t staged_bytes;
  rtree::TreeStats tree;
  std::string_view state;  ///< the state of admission
  Nanoseconds clock_lead;  ///< what the last version's stamp is ahead of the time of day
  std::uint64_t writer_batches;
  std::uint64_t writer_delays;
  /// What a keeper holds of the server that it keeps, and which life this is.
  struct Kept {
    std::uint64_t life;
    std::uint64_t descriptors;
  };
  std::optional<Kept> kept = {};
  std::optional<DurabilityStats> durability = {};
  std::optional<MemberStatus::Facts> group = {};
  std::vector<Listener> listeners = {};
  std::vector<const WorkerCounters*> workers = {};
};

/// The JSON text that a kStats request is answered with.
std::string render_stats(const StatsInput& input);
/// The JSON text that a kCluster request is answered with where there is no group: one member,
/// which is the primary for ever. `lsn`: the end of the log; 0 without one.
std::string render_cluster(const std::vector<std::string>& addresses, std::uint64_t lsn);
/// The same for the member of a group.
std::string render_cluster(const MemberStatus::Facts& facts);

}  // namespace silurus::server
