// SPDX-License-Identifier: Apache-2.0

#include "client/tool/moment.h"

#include <charconv>
#include <cmath>
#include <ctime>
#include <optional>
#include <string>

#include "common/units.h"
#include "silurus/time.h"

namespace silurus::tool {
namespace {

/// Unix time of "YYYY-MM-DDTHH:MM:SS[.fraction]Z".
std::optional<std::int64_t> parse_utc(const std::string& text) {
  std::tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  std::int64_t ns = 0;
  if (*rest == '.') {
    std::int64_t unit = kSecond / 10;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) ns += (*rest - '0') * unit;
  }
  if (std::string_view(rest) != "Z") return std::nullopt;
  const std::int64_t seconds = timegm(&parts);
  if (seconds < 0 || seconds >= INT64_MAX / kSecond) return std::nullopt;  // 2262 at the latest
  return seconds * kSecond + ns;
}

}  // namespace

Result<Moment> parse_moment(std::string_view text, std::int64_t now_unix_ns) {
  std::uint64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error == std::errc() && end == text.data() + text.size() && version > 0 &&
      version < kFirstStamp) {
    return version;
  }
  if (text.starts_with('-')) {
    const auto ago = parse_duration(text.substr(1));
    if (ago) return moment_at(now_unix_ns - *ago);
  }
  if (const auto unix_ns = parse_utc(std::string(text))) return moment_at(*unix_ns);
  return fail(ErrorCode::kInvalidArgument,
              "'" + std::string(text) +
                  "' is no moment: name a version (812), how long ago (-30s, -10m) or a time in "
                  "UTC (2026-11-21T01:18:57Z)");
}

}  // namespace silurus::tool
