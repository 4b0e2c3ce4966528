// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/model.h"
#include "bench/report.h"
#include "common/result.h"

// The check of the models of cards and hosts against a system that they were not made from: XStore
// (Wei, Chen, Chen: "Fast RDMA-based Ordered Key-Value Store using Remote Learned Cache", OSDI
// 2020, section 3 and figure 2): a B+tree of 100 million keys, 24 server cores, two 100 Gb/s cards.

namespace silurus::bench {

/// One published figure and what the simulation says.
struct XStoreFigure {
  std::string name;                       ///< "rpc"
  std::vector<std::uint32_t> reads = {};  ///< bytes of each, one after the other; none: by message
  double published = 0;                   ///< requests per second
  double predicted = 0;
  double network = 0;  ///< bytes both ways over what one way carries
  double error() const { return predicted / published - 1; }
};

/// Looks keys up over the `sim` fabric, with reads of the sizes that XStore's code has, from 8
/// machines of 24 threads with 8 requests in flight each, as its scripts set up.
Result<std::vector<XStoreFigure>> run_xstore(const PlanModel& model, const PlanCosts& costs);

/// Adds the rows plan/xstore/...; their ratio is predicted to published.
Status report_xstore(const PlanModel& model, const PlanCosts& costs, Report& report);

}  // namespace silurus::bench
