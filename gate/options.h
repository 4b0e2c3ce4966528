// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <variant>
#include <vector>

#include "gate/http_server.h"
#include "gate/service.h"
#include "silurus/options.h"
#include "silurus/result.h"

namespace silurus::gate {

/// What silurus-gate is told to do.
struct RunCommand {
  std::string server;  ///< URL
  ClientOptions client;
  HttpOptions http;
  ServiceOptions service;
  std::string ready_file;  ///< may be empty
};
/// Text to print, and nothing more to do.
struct PrintCommand {
  std::string text;
};
using Command = std::variant<RunCommand, PrintCommand>;

/// The arguments without the program's own name. kInvalidArgument says what is wrong.
Result<Command> parse_command(const std::vector<std::string>& arguments);

}  // namespace silurus::gate
