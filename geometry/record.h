// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "geometry/geometry.h"

// What is kept of an entry besides its box: a geometry, properties, or both.
//
// As bytes (all numbers little-endian):
//
//   0   u8   format, 1
//   1   u8   flags: 1 has a geometry, 2 has properties
//   2   u16  0
//   4   u32  bytes of the geometry, in ISO's well-known binary
//   8   u32  bytes of the properties, an object of JSON in UTF-8
//   12       the geometry, then the properties

namespace silurus::geometry {

inline constexpr std::uint8_t kRecordFormat = 1;
inline constexpr std::size_t kRecordHead = 12;
/// Most bytes of geometry and properties together.
inline constexpr std::size_t kMaxRecord = std::size_t{1} << 20;

/// A plain value. What encode() takes has a geometry or properties.
struct Record {
  std::optional<Geometry> geometry;
  std::optional<std::string> properties;  ///< text of an object of JSON, kept as it is
  friend bool operator==(const Record&, const Record&) = default;
};

/// Where the parts of an encoded record lie in it.
struct RecordParts {
  std::optional<std::span<const std::byte>> wkb;
  std::optional<std::string_view> properties;
};

/// Whether the text is one object of JSON in one line, nested no deeper than kMaxNesting
/// (kInvalidArgument, kTooLarge).
Status check_properties(std::string_view text);
/// An object of JSON written anew, without spaces and with its members in the same order: so it is
/// one line. Refuses what check_properties() does, but for line feeds.
Result<std::string> compact_properties(std::string_view text);

/// Refuses a record of nothing and properties that are no object of JSON or nested deeper than
/// kMaxNesting (kInvalidArgument, kTooLarge), and more than kMaxRecord (kTooLarge). Equal records
/// have equal bytes.
Result<std::string> encode(const Record& record);

/// Looks at the head alone, so that one part can be read without the other. kProtocol for what
/// encode() does not write. Pure; takes any bytes, as decode() does.
Result<RecordParts> split_record(std::span<const std::byte> bytes);

/// The record, with all checks of what is in it. With Checks::kForm, for bytes that were checked
/// before, the properties are not looked at.
Result<Record> decode(std::span<const std::byte> bytes, Checks checks = Checks::kAll);

/// A Feature of GeoJSON, without spaces:
/// {"type":"Feature","id":7,"geometry":{...},"properties":{...}}, with null for a missing part.
std::string to_feature(std::uint64_t id, const Record& record);

struct Feature {
  std::optional<std::uint64_t> id;  ///< nothing if it has none, or one that is no such number
  Record record;
};

/// A record of the text of a Feature of GeoJSON, of at most kMaxText bytes. Properties are written
/// anew, without spaces and with their members in the same order. A record of nothing is refused.
Result<Feature> read_feature(std::string_view text);

}  // namespace silurus::geometry
