// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "silurus/answers.h"

namespace silurus::client {

/// How full nodes are to be made, as a request has it: in 1/10,000. `fill`: in (0, 1], 0 for the
/// default; else kInvalidArgument.
Result<std::uint64_t> compaction_fill(double fill);

/// What a server's answer to a step of a compaction says. kProtocol if it is none.
Result<CompactAnswer> parse_compaction(const std::string& json);

}  // namespace silurus::client
