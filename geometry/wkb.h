// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "geometry/geometry.h"

namespace silurus::geometry {

/// A geometry in well-known binary: ISO's (OGC 06-103r4) or PostGIS's, in either order of bytes. A
/// SRID is passed over. Refused besides what Geometry::create() refuses: M, curves and other types
/// (kUnsupported), more than kMaxBytes or kMaxDepth (kTooLarge), bytes that are cut off or are left
/// over (kInvalidArgument). An empty point is one of NaNs. Pure; takes any bytes.
Result<Geometry> read_wkb(std::span<const std::byte> bytes, Checks checks = Checks::kAll);

/// ISO's well-known binary, little-endian. Equal geometries have equal bytes.
std::string write_wkb(const Geometry& geometry);

}  // namespace silurus::geometry
