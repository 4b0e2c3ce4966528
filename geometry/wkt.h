// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "geometry/geometry.h"

namespace silurus::geometry {

/// A geometry in well-known text (OGC 06-103r4): "POINT (1 2)", "POLYGON Z ((0 0 1, ...))",
/// "MULTIPOINT EMPTY", in any case. Three numbers without "Z" count as with it. Refused besides
/// what Geometry::create() refuses: M and other types (kUnsupported), more than kMaxText or
/// kMaxDepth (kTooLarge), what is no such text, with its column from 1 on (kInvalidArgument). Pure;
/// takes any text.
Result<Geometry> read_wkt(std::string_view text);

/// "POINT Z (1 2 3)". Numbers are the shortest that read back as the same.
std::string write_wkt(const Geometry& geometry);

}  // namespace silurus::geometry
