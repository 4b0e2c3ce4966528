// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <string>

#include "common/flags.h"
#include "common/result.h"

namespace silurus::server {

/// Whether an option may be set in a configuration file: all but those that only a command line can
/// mean (--help, --config itself).
bool is_configurable(const flags::Option& option);

/// What a TOML file sets, with the options' names as keys: numbers, booleans, and strings as on the
/// command line; lists for options that may be repeated. Errors name the file and the line, and for
/// an unknown key the option that is most like it.
Result<flags::Values> read_config(const std::string& path, std::span<const flags::Option> options);

/// The values, with the fallbacks of what is not given, as a file that read_config() takes.
std::string to_toml(const flags::Values& values);

}  // namespace silurus::server
