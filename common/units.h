// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"
#include "silurus/api.h"

namespace silurus {

/// Bytes of "512", "64K", "64KiB", "4G", "1.5GiB", "2T": powers of 1024, any case, a fraction
/// allowed. kInvalidArgument names what is wrong; sizes that don't fit 64 bits are refused.
Result<std::uint64_t> parse_size(std::string_view text);

/// Nanoseconds of "250ns", "10us", "50ms", "1.5s", "2m" or "2min", "1h"; "0" needs no unit. Never
/// negative.
Result<Nanoseconds> parse_duration(std::string_view text);

/// "4.0 GiB", "512 B": for people.
std::string format_size(std::uint64_t bytes);

/// "50 ms", "1.5 s", "250 ns": for people.
std::string format_duration(Nanoseconds duration);

/// "0.1", "-1e-07", "1e+300": the shortest text that reads back as the same number, in messages and
/// answers. std::to_string() would say 0.000000 of a small one, and 301 digits of a large one.
SILURUS_API std::string format_number(double number);

}  // namespace silurus
