// SPDX-License-Identifier: Apache-2.0

#include "geometry/geojson.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/json.h"
#include "common/units.h"
#include "geometry/check.h"
#include "geometry/json_text.h"

namespace silurus::geometry {
namespace {

template <typename Json>
class GeoJsonReader {
 public:
  Result<Shape> read(const Json& json) {
    Shape shape;
    if (auto ok = read_object(shape, json, kWhole, 1); !ok) return fail(ok.error());
    set_z(shape);
    return shape;
  }

 private:
  Status read_object(Shape& shape, const Json& json, const Place& place, int depth) {
    if (depth > kMaxDepth) {
      return fail(ErrorCode::kTooLarge, place.text() + " is nested deeper than " +
                                            std::to_string(kMaxDepth) + " geometries");
    }
    if (!json.is_object()) return fail_at(place, "is no object");
    const std::string name = json_string(json, "type");
    const auto* type =
        std::ranges::find_if(kAllTypes, [&](Type each) { return to_string(each) == name; });
    if (type == std::end(kAllTypes)) {
      return fail_at(place, "has the type \"" + printable(name) + "\", which is no geometry's");
    }
    shape.type = *type;
    const bool is_collection = shape.type == Type::kCollection;
    const char* const member = is_collection ? "geometries" : "coordinates";
    const Json& items = json_field(json, member);
    if (!items.is_array()) return fail_at(place, std::string("has no array \"") + member + "\"");
    if (!is_collection) return read_coordinates(shape, items, place);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Place part{"part", i, &place};
      if (auto ok = read_object(shape.parts.emplace_back(), items[i], part, depth + 1); !ok) {
        return ok;
      }
    }
    return {};
  }

  Status read_coordinates(Shape& shape, const Json& items, const Place& place) {
    if (!items.is_array()) return fail_at(place, "is no array");
    if (const auto type = type_of_parts(shape.type)) {
      for (std::size_t i = 0; i < items.size(); ++i) {
        Shape& part = shape.parts.emplace_back();
        part.type = *type;
        const Place here{noun_of_parts(shape.type), i, &place};
        if (auto ok = read_coordinates(part, items[i], here); !ok) return ok;
      }
      return {};
    }
    if (items.empty()) return {};
    if (shape.type == Type::kPoint) {
      return read_position(shape.lines.emplace_back(), items, place);
    }
    if (shape.type == Type::kLineString) return read_line(shape.lines.emplace_back(), items, place);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Place ring{"ring", i, &place};
      if (auto ok = read_line(shape.lines.emplace_back(), items[i], ring); !ok) return ok;
    }
    return {};
  }

  Status read_line(Line& line, const Json& items, const Place& place) {
    if (!items.is_array()) return fail_at(place, "is no array");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (auto ok = read_position(line, items[i], Place{"coordinate", i, &place}); !ok) return ok;
    }
    return {};
  }

  Status read_position(Line& line, const Json& numbers, const Place& place) {
    if (!numbers.is_array()) return fail_at(place, "is no array of numbers");
    if (numbers.size() < 2 || numbers.size() > 3) {
      return fail_at(place, "has " + std::to_string(numbers.size()) +
                                " numbers: a position has 2, or 3 with a height");
    }
    for (const Json& number : numbers) {
      if (!number.is_number()) return fail_at(place, "has something that is not a number");
    }
    const bool has_third = numbers.size() == 3;
    if (has_z_.value_or(has_third) != has_third) {
      return fail_at(place, has_third ? "has 3 numbers, and those before have 2"
                                      : "has 2 numbers, and those before have 3");
    }
    has_z_ = has_third;
    line.push_back({numbers[0].template get<double>(), numbers[1].template get<double>(),
                    has_third ? numbers[2].template get<double>() : 0});
    return {};
  }

  void set_z(Shape& shape) const {
    shape.has_z = has_z_.value_or(false);
    for (Shape& part : shape.parts) set_z(part);
  }

  std::optional<bool> has_z_;  // whether the whole has z, once a position was read
};

void append_positions(std::string& text, const Line& line, bool has_z) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (i > 0) text += ',';
    text += '[' + format_number(line[i].x) + ',' + format_number(line[i].y);
    if (has_z) text += ',' + format_number(line[i].z);
    text += ']';
  }
}

/// The array "coordinates".
void append_coordinates(std::string& text, const Shape& shape) {
  if (shape.type == Type::kPoint && !shape.lines.empty()) {
    return append_positions(text, shape.lines.front(), shape.has_z);
  }
  text += '[';
  if (shape.type == Type::kLineString && !shape.lines.empty()) {
    append_positions(text, shape.lines.front(), shape.has_z);
  } else if (shape.type == Type::kPolygon) {
    for (std::size_t i = 0; i < shape.lines.size(); ++i) {
      text += i > 0 ? ",[" : "[";
      append_positions(text, shape.lines[i], shape.has_z);
      text += ']';
    }
  }
  for (std::size_t i = 0; i < shape.parts.size(); ++i) {
    if (i > 0) text += ',';
    append_coordinates(text, shape.parts[i]);
  }
  text += ']';
}

void append_geojson(std::string& text, const Shape& shape) {
  text += "{\"type\":\"" + std::string(to_string(shape.type)) + '"';
  if (shape.type != Type::kCollection) {
    text += ",\"coordinates\":";
    append_coordinates(text, shape);
  } else {
    text += ",\"geometries\":[";
    for (std::size_t i = 0; i < shape.parts.size(); ++i) {
      if (i > 0) text += ',';
      append_geojson(text, shape.parts[i]);
    }
    text += ']';
  }
  text += '}';
}

}  // namespace

template <typename Json>
Result<Geometry> geometry_of_json(const Json& json) {
  auto shape = GeoJsonReader<Json>().read(json);
  if (!shape) return fail(shape.error());
  return Geometry::create(std::move(*shape));
}
template Result<Geometry> geometry_of_json(const nlohmann::json&);
template Result<Geometry> geometry_of_json(const nlohmann::ordered_json&);

Result<Geometry> read_geojson(std::string_view text) {
  if (text.size() > kMaxText) {
    return fail(ErrorCode::kTooLarge, "the text has " + std::to_string(text.size()) +
                                          " bytes: at most " + std::to_string(kMaxText) +
                                          " are taken");
  }
  auto json = parse_whole_json<nlohmann::json>(text, "the text");
  if (!json) return fail(json.error());
  return geometry_of_json(*json);
}

std::string write_geojson(const Geometry& geometry) {
  std::string text;
  append_geojson(text, geometry.shape());
  return text;
}

}  // namespace silurus::geometry
