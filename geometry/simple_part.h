// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <vector>

#include "geometry/edges.h"

namespace silurus::geometry {

/// Where a vertex or a piece of a line lies to a geometry.
enum class Location : std::uint8_t { kOutside, kBoundary, kInside };

/// All points of a geometry, or all lines, or all polygons, not empty, as predicates look at it.
/// Not changed once made, and then for any thread.
struct SimplePart {
  int dimension = 0;  ///< 0 points, 1 lines, 2 polygons
  rtree::Box<2> box;
  /// Points, sorted; of lines the ends that are their boundary (those of an odd number of lines).
  std::vector<Vertex> points;
  Edges edges;
  std::vector<Vertex> samples;  ///< a vertex of each line or polygon

  Location locate(const Vertex& vertex, Work& work) const;
};

/// The parts of a geometry: one, but of a collection those of its parts; none if it is empty.
std::vector<SimplePart> simple_parts_of(const Geometry& geometry);

}  // namespace silurus::geometry
