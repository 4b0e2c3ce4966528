// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "bench/plot.h"

namespace silurus::bench {

/// Whether a run has rows plan/grid/WINDOWS/MIX/REQUEST/CLIENT/card=GBITS/cores=N with a ratio.
bool has_grid(const Recorded& recorded);

/// Where adaptive access wins, and by how much: a panel for each kind of windows, mix and request,
/// a square in it for each card, cache and number of cores. Each says which fixed way is the better
/// one and how many times as much adaptive access does; its shade says it again. kTooLarge if there
/// are more panels than fit.
Result<std::string> grid_script(const Recorded& recorded, PictureFormat format,
                                const std::string& output);

}  // namespace silurus::bench
