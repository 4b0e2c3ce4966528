// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/tool/arguments.h"
#include "common/result.h"

namespace silurus::tool {

/// What a command has to say.
struct Printed {
  Printed(std::string what = {}) : text(std::move(what)) {}  // NOLINT: implicit, a text is printed
  Printed(std::string what, std::vector<std::uint64_t> without)
      : text(std::move(what)), missing(std::move(without)) {}
  std::string text;
  std::vector<std::uint64_t> missing;  ///< ids that were asked for and of which there is no entry
};

/// Connects, does what the command says, and returns what is to be printed. An error of code
/// kInvalidArgument that concerns the command line itself (numbers that don't fit the dimension of
/// the tree) is marked as such: see is_usage_error().
Result<Printed> run(const Invocation& invocation);

/// The text of errors of usage that only come to light after connecting begins with this.
constexpr const char* kUsagePrefix = "usage: ";
bool is_usage_error(const Error& error);

}  // namespace silurus::tool
