#pragma once

#include <string>

#include "client/tool/arguments.h"
#include "common/result.h"

namespace silurus::tool {

/// Connects, does what the command says, and returns what is to be printed. An error of code
/// kInvalidArgument that concerns the command line itself (numbers that don't fit the dimension of
/// the tree) is marked as such: see is_usage_error().
Result<std::string> run(const Invocation& invocation);

/// The text of errors of usage that only come to light after connecting begins with this.
constexpr const char* kUsagePrefix = "usage: ";
bool is_usage_error(const Error& error);

}  // namespace silurus::tool
