// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>

#include "common/result.h"
#include "protocol/messages.h"

namespace silurus::tool {

/// What --as-of, --from and --to take: the number of a version ("812"); how long ago ("-30s",
/// "-10m"); or a time in UTC ("2026-11-21T01:18:57Z", with a fraction or
/// without). kInvalidArgument says so. `now`: Unix time in nanoseconds.
Result<Moment> parse_moment(std::string_view text, std::int64_t now_unix_ns);

}  // namespace silurus::tool
