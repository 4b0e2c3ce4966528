// SPDX-License-Identifier: Apache-2.0

#include "geometry/geometry.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "geometry/check.h"

namespace silurus::geometry {
namespace {

template <typename F>
void for_each_coordinate(const Shape& shape, F&& f) {
  for (const Line& line : shape.lines) std::ranges::for_each(line, f);
  for (const Shape& part : shape.parts) for_each_coordinate(part, f);
}

}  // namespace

std::string_view to_string(Type type) {
  switch (type) {
    case Type::kPoint:
      return "Point";
    case Type::kLineString:
      return "LineString";
    case Type::kPolygon:
      return "Polygon";
    case Type::kMultiPoint:
      return "MultiPoint";
    case Type::kMultiLineString:
      return "MultiLineString";
    case Type::kMultiPolygon:
      return "MultiPolygon";
    case Type::kCollection:
      return "GeometryCollection";
  }
  return "?";
}

std::optional<Type> type_of_parts(Type type) {
  switch (type) {
    case Type::kMultiPoint:
      return Type::kPoint;
    case Type::kMultiLineString:
      return Type::kLineString;
    case Type::kMultiPolygon:
      return Type::kPolygon;
    default:
      return std::nullopt;
  }
}

bool has_parts(Type type) { return type >= Type::kMultiPoint; }

Result<Geometry> Geometry::create(Shape shape, Checks checks) {
  if (auto ok = check_form(shape); !ok) return fail(ok.error());
  if (const std::size_t bytes = wkb_bytes(shape); bytes > kMaxBytes) {
    return fail(ErrorCode::kTooLarge, "the geometry has " + std::to_string(bytes) +
                                          " bytes in well-known binary: at most " +
                                          std::to_string(kMaxBytes) + " are taken");
  }
  if (checks == Checks::kAll) {
    if (auto ok = check_rings(shape); !ok) return fail(ok.error());
  }
  orient_rings(shape);
  return Geometry(std::move(shape));
}

bool Geometry::is_empty() const {
  bool is_empty = true;
  for_each_coordinate(shape_, [&](const Coordinate&) { is_empty = false; });
  return is_empty;
}

template <int D>
std::optional<rtree::Box<D>> box_of(const Geometry& geometry) {
  static_assert(D == 2 || D == 3);
  if (D == 3 && !geometry.has_z()) return std::nullopt;
  rtree::Box<D> box;
  box.min.fill(std::numeric_limits<double>::infinity());
  box.max.fill(-std::numeric_limits<double>::infinity());
  for_each_coordinate(geometry.shape(), [&](const Coordinate& at) {
    const std::array ordinates{at.x, at.y, at.z};
    for (std::size_t d = 0; d < D; ++d) {
      box.min[d] = std::min(box.min[d], ordinates[d]);
      box.max[d] = std::max(box.max[d], ordinates[d]);
    }
  });
  if (box.min[0] > box.max[0]) return std::nullopt;
  return box;
}
template std::optional<rtree::Box<2>> box_of<2>(const Geometry&);
template std::optional<rtree::Box<3>> box_of<3>(const Geometry&);

template <int D>
bool is_held_by(const Geometry& geometry, const rtree::Box<D>& box) {
  const std::size_t dimensions = D == 3 && geometry.has_z() ? 3 : 2;
  const std::size_t first = box.min[0] > box.max[0] ? 1 : 0;
  bool holds = true;
  for_each_coordinate(geometry.shape(), [&](const Coordinate& at) {
    const std::array ordinates{at.x, at.y, at.z};
    for (std::size_t d = first; d < dimensions; ++d) {
      holds = holds && box.min[d] <= ordinates[d] && ordinates[d] <= box.max[d];
    }
  });
  return holds;
}
template bool is_held_by<2>(const Geometry&, const rtree::Box<2>&);
template bool is_held_by<3>(const Geometry&, const rtree::Box<3>&);

template <int D>
Geometry geometry_of(const rtree::Box<D>& box) {
  const auto at = [&](bool right, bool top) {
    return Coordinate{(right ? box.max : box.min)[0], (top ? box.max : box.min)[1]};
  };
  const bool has_width = box.min[0] != box.max[0];
  const bool has_height = box.min[1] != box.max[1];
  Shape shape;
  if (has_width && has_height) {
    shape = {.type = Type::kPolygon,
             .lines = {{at(false, false), at(true, false), at(true, true), at(false, true),
                        at(false, false)}}};
  } else if (has_width || has_height) {
    shape = {.type = Type::kLineString, .lines = {{at(false, false), at(true, true)}}};
  } else {
    shape = {.type = Type::kPoint, .lines = {{at(false, false)}}};
  }
  return std::move(*Geometry::create(std::move(shape), Checks::kForm));
}
template Geometry geometry_of<2>(const rtree::Box<2>&);
template Geometry geometry_of<3>(const rtree::Box<3>&);

std::size_t wkb_bytes(const Shape& shape) {
  constexpr std::size_t kHead = 5;
  constexpr std::size_t kCount = 4;
  const std::size_t vertex = (shape.has_z ? 3 : 2) * sizeof(double);
  if (shape.type == Type::kPoint) return kHead + vertex;
  std::size_t bytes = kHead + kCount;
  for (const Line& line : shape.lines) {
    bytes += line.size() * vertex + (shape.type == Type::kPolygon ? kCount : 0);
  }
  for (const Shape& part : shape.parts) bytes += wkb_bytes(part);
  return bytes;
}

}  // namespace silurus::geometry
