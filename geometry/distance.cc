// SPDX-License-Identifier: Apache-2.0

#include "geometry/distance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "geometry/simple_part.h"
#include "rtree/sphere.h"

namespace silurus::geometry {
namespace {

double distance_to_segment(const Vertex& at, const Edge& edge) {
  const double wide = edge.to.x - edge.from.x;
  const double high = edge.to.y - edge.from.y;
  const double length = std::hypot(wide, high);
  // unit vectors first: squares of coordinates may not be doubles
  const double along_x = wide / length;
  const double along_y = high / length;
  const double from_x = at.x - edge.from.x;
  const double from_y = at.y - edge.from.y;
  const double along = from_x * along_x + from_y * along_y;
  if (along <= 0) return std::hypot(from_x, from_y);
  if (along >= length) return std::hypot(at.x - edge.to.x, at.y - edge.to.y);
  return std::abs(from_y * along_x - from_x * along_y);
}

/// A direction from the middle of the sphere.
struct Direction {
  double x = 0;
  double y = 0;
  double z = 0;

  static Direction of(const Vertex& degrees) {
    constexpr double kRadians = std::numbers::pi / 180;
    const double longitude = degrees.x * kRadians;
    const double latitude = degrees.y * kRadians;
    // exactly 0 at the poles, where longitudes mean nothing
    const double cosine = std::abs(degrees.y) == 90 ? 0 : std::cos(latitude);
    return {cosine * std::cos(longitude), cosine * std::sin(longitude), std::sin(latitude)};
  }
  friend Direction operator-(const Direction& a, const Direction& b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
  }
  friend Direction operator+(const Direction& a, const Direction& b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
  }
  friend double dot(const Direction& a, const Direction& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
  }
  friend Direction cross(const Direction& a, const Direction& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
  }
  double length() const { return std::hypot(x, y, z); }
};

/// In radians; precise for near ones and for antipodes.
double angle_of(const Direction& a, const Direction& b) {
  return 2 * std::atan2((a - b).length(), (a + b).length());
}

double angle_to_arc(const Direction& at, const Direction& from, const Direction& to) {
  const double to_ends = std::min(angle_of(at, from), angle_of(at, to));
  // twice the cross product of the ends, without what cancels in that of near ones
  const Direction axis = cross(from - to, from + to);
  if (axis.length() == 0) return to_ends;
  // whether the nearest point of the great circle lies between the ends
  const bool is_between =
      dot(cross(axis, from), at - from) > 0 && dot(cross(axis, to), at - to) < 0;
  if (!is_between) return to_ends;
  const Direction& near = angle_of(at, from) < angle_of(at, to) ? from : to;
  return std::min(to_ends, std::atan2(std::abs(dot(at - near, axis)), cross(at, axis).length()));
}

double angle_to_segment(const Direction& at, const Edge& edge) {
  const Direction from = Direction::of(edge.from);
  const Direction to = Direction::of(edge.to);
  constexpr double kAntipodes = 1e-9;  // sum of unit vectors: the arc is then decided by rounding
  if ((from + to).length() > kAntipodes) return angle_to_arc(at, from, to);
  const Direction middle =
      Direction::of(middle_of({.from = edge.from, .to = edge.to, .is_shared = false}));
  return std::min(angle_to_arc(at, from, middle), angle_to_arc(at, middle, to));
}

bool is_in_polygons(const SimplePart& part, const Vertex& vertex) {
  // a work that is never spent by one look at each segment
  Work work;
  return part.dimension == 2 && part.locate(vertex, work) != Location::kOutside;
}

/// Whether the vertex, turned by whole turns as far as the part reaches, lies in it.
bool is_in_on_sphere(const SimplePart& part, const Vertex& vertex) {
  if (part.dimension < 2) return false;
  constexpr double kTurn = 360;
  constexpr double kMostTurns = 3;
  const double first = std::ceil((part.box.min[0] - vertex.x) / kTurn);
  const double last = std::floor((part.box.max[0] - vertex.x) / kTurn);
  for (double turns = std::max(first, -kMostTurns); turns <= std::min(last, kMostTurns); ++turns) {
    if (is_in_polygons(part, {vertex.x + turns * kTurn, vertex.y})) return true;
  }
  return false;
}

/// The least of what is told of each point and each segment, or 0 within polygons; nothing for an
/// empty geometry.
template <typename IsIn, typename ToVertex, typename ToEdge>
std::optional<double> least_of(const Geometry& geometry, IsIn&& is_in, ToVertex&& to_vertex,
                               ToEdge&& to_edge) {
  std::optional<double> least;
  const auto take = [&](double one) { least = std::min(least.value_or(one), one); };
  for (const SimplePart& part : simple_parts_of(geometry)) {
    if (is_in(part)) return 0;
    for (const Edge& edge : part.edges.all()) take(to_edge(edge));
    if (part.dimension > 0) continue;
    for (const Vertex& vertex : part.points) take(to_vertex(vertex));
  }
  return least;
}

}  // namespace

std::optional<double> distance(const rtree::Point<2>& point, const Geometry& geometry) {
  const Vertex at{point.at[0], point.at[1]};
  return least_of(
      geometry, [&](const SimplePart& part) { return is_in_polygons(part, at); },
      [&](const Vertex& vertex) { return std::hypot(vertex.x - at.x, vertex.y - at.y); },
      [&](const Edge& edge) { return distance_to_segment(at, edge); });
}

std::optional<double> metres(const rtree::Point<2>& point, const Geometry& geometry) {
  const Vertex degrees{point.at[0], point.at[1]};
  const Direction at = Direction::of(degrees);
  const auto angle = least_of(
      geometry, [&](const SimplePart& part) { return is_in_on_sphere(part, degrees); },
      [&](const Vertex& vertex) { return angle_of(at, Direction::of(vertex)); },
      [&](const Edge& edge) { return angle_to_segment(at, edge); });
  if (!angle) return std::nullopt;
  return *angle * rtree::kEarthRadius;
}

}  // namespace silurus::geometry
