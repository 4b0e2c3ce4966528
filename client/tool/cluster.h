// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <string>

#include "client/tool/arguments.h"
#include "client/tool/help.h"
#include "common/flags.h"
#include "common/result.h"
#include "silurus/router.h"

namespace silurus::tool {

/// What follows `silurus cluster`; kInvalidArgument says what would be right.
Result<Command> parse_cluster(const CommandTable& command, std::span<const std::string> words,
                              const flags::Values& values);

/// Statistics of all shards, as JSON: {"epoch", "entries", "shards": [{"id", "first", "servers",
/// "statistics" or "error"}, ...]}.
std::string cluster_statistics(const shards::ShardMap& map, std::span<const ShardStatistics> all);

/// Does it, and returns what is to be printed.
Result<std::string> run_cluster(const ClusterCommand& command, const Settings& settings);

}  // namespace silurus::tool
