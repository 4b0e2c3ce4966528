// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "silurus/histogram.h"

namespace silurus::bench {

/// The version of Silurus.
extern const char* const kVersion;

/// Version of the form of the JSON; another number when its meaning changes.
inline constexpr int kJsonVersion = 1;

/// A point of a cumulative distribution: this share of operations took at most that long.
struct LatencyStep {
  double us;
  double share;  ///< in (0, 1], growing
};

/// A histogram of nanoseconds as the steps of a distribution: one where there was something, at
/// most 16 to each power of two.
std::vector<LatencyStep> steps_of(const Histogram& nanoseconds);

/// One figure of a benchmark.
struct Row {
  std::string name;                  ///< "modes/0.00001/search/offload/clients=4"
  double value = 0;                  ///< the median of the runs
  std::string unit;                  ///< "ops/s", "us", "bytes", ...
  std::string baseline = {};         ///< what it is compared with: "tcp"; empty if nothing
  std::optional<double> ratio = {};  ///< value / baseline's value in the same run; for times, the
                                     ///< inverse: above 1 is always better than the baseline
  std::vector<double> spread = {};   ///< the single runs, smallest first
  std::optional<double> bar = {};    ///< what the ratio (or, without one, the value) must reach
  bool bar_is_upper = false;         ///< the bar must not be exceeded
  /// CPU time of a million operations in seconds (of one in microseconds), of the server and of
  /// the client; what is measured in one process is all the client's.
  std::optional<double> server_cpu = {};
  std::optional<double> client_cpu = {};
  std::vector<LatencyStep> latency = {};  ///< latencies of single operations, ascending
};

/// "2 cores of AMD EPYC": what this runs on.
std::string machine_name();

/// Median of some figures; at least one.
double median(std::vector<double> values);

/// Collects the rows of a run, prints them as they come, writes them as JSON at the end:
/// {"silurus_bench": 1, "machine": {...}, "command": ..., "commit": ..., "rows": [{"name", "value",
/// "unit", "baseline", "ratio", "spread", "server_cpu", "client_cpu", "latency"}, ...]}.
class Report {
 public:
  /// `command`: as the user typed it.
  explicit Report(std::string command);

  /// A line on stdout.
  void add(Row row);
  /// Says nothing until the end: for what a table of the caller's own shows already.
  void record(Row row);
  /// The rows with a bar, or with a ratio if none has one, and how many bars are missed.
  void print_summary() const;
  /// All of it: what the machine is, the command, the rows.
  std::string json() const;
  Status write_json(const std::string& path) const;
  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::string command_;
  std::vector<Row> rows_;
};

}  // namespace silurus::bench
