// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "gate/http_server.h"
#include "silurus/answers.h"
#include "silurus/statistics.h"
#include "silurus/time.h"

// Statistics in the text format of Prometheus.

namespace silurus::gate {

/// What the requests to the gate ask for, as its metrics tell it.
enum class Route : std::uint8_t { kDocuments, kItems, kTiles, kMetrics, kHealth, kPage, kOther };
constexpr std::array<std::string_view, 7> kRouteNames = {"documents", "items", "tiles", "metrics",
                                                         "health",    "page",  "other"};

/// What the gate itself has done; any thread.
class GateCounters {
 public:
  /// An answer of that status, whose first piece took that long to make.
  void add(Route route, int status, Nanoseconds took);
  /// What a source has asked so far; `source` tells one from another.
  void put(const void* source, const ClientStatistics& statistics);

  struct Searches {
    std::uint64_t messaging = 0;
    std::uint64_t offload = 0;
    std::uint64_t failed = 0;
    std::uint64_t bytes = 0;
    std::uint64_t round_trips = 0;
    std::uint64_t cache_hits = 0;
    std::uint64_t cache_misses = 0;
    std::uint64_t reconnects = 0;
  };
  /// Searches of all sources together.
  Searches searches() const;

  /// Bounds of the buckets of times, in seconds; one more bucket has what took longer.
  static constexpr std::array<double, 10> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                     0.025,  0.05,  0.1,    0.5,   2.5};
  struct Times {
    std::array<std::uint64_t, kBounds.size() + 1> buckets{};
    double sum = 0;
  };
  struct Answers {
    std::map<int, std::uint64_t> by_status;
    Times times;
  };
  std::array<Answers, kRouteNames.size()> answers() const;

 private:
  mutable std::mutex mutex_;
  std::array<Answers, kRouteNames.size()> answers_;
  std::map<const void*, Searches> searches_;
};

/// The answer to a scrape. `server`: what the server says of itself, or why it could not be asked.
std::string render_metrics(const Result<ServerStatistics>& server, const std::string& collection,
                           const HttpCounters& http, const GateCounters& gate);

/// Why a server is not ready to be used, in one line; empty: it is.
std::string not_ready_since(const Result<ServerStatistics>& server);

}  // namespace silurus::gate
