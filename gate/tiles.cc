// SPDX-License-Identifier: Apache-2.0

#include "gate/tiles.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "gate/limits.h"

namespace silurus::gate {
namespace {

constexpr std::array<std::string_view, 3> kTileParameters = {"f", "datetime", "version"};
constexpr const char* kTileType = "application/vnd.mapbox-vector-tile";
/// Web Mercator ends here, where its map is a square.
constexpr double kMaxLatitude = 85.051128779806604;
constexpr double kPi = std::numbers::pi;

// --- protocol buffers: the few forms that a tile needs

enum class Wire : std::uint8_t { kVarint = 0, kBytes = 2 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_key(std::string& out, std::uint32_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<std::uint32_t>(wire));
}
void put_number(std::string& out, std::uint32_t field, std::uint64_t value) {
  put_key(out, field, Wire::kVarint);
  put_varint(out, value);
}
void put_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_key(out, field, Wire::kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// --- vector tiles 2.1: numbers of fields, and of commands of a geometry

constexpr std::uint32_t kLayers = 3;
constexpr std::uint32_t kLayerName = 1, kLayerFeatures = 2, kLayerKeys = 3, kLayerValues = 4,
                        kLayerExtent = 5, kLayerVersion = 15;
constexpr std::uint32_t kFeatureId = 1, kFeatureTags = 2, kFeatureType = 3, kFeatureGeometry = 4;
constexpr std::uint32_t kValueUint = 5;
enum class Shape : std::uint8_t { kPoint = 1, kLine = 2, kPolygon = 3 };

struct Spot {
  std::int64_t x;
  std::int64_t y;
};

void put_signed(std::string& out, std::int64_t value) {
  put_varint(out,
             (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

/// The commands of a box: a point, a line, or a ring whose area is positive where y goes down.
std::string geometry_of(const Spot& low, const Spot& high, Shape& shape) {
  constexpr std::uint64_t kMoveTo = 1, kLineTo = 2, kClosePath = 7;
  std::string commands;
  put_varint(commands, kMoveTo | 1 << 3);
  put_signed(commands, low.x);
  put_signed(commands, low.y);
  const std::int64_t width = high.x - low.x;
  const std::int64_t height = high.y - low.y;
  shape = width == 0 && height == 0 ? Shape::kPoint
                                    : (width == 0 || height == 0 ? Shape::kLine : Shape::kPolygon);
  if (shape == Shape::kLine) {
    put_varint(commands, kLineTo | 1 << 3);
    put_signed(commands, width);
    put_signed(commands, height);
  } else if (shape == Shape::kPolygon) {
    put_varint(commands, kLineTo | 3 << 3);
    for (const Spot& step : {Spot{width, 0}, Spot{0, height}, Spot{-width, 0}}) {
      put_signed(commands, step.x);
      put_signed(commands, step.y);
    }
    put_varint(commands, kClosePath | 1 << 3);
  }
  return commands;
}

void put_feature(std::string& layer, std::optional<std::uint64_t> id, std::string_view tags,
                 const Spot& low, const Spot& high) {
  Shape shape{};
  const std::string geometry = geometry_of(low, high, shape);
  std::string feature;
  if (id) put_number(feature, kFeatureId, *id);
  if (!tags.empty()) put_bytes(feature, kFeatureTags, tags);
  put_number(feature, kFeatureType, static_cast<std::uint64_t>(shape));
  put_bytes(feature, kFeatureGeometry, geometry);
  put_bytes(layer, kLayerFeatures, feature);
}

std::string begin_layer(std::string_view name) {
  std::string layer;
  put_number(layer, kLayerVersion, 2);
  put_bytes(layer, kLayerName, name);
  put_number(layer, kLayerExtent, kTileExtent);
  return layer;
}

std::string tile_of(const std::string& layer) {
  std::string tile;
  put_bytes(tile, kLayers, layer);
  return tile;
}

/// Longitude and latitude as units of a tile, at most `kTileBuffer` beyond its edges.
Spot spot_of(const TileName& name, double longitude, double latitude) {
  const double tiles = std::ldexp(1.0, static_cast<int>(name.z));
  const double phi = std::clamp(latitude, -kMaxLatitude, kMaxLatitude) * kPi / 180;
  const double x = (std::clamp(longitude, -180.0, 180.0) + 180) / 360;
  const double y = (1 - std::asinh(std::tan(phi)) / kPi) / 2;
  const auto unit = [&](double share, std::uint32_t index) {
    const double at = (share * tiles - index) * kTileExtent;
    const double edge = kTileBuffer;
    return static_cast<std::int64_t>(std::lround(std::clamp(at, -edge, kTileExtent + edge)));
  };
  return {unit(x, name.x), unit(y, name.y)};
}

double latitude_of(double share) { return std::atan(std::sinh(kPi * (1 - 2 * share))) * 180 / kPi; }

std::optional<TileName> parse_name(const Target& target) {
  std::array<std::uint32_t, 3> numbers{};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string& text = target.path[3 + i];
    const char* const end = text.data() + text.size();
    const auto done = std::from_chars(text.data(), end, numbers[i]);
    if (done.ec != std::errc() || done.ptr != end) return std::nullopt;
  }
  const TileName name{numbers[0], numbers[1], numbers[2]};
  if (name.z > kMaxZoom || name.x >= 1u << name.z || name.y >= 1u << name.z) return std::nullopt;
  return name;
}

Result<std::vector<std::uint64_t>> count_cells(const TileName& name, const std::string& collection,
                                               Source& source, Moment as_of) {
  std::vector<std::uint64_t> counts;
  constexpr auto kZoomIn = static_cast<std::uint32_t>(std::countr_zero(kCellsOfTile));
  for (std::uint32_t row = 0; row < kCellsOfTile; ++row) {
    for (std::uint32_t column = 0; column < kCellsOfTile; ++column) {
      const TileName cell{name.z + kZoomIn, name.x * kCellsOfTile + column,
                          name.y * kCellsOfTile + row};
      const auto found =
          source.range(collection, area_of_tile(cell),
                       {.shape = ResultShape::kCount, .limit = kMostCounted, .as_of = as_of});
      if (!found) return tl::unexpected<Error>(found.error());
      counts.push_back(found->count);
    }
  }
  return counts;
}

}  // namespace

Area area_of_tile(const TileName& name, std::uint32_t buffer) {
  const double tiles = std::ldexp(1.0, static_cast<int>(name.z));
  const double around = static_cast<double>(buffer) / kTileExtent;
  const auto share = [&](std::uint32_t index, double offset) {
    return std::clamp((index + offset) / tiles, 0.0, 1.0);
  };
  Area area;
  area.min[0] = share(name.x, -around) * 360 - 180;
  area.max[0] = share(name.x, 1 + around) * 360 - 180;
  // What lies beyond the map's edge is drawn at it, as boxes that reach there are.
  const double north = share(name.y, -around);
  const double south = share(name.y, 1 + around);
  area.max[1] = north == 0 ? 90 : latitude_of(north);
  area.min[1] = south == 1 ? -90 : latitude_of(south);
  return area;
}

std::string encode_boxes(const TileName& name, std::vector<Entry<3>> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry<3>& a, const Entry<3>& b) { return a.id < b.id; });
  std::string layer = begin_layer("boxes");
  for (const Entry<3>& entry : entries) {
    // North is up, and y goes down.
    put_feature(layer, entry.id, "", spot_of(name, entry.box.min[0], entry.box.max[1]),
                spot_of(name, entry.box.max[0], entry.box.min[1]));
  }
  return tile_of(layer);
}

std::string encode_cells(std::span<const std::uint64_t> counts, std::uint32_t cells) {
  std::string layer = begin_layer("cells");
  std::vector<std::uint64_t> values;
  const auto edge = static_cast<std::int64_t>(kTileExtent / cells);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    auto known = std::find(values.begin(), values.end(), counts[i]);
    if (known == values.end()) known = values.insert(known, counts[i]);
    std::string tags;
    put_varint(tags, 0);
    put_varint(tags, static_cast<std::uint64_t>(known - values.begin()));
    const Spot low{static_cast<std::int64_t>(i % cells) * edge,
                   static_cast<std::int64_t>(i / cells) * edge};
    put_feature(layer, std::nullopt, tags, low, {low.x + edge, low.y + edge});
  }
  put_bytes(layer, kLayerKeys, "count");
  for (const std::uint64_t value : values) {
    std::string text;
    put_number(text, kValueUint, value);
    put_bytes(layer, kLayerValues, text);
  }
  return tile_of(layer);
}

HttpAnswer answer_tile(const Target& target, const HttpRequest& request,
                       const Collection& collection, Source& source) {
  const auto wrong = [](const WrongParameter& parameter) {
    return problem(400, parameter.name + ": " + parameter.why, parameter.name);
  };
  if (const auto unknown = find_unknown(target, kTileParameters)) return wrong(*unknown);
  const auto as_of = parse_moment_of(target);
  if (!as_of) return wrong(as_of.error());
  const auto name = parse_name(target);
  if (!name) return problem(404, "there is no such tile: /tiles/{z}/{x}/{y}, z up to 24");
  if (collection.dimensions != 2) return problem(404, "tiles are of two dimensions");
  const auto found = source.range(collection.name, area_of_tile(*name, kTileBuffer),
                                  {.limit = kMostInTile + 1, .as_of = *as_of});
  if (!found) {
    const bool is_past = found.error().code == ErrorCode::kNotFound && *as_of != 0;
    return is_past ? problem(410, found.error().message) : problem(found.error());
  }
  HttpAnswer answer;
  answer.type = kTileType;
  const std::string tag = "\"" + std::to_string(found->version) + "\"";
  answer.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};
  if (request.if_none_match == tag) {
    answer.status = 304;
  } else if (found->count <= kMostInTile) {
    answer.body = encode_boxes(*name, found->entries);
  } else {
    const auto counts = count_cells(*name, collection.name, source, *as_of);
    if (!counts) return problem(counts.error());
    answer.body = encode_cells(*counts, kCellsOfTile);
  }
  return answer;
}

}  // namespace silurus::gate
