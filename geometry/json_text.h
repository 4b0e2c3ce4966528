// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus::geometry {

/// Deepest nesting of arrays and objects in JSON that is taken.
inline constexpr int kMaxNesting = 64;

/// How deep arrays and objects lie in others; what is no JSON has some number, too.
inline int nesting_of(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      is_in_string = c != '"';
    } else if (c == '"') {
      is_in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

/// JSON with nothing left out, unlike parse_json(): what is nested deeper than kMaxNesting is
/// refused (kTooLarge), as is what is no JSON (kInvalidArgument). `name` begins the errors.
template <typename Json>
Result<Json> parse_whole_json(std::string_view text, const std::string& name) {
  if (nesting_of(text) > kMaxNesting) {
    return fail(ErrorCode::kTooLarge,
                name + " is nested deeper than " + std::to_string(kMaxNesting) + " levels");
  }
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return fail(ErrorCode::kInvalidArgument, name + " is no JSON");
  return json;
}

}  // namespace silurus::geometry
