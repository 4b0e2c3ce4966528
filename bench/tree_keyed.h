// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "bench/report.h"
#include "bench/tree.h"
#include "bench/tree_workload.h"
#include "common/result.h"

namespace silurus::bench {

/// Compares a keyed tree with one whose ids need not be unique (docs/decisions/0153), over the same
/// entries: adds rows tree/NAME/keyed-load, keyed-insert, keyed-bytes, and keyed-get against small
/// windows; the last two for points with the same places, too (keyed-bytes-points).
Status run_keyed(const TreeBenchOptions& options, const TreeWorkload& workload, Report& report);

}  // namespace silurus::bench
