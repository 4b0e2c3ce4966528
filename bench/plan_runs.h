// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "bench/plan_cluster.h"
#include "common/result.h"

namespace silurus::bench {

/// Runs plans, as many side by side as this machine has cores, and hands the figures of each to
/// `done`, in order, on the calling thread. The first failure ends it. A run's figures do not
/// depend on what runs beside it.
Status run_plans(std::span<const PlanRun> runs,
                 const std::function<void(std::size_t, const PlanFigures&)>& done);

}  // namespace silurus::bench
