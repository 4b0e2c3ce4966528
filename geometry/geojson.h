// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "geometry/geometry.h"

// Geometries of GeoJSON (RFC 7946). Positions have two numbers, longitude first where they are
// degrees, or three.

namespace silurus::geometry {

/// A geometry object. Members other than its own are passed over. It has z if its first position
/// has three numbers, and then all must have them. Refused besides what Geometry::create() refuses
/// (each with its place): what is no geometry object, more than kMaxDepth (kTooLarge). Json is
/// nlohmann::json or nlohmann::ordered_json. Pure.
template <typename Json>
Result<Geometry> geometry_of_json(const Json& json);

/// The same of a text, with at most kMaxText bytes.
Result<Geometry> read_geojson(std::string_view text);

/// Without spaces; shells counter-clockwise, holes clockwise. Numbers are the shortest that read
/// back as the same. What has no vertex is read back without z.
std::string write_geojson(const Geometry& geometry);

}  // namespace silurus::geometry
