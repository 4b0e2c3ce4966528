// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "common/result.h"
#include "common/units.h"
#include "silurus/types.h"

namespace silurus::rtree {

using silurus::Box;
using silurus::Entry;
using silurus::NearestQuery;
using silurus::NearestResult;
using silurus::Neighbor;
using silurus::Point;
using silurus::Predicate;
using silurus::RangeQuery;
using silurus::RangeResult;
using silurus::ResultShape;

/// Refuses NaN, infinite and inverted boxes with an error that names the field ("box.min[1] is
/// nan").
template <int D>
Status check_box(const Box<D>& box, std::string_view name = "box") {
  for (int d = 0; d < D; ++d) {
    const auto field = [&](const char* side) {
      return std::string(name) + "." + side + "[" + std::to_string(d) + "]";
    };
    if (!std::isfinite(box.min[d]) || !std::isfinite(box.max[d])) {
      const bool is_min = !std::isfinite(box.min[d]);
      return fail(ErrorCode::kInvalidArgument, field(is_min ? "min" : "max") + " is " +
                                                   format_number(is_min ? box.min[d] : box.max[d]) +
                                                   ": coordinates must be finite");
    }
    if (box.min[d] > box.max[d]) {
      return fail(ErrorCode::kInvalidArgument, field("min") + " = " + format_number(box.min[d]) +
                                                   " is above " + field("max") + " = " +
                                                   format_number(box.max[d]));
    }
  }
  return {};
}

/// Refuses NaN and infinite points.
template <int D>
Status check_point(const Point<D>& point, std::string_view name = "point") {
  for (int d = 0; d < D; ++d) {
    if (!std::isfinite(point.at[d])) {
      return fail(ErrorCode::kInvalidArgument, std::string(name) + "[" + std::to_string(d) +
                                                   "] is " + format_number(point.at[d]) +
                                                   ": coordinates must be finite");
    }
  }
  return {};
}

template <int D>
bool intersects(const Box<D>& a, const Box<D>& b) {
  for (int d = 0; d < D; ++d)
    if (a.min[d] > b.max[d] || b.min[d] > a.max[d]) return false;
  return true;
}

/// Whether `outer` contains `inner`, edges included.
template <int D>
bool contains(const Box<D>& outer, const Box<D>& inner) {
  for (int d = 0; d < D; ++d)
    if (inner.min[d] < outer.min[d] || inner.max[d] > outer.max[d]) return false;
  return true;
}

/// Whether an entry of that box belongs to the answer of the query.
template <int D>
bool matches(const RangeQuery<D>& query, const Box<D>& box) {
  switch (query.predicate) {
    case Predicate::kIntersects:
      return intersects(box, query.window);
    case Predicate::kWithin:
      return contains(query.window, box);
    case Predicate::kContains:
      return contains(box, query.window);
  }
  return false;
}

/// How far a point lies from a box in dimension d: 0 within its edges. Infinite if double cannot
/// hold it, in which case `Number` is to be long double.
template <typename Number, int D>
Number gap(const Point<D>& point, const Box<D>& box, int d) {
  const Number below = Number(box.min[d]) - Number(point.at[d]);
  const Number above = Number(point.at[d]) - Number(box.max[d]);
  return below > 0 ? below : (above > 0 ? above : 0);
}

/// Square of the distance from a point to a box: the sum over dimensions, in their order, of
/// squared gaps. In double every traversal computes exactly this, so that distances compare equal.
template <int D, typename Number = double>
Number squared_distance(const Point<D>& point, const Box<D>& box) {
  Number sum = 0;
  for (int d = 0; d < D; ++d) {
    const Number one = gap<Number>(point, box, d);
    sum += one * one;
  }
  return sum;
}

/// A square in double below the least of these may have lost digits, one above the greatest may
/// have overflowed.
inline constexpr double kLeastSquare = 0x1p-960;
inline constexpr double kGreatestSquare = 0x1p1000;

/// The distance from a point to a box that answers tell: the root of squared_distance, and where
/// that leaves the range above, of the square in long double (whose exponent has 15 bits on
/// x86-64). A distance beyond the greatest double is told as that. Never less to a box than to one
/// that contains it.
template <int D>
double distance(const Point<D>& point, const Box<D>& box) {
  const double square = squared_distance(point, box);
  if (square >= kLeastSquare && square <= kGreatestSquare) return std::sqrt(square);
  const long double wide = std::sqrt(squared_distance<D, long double>(point, box));
  // the two ways of rounding must not disagree on which of two boxes is nearer
  const long double least = square < kLeastSquare ? 0 : 0x1p500L;
  const long double greatest =
      square < kLeastSquare ? 0x1p-480L : std::numeric_limits<double>::max();
  return static_cast<double>(std::clamp(wide, least, greatest));
}

}  // namespace silurus::rtree
