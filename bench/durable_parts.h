// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/folder.h"
#include "bench/report.h"
#include "bench/server_process.h"
#include "common/result.h"
#include "silurus/client.h"

// What the measurements of durability have in common.

namespace silurus::bench {

double seconds_between(Nanoseconds from, Nanoseconds to);

/// Operations a second, and the CPU time of a million of them in seconds.
struct Rate {
  double per_second = 0;
  double server_cpu = 0;
  double client_cpu = 0;
};

/// What `operation` does with the client in that many seconds, again and again; what it leaves in
/// flight counts too, and is waited for.
Result<Rate> rate_of(Client<2>& client, double seconds, const std::function<Status()>& operation);

/// Inserts of random boxes, `in_flight` at a time.
Result<Rate> insert_rate(Client<2>& client, std::size_t in_flight, double seconds,
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
  /// Notes what ours did, with its CPU time.
  void add(const Rate& rate, double baseline_rate);

  std::vector<double> ours;
  std::vector<double> baseline;
  std::vector<double> server_cpu = {};  ///< CPU time of our servers; empty where it isn't measured
  std::vector<double> client_cpu = {};

  /// The median of the ratios of neighbours.
  double ratio() const;
};

/// As a row: the median, its ratio to the baseline, every run.
Row row_of(const std::string& name, const Paired& paired, const std::string& unit,
           const std::string& baseline, std::optional<double> bar);

}  // namespace silurus::bench
