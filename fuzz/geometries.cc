// SPDX-License-Identifier: Apache-2.0

#include <nlohmann/json.hpp>

#include "common/json.h"
#include "fuzz/target.h"
#include "geometry/distance.h"
#include "geometry/geojson.h"
#include "geometry/prepared.h"
#include "geometry/record.h"
#include "geometry/where.h"
#include "geometry/wkb.h"
#include "geometry/wkt.h"

// Geometries in all their forms, records, and conditions. The first byte of an input chooses which.

namespace silurus::fuzz {
namespace {

using namespace geometry;

std::span<const std::byte> bytes_in(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// What is taken is read again as written, in each form, and compared with itself.
void try_geometry(const Geometry& geometry) {
  const std::string wkb = write_wkb(geometry);
  SILURUS_CHECK(read_wkb(bytes_in(wkb)).value() == geometry);
  SILURUS_CHECK(read_wkt(write_wkt(geometry)).value() == geometry);
  const auto again = read_geojson(write_geojson(geometry));
  SILURUS_CHECK(again.has_value());
  SILURUS_CHECK(geometry.is_empty() || *again == geometry);
  const auto box = box_of<2>(geometry);
  SILURUS_CHECK(box.has_value() == !geometry.is_empty());
  SILURUS_CHECK(!box || rtree::check_box(*box));
  const Prepared prepared(geometry);
  const auto meets = prepared.intersects(geometry);
  SILURUS_CHECK(!meets || *meets == !geometry.is_empty());
  const auto within = prepared.within(geometry);
  SILURUS_CHECK(!within || *within == !geometry.is_empty());
  const rtree::Point<2> point{{1, 1}};
  const auto away = distance(point, geometry);
  SILURUS_CHECK(away.has_value() == !geometry.is_empty() && (!away || *away >= 0));
  const auto on_sphere = metres(point, geometry);
  SILURUS_CHECK(on_sphere.has_value() == away.has_value());
}

void try_record(std::span<const std::byte> bytes) {
  const auto record = decode(bytes);
  if (!record) return;
  const auto again = encode(*record);
  SILURUS_CHECK(again.has_value());
  SILURUS_CHECK(decode(bytes_in(*again)).value() == *record);
  SILURUS_CHECK(decode(bytes_in(*again), Checks::kForm).value() == *record);
  const auto feature = read_feature(to_feature(7, *record));
  SILURUS_CHECK(feature.has_value() && feature->id == 7);
  if (record->geometry) try_geometry(*record->geometry);
}

void try_where(std::string_view text) {
  static const auto kProperties = nlohmann::json::parse(R"({"a":1,"b":"x","c":null,"d":true})");
  const auto where = Where::parse(text);
  if (!where) {
    SILURUS_CHECK(!where.error().message.empty());
    return;
  }
  const bool matches = where->matches(kProperties);
  const auto contrary = Where::parse("not (" + std::string(text) + ")");
  SILURUS_CHECK(!contrary || !matches || !contrary->matches(kProperties));
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto form = input.take<std::uint8_t>();
  const AlignedCopy copy(input.rest());
  const std::string_view text = as_text(copy.bytes());
  Result<Geometry> geometry = fail(ErrorCode::kNotFound, "another form");
  switch (form % 6) {
    case 0:
      geometry = read_wkb(copy.bytes());
      break;
    case 1:  // not compared: rings may cross
      static_cast<void>(read_wkb(copy.bytes(), Checks::kForm));
      break;
    case 2:
      geometry = read_wkt(text);
      break;
    case 3:
      geometry = read_geojson(text);
      break;
    case 4:
      try_record(copy.bytes());
      break;
    default:
      try_where(text);
  }
  if (geometry) try_geometry(*geometry);
}

std::vector<std::string> seeds() {
  std::vector<std::string> seeds;
  for (const char* wkt :
       {"POINT Z (1 2 3)", "MULTIPOINT (1 2, EMPTY)", "LINESTRING (0 0, 4 0, 4 4)",
        "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 1 2, 2 2, 1 1))",
        "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((4 4, 8 4, 8 8, 4 4)))",
        "GEOMETRYCOLLECTION (POINT (1 1), MULTILINESTRING ((0 0, 1 1), (2 2, 3 3)))"}) {
    const Geometry geometry = read_wkt(wkt).value();
    seeds.push_back(std::string(1, '\0') + write_wkb(geometry));
    seeds.push_back("\x01" + write_wkb(geometry));
    seeds.push_back("\x02" + std::string(wkt));
    seeds.push_back("\x03" + write_geojson(geometry));
    seeds.push_back("\x04" + encode({geometry, R"({"name":"x"})"}).value());
  }
  for (const char* where : {"a > 1 and b in ('x', 'y') or not c is null", "`d` != true",
                            "a = -1.5e3 or (b <= \"x\" and c not in (1))"}) {
    seeds.push_back("\x05" + std::string(where));
  }
  return seeds;
}

}  // namespace silurus::fuzz
