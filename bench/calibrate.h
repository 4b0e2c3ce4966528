// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/model.h"
#include "bench/plan_cluster.h"
#include "common/clock.h"
#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::bench {

struct CalibrateOptions {
  std::uint64_t entries = 2'000'000;  ///< uniform boxes
  std::uint64_t btree_keys = 100'000'000;
  unsigned rounds = 9;  ///< rounds of each measurement, whose median counts
};

/// Measures what Silurus' own work costs a core of this machine, in this one thread:
/// * the tree: searches of four kinds of windows, alone and interleaved, inserts and versions;
/// * messages: the server's and the client's code over the `sim` fabric, less what the same
///   messages cost over it between programs that only echo them;
/// * offloading: the client's code likewise, less bare reads of the same nodes;
/// * TCP: echoes over loopback;
/// * a B+tree like XStore's, for what is checked against that paper.
/// Takes half a minute and, for the B+tree, 3 GiB.
Result<PlanCosts> calibrate(const CalibrateOptions& options);

// --- its parts

/// CPU time of the calling thread: what others do on the machine meanwhile counts less.
class ThreadClock final : public Clock {
 public:
  Nanoseconds now() const override;
};

/// Median of that many runs of `measure`.
double median_of(unsigned rounds, const std::function<double()>& measure);

/// Some windows of one kind, and what searching one of them finds and visits in the mean.
struct CalibrationWindows {
  std::vector<rtree::RangeQuery<2>> queries;
  double leaves = 0;
  double results = 0;
};
/// Small, middling and large squares, and a long thin one: of these leaves and results tell apart.
std::vector<CalibrationWindows> calibration_windows(const PlanEntries& entries);

/// What a search costs, leaf and result by result: the non-negative least squares (relative) of
/// the times of some kinds of windows.
PlanCosts::Search fit_search(const std::vector<CalibrationWindows>& windows,
                             const std::vector<double>& ns);

struct TreeCosts {
  PlanCosts::Search search;
  PlanCosts::Search interleaved;
  PlanCosts::Writer writer;
};
Result<TreeCosts> calibrate_tree(const PlanEntries& entries,
                                 const std::vector<CalibrationWindows>& windows, unsigned rounds);

struct MessageCosts {
  PlanCosts::Server server;
  PlanCosts::Client client;
  PlanCosts::Search offload;
};
Result<MessageCosts> calibrate_messages(const PlanEntries& entries,
                                        const std::vector<CalibrationWindows>& windows,
                                        const TreeCosts& tree, unsigned rounds);
Result<PlanCosts::Tcp> calibrate_tcp(unsigned rounds);
PlanCosts::BTree calibrate_btree(std::uint64_t keys, unsigned rounds);

}  // namespace silurus::bench
