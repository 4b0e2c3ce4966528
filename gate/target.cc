// SPDX-License-Identifier: Apache-2.0

#include "gate/target.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <charconv>
#include <cmath>
#include <ctime>

#include "common/result.h"

namespace silurus::gate {
namespace {

constexpr std::size_t kMaxSegments = 16;
constexpr std::size_t kMaxParameters = 64;
constexpr double kEast = 180;
constexpr double kWest = -180;

int digit_of(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
  return -1;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t more = first < 0x80 ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || i + more >= text.size()) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    i += more + 1;
  }
  return true;
}

/// Undoes %xx, and '+' of queries; nothing if it can't be undone.
std::optional<std::string> decoded(std::string_view text, bool is_query) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = digit_of(text[i + 1]);
      const int low = digit_of(text[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += is_query && text[i] == '+' ? ' ' : text[i];
    }
  }
  if (!is_utf8(out)) return std::nullopt;
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

template <typename T>
std::optional<T> number_of(std::string_view text, int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  std::from_chars_result done{};
  if constexpr (std::is_floating_point_v<T>) {
    done = std::from_chars(text.data(), end, value);
    if (!std::isfinite(value)) return std::nullopt;
  } else {
    done = std::from_chars(text.data(), end, value, base);
  }
  if (done.ec != std::errc() || done.ptr != end) return std::nullopt;
  return value;
}

tl::unexpected<WrongParameter> wrong(std::string name, std::string why) {
  return tl::unexpected<WrongParameter>(WrongParameter{std::move(name), std::move(why)});
}

/// Unix time of "2026-12-01T10:00:00[.5](Z|+01:00)", or of a day.
std::optional<std::int64_t> parse_instant(const std::string& text) {
  std::tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  std::int64_t ns = 0;
  if (*rest == '.') {
    std::int64_t unit = kSecond / 10;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) ns += (*rest - '0') * unit;
  }
  std::int64_t seconds = timegm(&parts);
  const std::string zone(rest);
  if (zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':') {
    const auto hours = number_of<unsigned>(zone.substr(1, 2));
    const auto minutes = number_of<unsigned>(zone.substr(4, 2));
    if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    const auto offset = static_cast<std::int64_t>(*hours * 3600 + *minutes * 60);
    seconds -= zone[0] == '+' ? offset : -offset;
  } else if (zone != "Z" && zone != "z") {
    return std::nullopt;
  }
  if (seconds < 0 || seconds >= INT64_MAX / kSecond) return std::nullopt;
  return seconds * kSecond + ns;
}

}  // namespace

std::optional<std::string_view> Target::find(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

Result<Target> parse_target(std::string_view text) {
  const auto refuse = [](const char* why) { return fail(ErrorCode::kInvalidArgument, why); };
  if (!text.starts_with('/')) return refuse("the target does not begin with '/'");
  Target target;
  const std::size_t mark = text.find('?');
  const std::string_view path = text.substr(1, mark == std::string_view::npos ? mark : mark - 1);
  for (const std::string_view part : split(path, '/')) {
    if (part.empty()) continue;
    auto name = decoded(part, false);
    if (!name) return refuse("the path is not well encoded");
    if (target.path.size() == kMaxSegments) return refuse("the path has too many parts");
    target.path.push_back(std::move(*name));
  }
  if (mark == std::string_view::npos) return target;
  for (const std::string_view pair : split(text.substr(mark + 1), '&')) {
    if (pair.empty()) continue;
    const std::size_t sign = pair.find('=');
    auto name = decoded(pair.substr(0, sign), true);
    auto value = sign == std::string_view::npos ? std::optional<std::string>("")
                                                : decoded(pair.substr(sign + 1), true);
    if (!name || !value) return refuse("the query is not well encoded");
    if (target.query.size() == kMaxParameters) return refuse("the query has too many parameters");
    target.query.emplace_back(std::move(*name), std::move(*value));
  }
  return target;
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if ((byte < 0x80 && std::isalnum(byte) != 0) ||
        std::string_view("-._~").find(letter) != std::string_view::npos) {
      out += letter;
    } else {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

Parsed<BoundingBox> parse_bbox(std::string_view text, int dimensions) {
  std::vector<double> numbers;
  for (const std::string_view part : split(text, ',')) {
    const auto number = number_of<double>(part);
    if (!number) return wrong("bbox", "'" + printable(part) + "' is no finite number");
    if (numbers.size() == 6) break;
    numbers.push_back(*number);
  }
  const auto count = std::count(text.begin(), text.end(), ',') + 1;
  if (count != 4 && count != 6) return wrong("bbox", "it has to have four or six numbers");
  const std::size_t half = numbers.size() / 2;
  Area area;
  for (std::size_t d = 0; d < 2; ++d) area.min[d] = numbers[d], area.max[d] = numbers[half + d];
  if (dimensions == 3) {
    area.min[2] = half == 3 ? numbers[2] : -DBL_MAX;
    area.max[2] = half == 3 ? numbers[5] : DBL_MAX;
  }
  if (area.min[1] > area.max[1]) return wrong("bbox", "its south is beyond its north");
  if (area.min[2] > area.max[2]) return wrong("bbox", "its lowest height is above its highest");
  if (area.min[0] <= area.max[0]) return BoundingBox{{area}};
  if (area.min[0] > kEast || area.max[0] < kWest) {
    return wrong("bbox", "its west is beyond its east, and they are no longitudes");
  }
  Area west = area;
  west.max[0] = kEast;
  area.min[0] = kWest;
  return BoundingBox{{west, area}};
}

Parsed<std::uint64_t> parse_limit(const Target& target, std::uint64_t otherwise,
                                  std::uint64_t most) {
  const auto text = target.find("limit");
  if (!text) return otherwise;
  const bool is_whole = !text->empty() && std::all_of(text->begin(), text->end(), [](char letter) {
    return letter >= '0' && letter <= '9';
  });
  if (!is_whole) return wrong("limit", "it has to be a whole number from 1");
  const auto number = number_of<std::uint64_t>(*text);
  if (number == 0u) return wrong("limit", "it has to be a whole number from 1");
  return std::min(number.value_or(most), most);
}

Parsed<Moment> parse_datetime(std::string_view text) {
  const auto parts = split(text, '/');
  if (parts.size() > 2) return wrong("datetime", "it has more than a beginning and an end");
  Moment moment = 0;
  for (const std::string_view part : parts) {
    moment = 0;
    if (part == ".." || (part.empty() && parts.size() == 2)) continue;
    const auto instant = parse_instant(std::string(part));
    if (!instant) {
      return wrong("datetime", "'" + printable(part) + "' is no time of RFC 3339 since 1970");
    }
    moment = moment_at(*instant);
  }
  return moment;
}

Parsed<Moment> parse_moment_of(const Target& target) {
  const auto version = target.find("version");
  const auto time = target.find("datetime");
  if (version && time) return wrong("version", "it excludes datetime");
  if (time) return parse_datetime(*time);
  if (!version) return Moment{0};
  const auto number = number_of<std::uint64_t>(*version);
  if (!number || *number == 0 || *number >= kFirstStamp) {
    return wrong("version", "it has to be the number of a version");
  }
  return *number;
}

std::string to_text(const PageToken& token) {
  std::array<char, 32> hex{};
  const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), token.place.code, 16).ptr;
  return std::to_string(token.version) + "." + std::to_string(token.matched) + "." +
         std::to_string(token.part) + "." + std::string(hex.data(), end) + "." +
         std::to_string(token.place.depth) + "." + std::to_string(token.place.skip);
}

Parsed<PageToken> parse_page(std::string_view text) {
  const auto refuse = [] { return wrong("page", "it is not of a 'next' link of this gate"); };
  const auto parts = split(text, '.');
  if (parts.size() != 6) return refuse();
  std::array<std::uint64_t, 6> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto number = number_of<std::uint64_t>(parts[i], i == 3 ? 16 : 10);
    if (!number) return refuse();
    numbers[i] = *number;
  }
  if (numbers[4] > kMaxDepth) return refuse();
  const PageToken token{
      .version = numbers[0],
      .matched = numbers[1],
      .part = numbers[2],
      .place = {.code = numbers[3], .depth = static_cast<int>(numbers[4]), .skip = numbers[5]}};
  const bool is_version = token.version > 0 && token.version < kFirstStamp;
  if (!is_version || token.part > 1 || !is_place(token.place)) return refuse();
  return token;
}

std::optional<WrongParameter> find_unknown(const Target& target,
                                           std::span<const std::string_view> known) {
  for (const auto& [name, value] : target.query) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return WrongParameter{name, "there is no such parameter here"};
    }
  }
  return std::nullopt;
}

}  // namespace silurus::gate
