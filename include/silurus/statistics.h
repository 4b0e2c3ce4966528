// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "silurus/histogram.h"

namespace silurus {

/// What a client counts of the searches that it ran in one way, or of its writes.
struct AccessStatistics {
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  Histogram latency;  ///< ns, of those completed, from the call to the answer
  std::uint64_t round_trips = 0;
  std::uint64_t bytes = 0;  ///< over the wire: of messages, or of one-sided reads
  // One-sided traversal only:
  std::uint64_t nodes_read = 0;
  std::uint64_t reads = 0;  ///< reads of nodes, of parts of leaves, of roots
  std::uint64_t cache_hits = 0;
  std::uint64_t cache_misses = 0;  ///< inner nodes that had to be read
  std::uint64_t restarts = 0;      ///< walks thrown away: root changed in mid-walk, lease ran out
  std::uint64_t given_back = 0;    ///< searches that were then sent as messages after all

  void merge(const AccessStatistics& other) {
    completed += other.completed;
    failed += other.failed;
    latency.merge(other.latency);
    round_trips += other.round_trips;
    bytes += other.bytes;
    nodes_read += other.nodes_read;
    reads += other.reads;
    cache_hits += other.cache_hits;
    cache_misses += other.cache_misses;
    restarts += other.restarts;
    given_back += other.given_back;
  }
};

/// Statistics of one client. They belong to its thread; merge() those of several clients at the
/// end.
struct ClientStatistics {
  AccessStatistics messaging;  ///< searches
  AccessStatistics offload;    ///< searches
  AccessStatistics writes;
  std::uint64_t deadlines_exceeded = 0;
  std::uint64_t reconnects = 0;
  std::uint64_t asked_of_backups = 0;  ///< searches (ReadFrom::kAny)
  std::uint64_t refused_answers = 0;   ///< answers of backups that were not fresh enough
  std::uint64_t handed_over = 0;       ///< searches: the server was silent, its memory was read
  std::uint64_t doorbells = 0;      ///< doorbells of the connection: transport::ConnectionCounters
  std::uint64_t work_requests = 0;  ///< likewise; 0 where there is no card
  std::uint64_t heartbeats = 0;     ///< seen
  double server_cpu_busy = 0;       ///< by the last of them, 0 to 1
  std::uint64_t cached_nodes = 0;

  void merge(const ClientStatistics& other) {
    messaging.merge(other.messaging);
    offload.merge(other.offload);
    writes.merge(other.writes);
    deadlines_exceeded += other.deadlines_exceeded;
    reconnects += other.reconnects;
    asked_of_backups += other.asked_of_backups;
    refused_answers += other.refused_answers;
    handed_over += other.handed_over;
    doorbells += other.doorbells;
    work_requests += other.work_requests;
    heartbeats += other.heartbeats;
    server_cpu_busy = other.server_cpu_busy;
    cached_nodes += other.cached_nodes;
  }
};

}  // namespace silurus
