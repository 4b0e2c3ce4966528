// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "bench/plot.h"

namespace silurus::bench {

/// Distributions of latencies: a panel for each load, a line for each system or way, on common
/// logarithmic axes of time.
Result<std::string> latency_script(const Recorded& recorded, PictureFormat format,
                                   const std::string& output);

}  // namespace silurus::bench
