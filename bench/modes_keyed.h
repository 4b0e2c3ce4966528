// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "bench/modes.h"
#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

/// Adds rows modes/keyed/...: a lone client of a keyed collection, which it makes in the server at
/// `url` and drops in the end, reads entries by their ids one-sidedly, by turns with small windows.
Status measure_keyed_modes(const std::string& url, const ModesBenchOptions& options,
                           Report& report);

}  // namespace silurus::bench
