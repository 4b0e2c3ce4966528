// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "common/flags.h"

namespace silurus::server {

/// The options of silurus-server, as parse_command() reads them and the help shows them.
struct OptionSection {
  std::string title;
  std::vector<flags::Option> options;
};
std::vector<OptionSection> option_sections();

/// The text of --help.
std::string help_text();

}  // namespace silurus::server
