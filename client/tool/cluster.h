#pragma once

#include <span>
#include <string>

#include "client/tool/arguments.h"
#include "common/result.h"

namespace silurus::tool {

/// The words behind `silurus cluster`; kInvalidArgument says what would be right.
Result<ClusterCommand> parse_cluster(std::span<const std::string> words);

/// Does it, and returns what is to be printed.
Result<std::string> run_cluster(const ClusterCommand& command, const Settings& settings);

}  // namespace silurus::tool
