// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/tool/doctor_findings.h"
#include "common/clock.h"
#include "common/result.h"
#include "silurus/options.h"

// A server's health: what it says of itself, and how long it takes.

namespace silurus::tool::doctor {

/// One way in which searches reach the server.
struct Way {
  bool offered = false;             ///< the address allows it
  std::optional<Error> error = {};  ///< it was tried, and failed
  Nanoseconds median = 0;           ///< median time of the searches that were tried
  std::uint32_t searches = 0;       ///< that were tried
};

/// Another member of the server's group, as asked itself.
struct MemberFacts {
  std::string url;
  std::optional<Error> error = {};
};

struct ServerFacts {
  std::string url;
  bool was_named = true;  ///< by --server or SILURUS_SERVER; else it is the default one
  std::optional<Error> unreachable = {};
  std::uint32_t dimensions = 0;
  std::string statistics = {};  ///< JSON
  Way message = {};
  Way one_sided = {};
  std::vector<MemberFacts> members = {};
};

/// Connects, asks, and measures; takes a second at most of a server that answers.
ServerFacts ask_server(const std::string& url, bool was_named, const ClientOptions& options);

/// `suffix` comes behind each name: " shard 3".
Findings advise_server(const ServerFacts& server, const std::string& suffix = "");

}  // namespace silurus::tool::doctor
