// SPDX-License-Identifier: Apache-2.0

#include "geometry/simple_part.h"

#include <algorithm>
#include <limits>

namespace silurus::geometry {
namespace {

void add_to_part(SimplePart& part, const Shape& shape, std::uint32_t& lines) {
  for (const Shape& inner : shape.parts) add_to_part(part, inner, lines);
  for (const Line& line : shape.lines) {
    for (const Coordinate& at : line) {
      part.box.min = {std::min(part.box.min[0], at.x), std::min(part.box.min[1], at.y)};
      part.box.max = {std::max(part.box.max[0], at.x), std::max(part.box.max[1], at.y)};
    }
    part.edges.add(line, lines++);
  }
  if (shape.lines.empty()) return;
  const Line& first = shape.lines.front();
  if (shape.type == Type::kPoint) {
    part.points.push_back(vertex_of(first.front()));
    return;
  }
  part.samples.push_back(vertex_of(first.front()));
  if (shape.type != Type::kLineString) return;
  part.points.push_back(vertex_of(first.front()));
  part.points.push_back(vertex_of(first.back()));
}

/// Leaves those that are there an odd number of times, once.
void keep_odd(std::vector<Vertex>& sorted) {
  std::vector<Vertex> kept;
  for (auto at = sorted.begin(); at != sorted.end();) {
    const auto next = std::upper_bound(at, sorted.end(), *at);
    if ((next - at) % 2 == 1) kept.push_back(*at);
    at = next;
  }
  sorted = std::move(kept);
}

void append_simple_parts(std::vector<SimplePart>& parts, const Shape& shape) {
  if (shape.type == Type::kCollection) {
    for (const Shape& part : shape.parts) append_simple_parts(parts, part);
    return;
  }
  const Type type = type_of_parts(shape.type).value_or(shape.type);
  SimplePart part;
  part.dimension = type == Type::kPoint ? 0 : type == Type::kLineString ? 1 : 2;
  part.box.min.fill(std::numeric_limits<double>::infinity());
  part.box.max.fill(-std::numeric_limits<double>::infinity());
  std::uint32_t lines = 0;
  add_to_part(part, shape, lines);
  if (lines == 0) return;
  part.edges.build();
  std::ranges::sort(part.points);
  if (part.dimension == 1) keep_odd(part.points);
  parts.push_back(std::move(part));
}

}  // namespace

Location SimplePart::locate(const Vertex& vertex, Work& work) const {
  const bool is_listed = std::ranges::binary_search(points, vertex);
  if (dimension == 0) return is_listed ? Location::kInside : Location::kOutside;
  if (dimension == 1) {
    if (is_listed) return Location::kBoundary;
    const rtree::Box<2> here{{vertex.x, vertex.y}, {vertex.x, vertex.y}};
    bool is_there = false;
    edges.visit(here, work,
                [&](std::size_t i) { return !(is_there = is_on(vertex, edges.at(i))); });
    return is_there ? Location::kInside : Location::kOutside;
  }
  std::vector<std::uint32_t> containing;
  if (!find_containing(edges, vertex, kNoLine, work, containing)) return Location::kBoundary;
  // a shell, or a shell and a hole of it: polygons of one geometry do not overlap
  return containing.size() % 2 == 1 ? Location::kInside : Location::kOutside;
}

std::vector<SimplePart> simple_parts_of(const Geometry& geometry) {
  std::vector<SimplePart> parts;
  append_simple_parts(parts, geometry.shape());
  return parts;
}

}  // namespace silurus::geometry
