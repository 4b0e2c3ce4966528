// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <limits>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/units.h"
#include "rtree/geometry.h"

// Boxes of degrees: longitude first, then latitude.
//
// A box whose min is above its max in longitude crosses the antimeridian. A tree holds such a box
// unrolled, with its max beyond 180; a box of all longitudes reaches from -180 to 540 there, so
// that it covers every arc as it is written.

namespace silurus::rtree {

/// Refuses a number that is not between -most and most.
inline Status check_degrees(double value, double most, const std::string& name,
                            std::string_view what) {
  if (value >= -most && value <= most) return {};
  const std::string limit = format_number(most);
  return fail(ErrorCode::kInvalidArgument, name + " is " + format_number(value) + ": a " +
                                               std::string(what) + " is -" + limit + " to " +
                                               limit + " degrees (longitude comes first)");
}

/// Refuses longitudes beyond -180 to 180 and latitudes beyond -90 to 90, with an error that names
/// the field.
inline Status check_lonlat(const Point<2>& point, std::string_view name = "point") {
  const std::string of(name);
  if (auto ok = check_degrees(point.at[0], 180, of + "[0]", "longitude"); !ok) return ok;
  return check_degrees(point.at[1], 90, of + "[1]", "latitude");
}
/// The same, and boxes that are inverted in latitude.
inline Status check_lonlat(const Box<2>& box, std::string_view name = "box") {
  const std::string of(name);
  if (auto ok = check_lonlat(Point<2>{box.min}, of + ".min"); !ok) return ok;
  if (auto ok = check_lonlat(Point<2>{box.max}, of + ".max"); !ok) return ok;
  if (box.min[1] <= box.max[1]) return {};
  return fail(ErrorCode::kInvalidArgument, of + ".min[1] = " + format_number(box.min[1]) +
                                               " is above " + of +
                                               ".max[1] = " + format_number(box.max[1]));
}

/// check_lonlat() of degrees; else check_box() and check_point().
template <int D>
Status check_coordinates(const Box<D>& box, bool lonlat, std::string_view name = "box") {
  if constexpr (D == 2) {
    if (lonlat) return check_lonlat(box, name);
  }
  return check_box(box, name);
}
template <int D>
Status check_coordinates(const Point<D>& point, bool lonlat, std::string_view name = "point") {
  if constexpr (D == 2) {
    if (lonlat) return check_lonlat(point, name);
  }
  return check_point(point, name);
}

/// A box of degrees as a tree holds it. What check_lonlat() refuses becomes a box that check_box()
/// refuses.
inline Box<2> unrolled(const Box<2>& box) {
  const auto is_in = [](double value, double most) { return value >= -most && value <= most; };
  Box<2> out = box;
  if (!is_in(box.min[0], 180) || !is_in(box.max[0], 180) || !is_in(box.min[1], 90) ||
      !is_in(box.max[1], 90)) {
    out.min[0] = std::numeric_limits<double>::quiet_NaN();
  } else if (box.min[0] == -180 && box.max[0] == 180) {
    out.max[0] = 540;
  } else if (box.min[0] > box.max[0]) {
    out.max[0] += 360;
  }
  return out;
}

/// The box of degrees that a tree holds so. unrolled() of it is that again.
inline Box<2> rolled(const Box<2>& box) {
  Box<2> out = box;
  if (box.max[0] > 180) out.max[0] -= 360;  // 540 becomes 180
  return out;
}

/// unrolled() of degrees; else the box.
template <int D>
Box<D> stored_box(const Box<D>& box, bool lonlat) {
  if constexpr (D == 2) {
    if (lonlat) return unrolled(box);
  }
  return box;
}
/// rolled() of degrees; else the box.
template <int D>
Box<D> told_box(const Box<D>& box, bool lonlat) {
  if constexpr (D == 2) {
    if (lonlat) return rolled(box);
  }
  return box;
}

}  // namespace silurus::rtree
