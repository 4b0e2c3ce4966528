// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

// JSON from other programs, and JSON that contains their texts. nlohmann's
// value(), get() and dump() throw where a field is of another kind or a text is not UTF-8; none of
// these does. A missing field and one of the wrong type are treated alike.

namespace silurus {

/// Deepest nesting that is read: deeper parts are left out, and Silurus writes none.
constexpr int kMaxJsonDepth = 16;

/// The value is_discarded() if the text is no JSON.
template <typename Json = nlohmann::json>
Json parse_json(std::string_view text) {
  return Json::parse(
      text, [](int depth, auto, const Json&) { return depth < kMaxJsonDepth; }, false);
}

/// As dump(); bytes that are not UTF-8 are replaced by U+FFFD.
template <typename Json>
std::string json_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The field of that name; null if there is none, or `object` is none.
template <typename Json>
const Json& json_field(const Json& object, const char* name) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

template <typename Json>
std::uint64_t json_number(const Json& object, const char* name, std::uint64_t otherwise = 0) {
  const Json& field = json_field(object, name);
  return field.is_number_unsigned() ? field.template get<std::uint64_t>() : otherwise;
}

template <typename Json>
std::string json_string(const Json& object, const char* name, const char* otherwise = "") {
  const Json& field = json_field(object, name);
  return field.is_string() ? field.template get<std::string>() : std::string(otherwise);
}

/// The field if it is an array; else an empty one.
template <typename Json>
const Json& json_array(const Json& object, const char* name) {
  static const Json kEmpty = Json::array();
  const Json& field = json_field(object, name);
  return field.is_array() ? field : kEmpty;
}

}  // namespace silurus
