// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "readers/request.h"
#include "rtree/geometry.h"

namespace silurus::readers {

/// What append_boxes_of_wkb() says of curves, and of a collection that has one.
inline constexpr std::string_view kUnknownType = "is of a type that is not known";

/// Appends the boxes of a geometry in well-known binary (OGC 06-103r4; PostGIS's flags for Z, M and
/// SRID, too): one about all of it, or one for each vertex, or for each segment between two
/// vertices of a line or ring (As; a point has no extent either way). Z and M are left out if D is
/// 2, M if it is 3. Returns what is wrong with the geometry, "is empty", or nothing if all is well;
/// `boxes` may then have some of its boxes. Curves are not known. Pure; takes any bytes.
template <int D>
std::string_view append_boxes_of_wkb(std::span<const std::byte> bytes, As as,
                                     std::vector<rtree::Box<D>>& boxes);

/// Whether the outermost type is one of those with circular arcs, which have no vertices where they
/// reach farthest. False for bytes that are no geometry.
bool is_curved_wkb(std::span<const std::byte> bytes);

}  // namespace silurus::readers
