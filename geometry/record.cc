// SPDX-License-Identifier: Apache-2.0

#include "geometry/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "geometry/geojson.h"
#include "geometry/json_text.h"
#include "geometry/wkb.h"

namespace silurus::geometry {
namespace {

constexpr unsigned kHasGeometry = 1;
constexpr unsigned kHasProperties = 2;

Status check_record_size(std::size_t bytes) {
  if (bytes <= kMaxRecord) return {};
  return fail(ErrorCode::kTooLarge, "geometry and properties have " + std::to_string(bytes) +
                                        " bytes together: at most " + std::to_string(kMaxRecord) +
                                        " are kept");
}

tl::unexpected<Error> broken(const std::string& what) {
  return fail(ErrorCode::kProtocol, "the record " + what);
}

std::uint32_t word_at(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < sizeof word; ++i) {
    word |= std::to_integer<std::uint32_t>(bytes[offset + i]) << (8 * i);
  }
  return word;
}

void append_word(std::string& bytes, std::size_t word) {
  for (std::size_t i = 0; i < sizeof(std::uint32_t); ++i) {
    bytes += static_cast<char>((word >> (8 * i)) & 0xff);
  }
}

Error no_object() { return {ErrorCode::kInvalidArgument, "the properties are no object of JSON"}; }

}  // namespace

Status check_properties(std::string_view text) {
  auto json = parse_whole_json<nlohmann::json>(text, "the text of the properties");
  if (!json) return fail(json.error());
  if (!json->is_object()) return fail(no_object());
  const auto breaks = [](char c) { return static_cast<unsigned char>(c) < ' '; };
  if (std::ranges::none_of(text, breaks)) return {};
  return fail(ErrorCode::kInvalidArgument, "the properties have a line feed, or the like");
}

Result<std::string> compact_properties(std::string_view text) {
  const auto json = parse_whole_json<nlohmann::ordered_json>(text, "the text of the properties");
  if (!json) return fail(json.error());
  if (!json->is_object()) return fail(no_object());
  return json_text(*json);
}

Result<std::string> encode(const Record& record) {
  if (!record.geometry && !record.properties) {
    return fail(ErrorCode::kInvalidArgument, "the record has neither geometry nor properties");
  }
  const std::string wkb = record.geometry ? write_wkb(*record.geometry) : std::string();
  const std::size_t json_bytes = record.properties ? record.properties->size() : 0;
  if (auto ok = check_record_size(wkb.size() + json_bytes); !ok) return fail(ok.error());
  if (record.properties) {
    if (auto ok = check_properties(*record.properties); !ok) return fail(ok.error());
  }
  std::string bytes;
  bytes.reserve(kRecordHead + wkb.size() + json_bytes);
  append_word(bytes, kRecordFormat | (record.geometry ? kHasGeometry << 8 : 0) |
                         (record.properties ? kHasProperties << 8 : 0));
  append_word(bytes, wkb.size());
  append_word(bytes, json_bytes);
  bytes += wkb;
  if (record.properties) bytes += *record.properties;
  return bytes;
}

Result<RecordParts> split_record(std::span<const std::byte> bytes) {
  if (bytes.size() < kRecordHead) return broken("is shorter than its head");
  const auto format = std::to_integer<unsigned>(bytes[0]);
  if (format != kRecordFormat) {
    return broken("has format " + std::to_string(format) + ": this program knows format 1");
  }
  const std::uint32_t flags = word_at(bytes, 0) >> 8;
  if (flags == 0 || flags > (kHasGeometry | kHasProperties)) {
    return broken("has flags " + std::to_string(flags) + ": they are 1, 2 or 3");
  }
  const std::size_t wkb_size = word_at(bytes, 4);
  const std::size_t json_size = word_at(bytes, 8);
  if (auto ok = check_record_size(wkb_size + json_size); !ok) return fail(ok.error());
  if ((wkb_size != 0) != ((flags & kHasGeometry) != 0) ||
      (json_size != 0) != ((flags & kHasProperties) != 0)) {
    return broken("has lengths that its flags forbid");
  }
  if (bytes.size() != kRecordHead + wkb_size + json_size) {
    return broken("has " + std::to_string(bytes.size()) + " bytes, and its head says " +
                  std::to_string(kRecordHead + wkb_size + json_size));
  }
  RecordParts parts;
  if (wkb_size != 0) parts.wkb = bytes.subspan(kRecordHead, wkb_size);
  if (json_size != 0) {
    const auto json = bytes.subspan(kRecordHead + wkb_size);
    parts.properties.emplace(reinterpret_cast<const char*>(json.data()), json.size());
  }
  return parts;
}

Result<Record> decode(std::span<const std::byte> bytes, Checks checks) {
  auto parts = split_record(bytes);
  if (!parts) return fail(parts.error());
  Record record;
  if (parts->wkb) {
    auto geometry = read_wkb(*parts->wkb, checks);
    if (!geometry) return fail(geometry.error());
    record.geometry = std::move(*geometry);
  }
  if (parts->properties) {
    if (checks == Checks::kAll) {
      if (auto ok = check_properties(*parts->properties); !ok) return fail(ok.error());
    }
    record.properties.emplace(*parts->properties);
  }
  return record;
}

std::string to_feature(std::uint64_t id, const Record& record) {
  return R"({"type":"Feature","id":)" + std::to_string(id) + R"(,"geometry":)" +
         (record.geometry ? write_geojson(*record.geometry) : "null") + R"(,"properties":)" +
         record.properties.value_or("null") + "}";
}

Result<Feature> read_feature(std::string_view text) {
  using Json = nlohmann::ordered_json;
  if (text.size() > kMaxText) {
    return fail(ErrorCode::kTooLarge, "the feature has " + std::to_string(text.size()) +
                                          " bytes: at most " + std::to_string(kMaxText) +
                                          " are taken");
  }
  auto json = parse_whole_json<Json>(text, "the feature");
  if (!json) return fail(json.error());
  if (json_string(*json, "type") != "Feature") {
    return fail(ErrorCode::kInvalidArgument, "the text is no GeoJSON object of type \"Feature\"");
  }
  Feature feature;
  const Json& id = json_field(*json, "id");
  if (id.is_number_unsigned()) feature.id = id.get<std::uint64_t>();
  if (const Json& shape = json_field(*json, "geometry"); !shape.is_null()) {
    auto geometry = geometry_of_json(shape);
    if (!geometry) return fail(geometry.error());
    feature.record.geometry = std::move(*geometry);
  }
  if (const Json& properties = json_field(*json, "properties"); !properties.is_null()) {
    if (!properties.is_object()) {
      return fail(ErrorCode::kInvalidArgument, "the properties of the feature are no object");
    }
    feature.record.properties = json_text(properties);
  }
  if (auto ok = encode(feature.record); !ok) return fail(ok.error());
  return feature;
}

}  // namespace silurus::geometry
