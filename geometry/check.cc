// SPDX-License-Identifier: Apache-2.0

#include "geometry/check.h"

#include <algorithm>
#include <cmath>

#include "common/units.h"
#include "geometry/exact.h"

namespace silurus::geometry {
namespace {

constexpr std::size_t kLeastOfRing = 4;

Status check_coordinate(Coordinate& at, bool has_z, std::size_t index, const Place& place) {
  const auto check = [&](double& number, double most, std::string_view name) -> Status {
    if (std::isfinite(number) && std::abs(number) <= most) {
      number += 0.0;  // -0 becomes 0
      return {};
    }
    const Place vertex{"coordinate", index, &place};
    const Place& here = place.noun == "point" ? place : vertex;
    if (std::isnan(number)) return fail_at(here, "is not a number: its " + std::string(name));
    return fail_at(here, "has " + std::string(name) + " = " + format_number(number) +
                             (std::isinf(number) ? ": coordinates must be finite"
                                                 : ": coordinates must be within -1e150 to 1e150"));
  };
  if (auto ok = check(at.x, kMaxCoordinate, "x"); !ok) return ok;
  if (auto ok = check(at.y, kMaxCoordinate, "y"); !ok) return ok;
  if (has_z) return check(at.z, std::numeric_limits<double>::max(), "z");
  at.z = 0;
  return {};
}

Status check_line(Line& line, bool has_z, const Place& place) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (auto ok = check_coordinate(line[i], has_z, i, place); !ok) return ok;
  }
  return {};
}

bool is_one_place(const Line& line) {
  return std::ranges::all_of(
      line, [&](const Coordinate& at) { return vertex_of(at) == vertex_of(line.front()); });
}

Status check_ring(Line& ring, bool has_z, const Place& place) {
  if (auto ok = check_line(ring, has_z, place); !ok) return ok;
  if (ring.size() < kLeastOfRing) {
    return fail_at(place,
                   "has " + std::to_string(ring.size()) +
                       " coordinates: a ring has at least 4, the last of which is the first");
  }
  if (ring.front() != ring.back()) {
    return fail_at(place, "is not closed: its last coordinate must be its first");
  }
  if (is_one_place(ring)) return fail_at(place, "has no extent: all its coordinates are equal");
  return {};
}

Status check_line_string(Shape& shape, const Place& place) {
  if (shape.lines.empty()) return {};
  if (shape.lines.size() > 1) return fail_at(place, "is a line string of several lines");
  Line& line = shape.lines.front();
  if (line.empty()) {
    shape.lines.clear();
    return {};
  }
  if (auto ok = check_line(line, shape.has_z, place); !ok) return ok;
  if (line.size() < 2 || is_one_place(line)) {
    return fail_at(place, "has fewer than 2 different coordinates: a line needs them");
  }
  return {};
}

Status check_point(Shape& shape, const Place& place) {
  if (shape.lines.empty()) return {};
  if (shape.lines.size() > 1 || shape.lines.front().size() != 1) {
    return fail_at(place, "is a point of several coordinates");
  }
  return check_line(shape.lines.front(), shape.has_z, place);
}

Status check_parts(Shape& shape, const Place& place, int depth) {
  const auto type = type_of_parts(shape.type);
  for (std::size_t i = 0; i < shape.parts.size(); ++i) {
    Shape& part = shape.parts[i];
    const Place here{noun_of_parts(shape.type), i, &place};
    if (type && part.type != *type) {
      return fail_at(here, "is a " + std::string(to_string(part.type)) + ", in a " +
                               std::string(to_string(shape.type)));
    }
    if (part.has_z != shape.has_z) {
      return fail_at(here,
                     part.has_z ? "has z, and the whole has none" : "has no z, and the whole has");
    }
    if (auto ok = check_form(part, here, depth + 1); !ok) return ok;
  }
  return {};
}

/// The vertices before and after the least one of a ring that differ from it, and that one.
int turn_at_least(const Line& ring) {
  const std::size_t count = ring.size() - 1;
  std::size_t least = 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (vertex_of(ring[i]) < vertex_of(ring[least])) least = i;
  }
  std::size_t before = least;
  std::size_t after = least;
  do {
    before = (before + count - 1) % count;
  } while (before != least && vertex_of(ring[before]) == vertex_of(ring[least]));
  do {
    after = (after + 1) % count;
  } while (after != least && vertex_of(ring[after]) == vertex_of(ring[least]));
  return side_of(vertex_of(ring[before]), vertex_of(ring[least]), vertex_of(ring[after]));
}

}  // namespace

std::string Place::text() const {
  if (noun.empty()) return "the geometry";
  std::string text = std::string(noun) + " " + std::to_string(index);
  if (outer != nullptr && !outer->noun.empty()) text += " of " + outer->text();
  return text;
}

std::string_view noun_of_parts(Type type) {
  switch (type) {
    case Type::kMultiPoint:
      return "point";
    case Type::kMultiLineString:
      return "line";
    case Type::kMultiPolygon:
      return "polygon";
    default:
      return "part";
  }
}

tl::unexpected<Error> fail_at(const Place& place, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument, place.text() + " " + std::string(what));
}

Status check_form(Shape& shape, const Place& place, int depth) {
  if (depth > kMaxDepth) {
    return fail(ErrorCode::kTooLarge, "the geometry has collections in more than " +
                                          std::to_string(kMaxDepth - 1) + " others");
  }
  if (std::ranges::find(kAllTypes, shape.type) == std::end(kAllTypes)) {
    return fail_at(place, "is of no type");
  }
  if (has_parts(shape.type) ? !shape.lines.empty() : !shape.parts.empty()) {
    return fail_at(place, "has what its type has not");
  }
  switch (shape.type) {
    case Type::kPoint:
      return check_point(shape, place);
    case Type::kLineString:
      return check_line_string(shape, place);
    case Type::kPolygon:
      for (std::size_t i = 0; i < shape.lines.size(); ++i) {
        const Place ring{"ring", i, &place};
        if (auto ok = check_ring(shape.lines[i], shape.has_z, ring); !ok) return ok;
      }
      return {};
    default:
      return check_parts(shape, place, depth);
  }
}

void orient_rings(Shape& shape) {
  for (Shape& part : shape.parts) orient_rings(part);
  if (shape.type != Type::kPolygon) return;
  for (std::size_t i = 0; i < shape.lines.size(); ++i) {
    const int wanted = i == 0 ? 1 : -1;
    if (turn_at_least(shape.lines[i]) == -wanted) std::ranges::reverse(shape.lines[i]);
  }
}

}  // namespace silurus::geometry
