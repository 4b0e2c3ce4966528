// SPDX-License-Identifier: Apache-2.0

#include "datasets/fields.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace silurus::datasets {
namespace {

constexpr double kExactWholes = 9007199254740992.0;  // 2^53

/// Without the plus that std::from_chars does not take.
std::string_view without_plus(std::string_view text) {
  const bool has_plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return has_plus ? text.substr(1) : text;
}

}  // namespace

std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShown = 40;
  std::string result = "\"";
  for (const char c : text.substr(0, kMaxShown)) {
    if (c >= ' ' && c <= '~') {
      result += c;
    } else {
      std::array<char, 8> escaped;
      std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned char>(c));
      result += escaped.data();
    }
  }
  return result + (text.size() > kMaxShown ? "...\"" : "\"");
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<double> number_of(std::string_view text) {
  text = without_plus(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::numeric_limits<double>::infinity();
  if (error != std::errc{}) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> id_of(std::string_view text) {
  text = without_plus(text);
  std::string_view whole = text;
  if (const std::size_t point = text.find('.'); point != std::string_view::npos) {
    const bool is_zero = text.find_first_not_of('0', point + 1) == std::string_view::npos;
    if (is_zero) whole = text.substr(0, point);
  }
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), id);
  if (error == std::errc{} && end == whole.data() + whole.size()) return id;
  if (text.find_first_of("eE") == std::string_view::npos) return std::nullopt;
  const auto value = number_of(text);
  if (!value || !(*value >= 0 && *value <= kExactWholes) || std::trunc(*value) != *value) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*value);
}

}  // namespace silurus::datasets
