// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "rtree/geometry.h"

// Geometries of records: points, lines, polygons, several of them, with two coordinates or three.
// All that compares geometries is planar, in x and y and their unit; z is kept and written again.

namespace silurus::geometry {

/// Most bytes of a geometry in well-known binary, and so of its vertices.
inline constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
/// Most bytes of a geometry as text: what is written of one of kMaxBytes is never longer.
inline constexpr std::size_t kMaxText = std::size_t{8} << 20;
/// Deepest nesting: a collection of points has depth 2.
inline constexpr int kMaxDepth = 8;
/// Greatest x or y: products of two of them are finite.
inline constexpr double kMaxCoordinate = 1e150;
/// Most segments that a check or a predicate looks at before it gives up (kTooLarge): half a second
/// or so. Those of usual geometries look at a few for each vertex.
inline constexpr std::uint64_t kMaxComparisons = std::uint64_t{1} << 25;

/// The numbers of well-known binary.
enum class Type : std::uint8_t {
  kPoint = 1,
  kLineString = 2,
  kPolygon = 3,
  kMultiPoint = 4,
  kMultiLineString = 5,
  kMultiPolygon = 6,
  kCollection = 7,
};
inline constexpr Type kAllTypes[] = {Type::kPoint,      Type::kLineString,      Type::kPolygon,
                                     Type::kMultiPoint, Type::kMultiLineString, Type::kMultiPolygon,
                                     Type::kCollection};
/// "Point", "GeometryCollection", as GeoJSON has it.
std::string_view to_string(Type type);
/// What the parts of that type are of; nothing if they may be of any, or there are none.
std::optional<Type> type_of_parts(Type type);
/// Whether that type has parts: several geometries, or a collection.
bool has_parts(Type type);

struct Coordinate {
  double x = 0;
  double y = 0;
  double z = 0;  ///< 0 where there is none
  friend bool operator==(const Coordinate&, const Coordinate&) = default;
};
using Line = std::vector<Coordinate>;

/// What a geometry is made of, not checked.
struct Shape {
  Type type = Type::kPoint;
  bool has_z = false;
  /// A point: one line of one coordinate; a line string: one line; a polygon: its rings, the shell
  /// first, each with its first coordinate again as its last. None if it is empty.
  std::vector<Line> lines{};
  std::vector<Shape> parts{};  ///< where has_parts()
  friend bool operator==(const Shape&, const Shape&) = default;
};

/// What is looked at when a geometry comes in.
enum class Checks : std::uint8_t {
  kForm = 0,  ///< types, counts, numbers, closed rings: enough of bytes that were checked before
  kAll = 1,   ///< that rings do not cross, too
};

/// A geometry that was checked. Immutable value; any thread.
///
/// Its rings are oriented as RFC 7946 wants them, shells counter-clockwise and holes clockwise, and
/// no coordinate is -0. Equal geometries have the same coordinates in the same order.
class Geometry {
 public:
  /// Refuses (kInvalidArgument, or kTooLarge beyond a limit) with the place that is wrong,
  /// "coordinate 3 of ring 1 of polygon 0 is not a number"; all counts begin at 0:
  ///
  /// * numbers that are not finite, or beyond kMaxCoordinate;
  /// * lines without two different vertices, rings with fewer than 4 or that are not closed;
  /// * rings that cross or touch themselves, or run back on themselves;
  /// * holes outside their shell, in each other, or that cross or run along another ring;
  /// * polygons whose inside is in several pieces, and overlapping polygons of a MultiPolygon.
  ///
  /// What it mends: the orientation of rings. A vertex may follow an equal one.
  static Result<Geometry> create(Shape shape, Checks checks = Checks::kAll);

  Type type() const { return shape_.type; }
  bool has_z() const { return shape_.has_z; }
  const Shape& shape() const { return shape_; }
  /// Whether there is no vertex at all.
  bool is_empty() const;

  friend bool operator==(const Geometry&, const Geometry&) = default;

 private:
  explicit Geometry(Shape shape) : shape_(std::move(shape)) {}

  Shape shape_;
};

/// The least box about all vertices; nothing for an empty geometry, and for D == 3 one without z.
/// D is 2 or 3.
template <int D>
std::optional<rtree::Box<D>> box_of(const Geometry& geometry);

/// Whether the box holds all vertices, in x and y, or in three dimensions where both have them. A
/// box whose min is above its max in x goes round the globe, and is not looked at in x.
template <int D>
bool is_held_by(const Geometry& geometry, const rtree::Box<D>& box);

/// A box as a geometry, in x and y: a point or a line where it has no extent. Its min is no more
/// than its max.
template <int D>
Geometry geometry_of(const rtree::Box<D>& box);

/// Bytes in well-known binary.
std::size_t wkb_bytes(const Shape& shape);

}  // namespace silurus::geometry
