// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "etcd/gateway.h"

// What etcd's JSON gateway answers, and how bytes are written for it. Pure functions; any thread.
// None of them believes anything: a field may be missing, or be of another kind than etcd's are.

namespace silurus::etcd {

std::string to_base64(std::string_view text);
/// Nothing if there is a character that does not belong there.
std::optional<std::string> from_base64(std::string_view encoded);

/// The object that an answer is; nothing if it is none.
std::optional<nlohmann::json> parse_answer(std::string_view answer);

/// The pairs that a range request found, each with a key that begins with `prefix`. kProtocol says
/// that one has no such key, or no value.
Result<std::vector<KeyValue>> key_values_of(const nlohmann::json& answer, std::string_view prefix);
/// The revision that a transaction made, 0 if its condition was false. kProtocol if it says
/// that it made one, but not which.
Result<std::uint64_t> revision_of(const nlohmann::json& answer);
/// The lease that was granted. kProtocol if there is none.
Result<std::uint64_t> lease_of(const nlohmann::json& answer);
/// Whether the lease goes on, by the answer to a keep-alive.
bool is_renewed(const nlohmann::json& answer);

}  // namespace silurus::etcd
