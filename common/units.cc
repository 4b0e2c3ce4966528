// SPDX-License-Identifier: Apache-2.0

#include "common/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace silurus {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kKibi = 1024.0;
constexpr std::array kSizeUnits{Unit{"", 1},
                                Unit{"b", 1},
                                Unit{"k", kKibi},
                                Unit{"kib", kKibi},
                                Unit{"m", kKibi* kKibi},
                                Unit{"mib", kKibi* kKibi},
                                Unit{"g", kKibi* kKibi* kKibi},
                                Unit{"gib", kKibi* kKibi* kKibi},
                                Unit{"t", kKibi* kKibi* kKibi* kKibi},
                                Unit{"tib", kKibi* kKibi* kKibi* kKibi}};
constexpr std::array kDurationUnits{Unit{"ns", 1},    Unit{"us", 1e3}, Unit{"ms", 1e6},
                                    Unit{"s", 1e9},   Unit{"m", 60e9}, Unit{"min", 60e9},
                                    Unit{"h", 3600e9}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view text, std::string_view name) {
  if (text.size() != name.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (lower(text[i]) != name[i]) return false;
  return true;
}

/// The number times its unit, or an error that quotes the text and says what was expected.
template <std::size_t N>
Result<double> parse(std::string_view text, const std::array<Unit, N>& units,
                     const char* expected) {
  const auto refuse = [&] {
    return fail(ErrorCode::kInvalidArgument,
                "'" + std::string(text) + "' is not " + std::string(expected));
  };
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return refuse();
  std::string_view name = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  for (const Unit& unit : units)
    if (same_name(name, unit.name)) return number * unit.factor;
  if (name.empty() && number == 0) return 0.0;
  return refuse();
}

std::string print(double number, const char* unit) {
  char text[32];
  std::snprintf(text, sizeof text, number == std::floor(number) ? "%.0f %s" : "%.1f %s", number,
                unit);
  return text;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto bytes = parse(text, kSizeUnits, "a size such as 512K, 64MiB or 4G");
  if (!bytes) return fail(bytes.error());
  // 2^64 as a double is exact; anything below it fits.
  if (*bytes >= 0x1p64) {
    return fail(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is too large a size");
  }
  return static_cast<std::uint64_t>(*bytes);
}

Result<Nanoseconds> parse_duration(std::string_view text) {
  const auto duration = parse(text, kDurationUnits, "a duration such as 250us, 50ms or 1.5s");
  if (!duration) return fail(duration.error());
  if (*duration >= 0x1p63) {
    return fail(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is too long a duration");
  }
  return static_cast<Nanoseconds>(*duration);
}

std::string format_size(std::uint64_t bytes) {
  constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double number = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (number >= kKibi && unit + 1 < std::size(kNames)) {
    number /= kKibi;
    ++unit;
  }
  return print(number, kNames[unit]);
}

std::string format_duration(Nanoseconds duration) {
  const double number = static_cast<double>(duration);
  if (duration < kMicrosecond) return print(number, "ns");
  if (duration < kMillisecond) return print(number / kMicrosecond, "us");
  if (duration < kSecond) return print(number / kMillisecond, "ms");
  return print(number / kSecond, "s");
}

std::string format_number(double number) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return {text.data(), end};
}

}  // namespace silurus
