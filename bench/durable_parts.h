#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/folder.h"
#include "bench/report.h"
#include "bench/server_process.h"
#include "client/client.h"
#include "common/result.h"

// What the measurements of durability have in common.

namespace silurus::bench {

double seconds_between(Nanoseconds from, Nanoseconds to);

/// Inserts of random boxes a second, `in_flight` at a time.
Result<double> insert_rate(Client<2>& client, std::size_t in_flight, double seconds,
                           std::uint64_t seed);

/// A server with a client connected to it.
struct Service {
  ServerProcess server;
  Client<2> client;

  /// At that socket, with these options more.
  static Result<Service> start(const std::string& socket, const std::vector<std::string>& more);
};

/// Runs two measurements in turn, so that whatever else the machine does hits both.
struct Paired {
  std::vector<double> ours;
  std::vector<double> baseline;

  /// The median of the ratios of neighbours.
  double ratio() const;
};

/// As a row: the median, its ratio to the baseline, every run.
Row row_of(const std::string& name, const Paired& paired, const std::string& unit,
           const std::string& baseline, std::optional<double> bar);

}  // namespace silurus::bench
