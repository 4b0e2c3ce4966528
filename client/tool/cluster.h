#pragma once

#include <span>
#include <string>

#include "client/tool/arguments.h"
#include "client/tool/help.h"
#include "common/flags.h"
#include "common/result.h"

namespace silurus::tool {

/// What follows `silurus cluster`; kInvalidArgument says what would be right.
Result<Command> parse_cluster(const CommandTable& command, std::span<const std::string> words,
                              const flags::Values& values);

/// Does it, and returns what is to be printed.
Result<std::string> run_cluster(const ClusterCommand& command, const Settings& settings);

}  // namespace silurus::tool
