// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "common/result.h"
#include "silurus/client.h"

namespace silurus::tool {

/// Compacts the tree of a server or of a group, step by step, and adds what came of it to the
/// report. kOutOfMemory: no step was done for as long as `patience`, since no memory came back.
template <int D>
Status compact_tree(Client<D>& client, double fill, Nanoseconds patience, Progress& progress,
                    CompactReport& report);

}  // namespace silurus::tool
