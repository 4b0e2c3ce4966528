// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <compare>

#include "geometry/geometry.h"

// Where points and segments lie to each other, without errors of rounding. Coordinates are up to
// kMaxCoordinate; products below 1e-290 may be lost, so that what is told of shapes smaller than
// 1e-145 may be wrong.

namespace silurus::geometry {

/// A vertex in the plane.
struct Vertex {
  double x = 0;
  double y = 0;
  friend auto operator<=>(const Vertex&, const Vertex&) = default;
};
inline Vertex vertex_of(const Coordinate& at) { return {at.x, at.y}; }

/// On which side of the line from a to b the vertex c lies: 1 left, -1 right, 0 on it. Exact
/// (Shewchuk, "Adaptive precision floating-point arithmetic and fast robust geometric predicates",
/// 1997).
int side_of(const Vertex& a, const Vertex& b, const Vertex& c);

/// A segment of a line or ring, with two different ends.
struct Edge {
  Vertex from;
  Vertex to;
  std::uint32_t line = 0;   ///< number of the line or ring that it belongs to
  std::uint32_t index = 0;  ///< number of the coordinate at `from`
};

inline rtree::Box<2> box_of(const Edge& edge) {
  return {{std::min(edge.from.x, edge.to.x), std::min(edge.from.y, edge.to.y)},
          {std::max(edge.from.x, edge.to.x), std::max(edge.from.y, edge.to.y)}};
}

/// Whether the vertex lies on the segment, its ends included.
bool is_on(const Vertex& vertex, const Edge& edge);
/// Whether a comes before b on the way along the edge. Both lie on it.
bool is_before(const Edge& edge, const Vertex& a, const Vertex& b);

/// What two segments have in common.
struct Contact {
  enum Kind : std::uint8_t {
    kNone,
    kTouch,    ///< one point, an end of one of them
    kCross,    ///< one point, no end of either; not computed
    kOverlap,  ///< a piece of a line
  };
  Kind kind = kNone;
  Vertex
      first{};  ///< the point of kTouch; where the piece begins on the way along the first segment
  Vertex second{};           ///< where it ends
  bool is_opposite = false;  ///< kOverlap: the segments have opposite directions
};
Contact contact_of(const Edge& a, const Edge& b);

}  // namespace silurus::geometry
