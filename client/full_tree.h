// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "common/result.h"
#include "silurus/answers.h"

namespace silurus::client {

/// What to tell a user whose write found the tree full: how much memory it may take and takes, and
/// what raises that. `stats`: the server's, or why they could not be had.
std::string full_tree_text(const Result<ServerStatistics>& stats);

}  // namespace silurus::client
