// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/flags.h"

namespace silurus::tool {

/// One command, as the help tells of it and as the command line is read: it has the options of its
/// own table and the general ones, no others.
struct CommandTable {
  std::string_view name;
  std::string_view summary;
  std::vector<std::string_view> usages;  ///< what may stand after the name, one form each
  std::vector<flags::Option> options;
  std::string_view details;  ///< paragraphs for the help, or nothing
  std::vector<std::string_view> examples;
};

/// All commands, in the order of the help.
std::span<const CommandTable> commands();
/// Nothing if there is none of that name.
const CommandTable* find_command(std::string_view name);
/// What every command takes.
std::span<const flags::Option> general_options();

/// `silurus help`: the commands.
std::string help_of_all();
/// `silurus help COMMAND`, and `silurus COMMAND --help`.
std::string help_of(const CommandTable& command);
/// `silurus help options`: those that every command takes.
std::string help_of_options();
/// "usage: silurus range XMIN ...", which ends an error about its arguments.
std::string usage_of(const CommandTable& command);

}  // namespace silurus::tool
