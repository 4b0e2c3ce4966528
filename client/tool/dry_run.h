// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "datasets/open.h"

namespace silurus::tool {

/// What a load reads of its source, from the command line.
datasets::OpenOptions open_options(const LoadCommand& command);

/// Reads a source from front to back, loads nothing and asks no server; what would be loaded: how
/// many entries, the box about all of them, the first ones, and how the source was understood.
Result<std::string> dry_run(const LoadCommand& command, Format format);

}  // namespace silurus::tool
