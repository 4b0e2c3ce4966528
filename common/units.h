#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"

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

}  // namespace silurus
