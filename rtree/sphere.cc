// SPDX-License-Identifier: Apache-2.0

#include "rtree/sphere.h"

#include <hwy/highway.h>

#include <cmath>
#include <numbers>

#include "rtree/sphere-inl.h"

namespace silurus::rtree {
namespace {

using One = hwy::HWY_NAMESPACE::CappedTag<double, 1>;

double sine_of(double degrees) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::GetLane(HWY_NAMESPACE::sine_of_degrees(One(), hn::Set(One(), degrees)));
}

}  // namespace

Windows windows_of(const Box<2>& window) {
  const Box<2> first = unrolled(window);
  Windows windows{{first, first, first}, 1};
  if (first.max[0] == 540) return windows;
  // Entries that begin before the antimeridian, from its other side.
  Box<2>& ahead = windows.at[windows.count++];
  for (double* edge : {&ahead.min[0], &ahead.max[0]}) *edge += 360;
  if (first.max[0] < 180) return windows;
  // What of the window lies beyond the antimeridian, as entries there are written. Its far edge is
  // exactly that which was given.
  Box<2>& behind = windows.at[windows.count++];
  behind.min[0] -= 360;
  behind.max[0] = window.min[0] > window.max[0] ? window.max[0] : -180;
  return windows;
}

SpherePoint SpherePoint::of(const Point<2>& point) {
  return {.longitude = point.at[0],
          .latitude = point.at[1],
          .sine = sine_of(point.at[1]),
          .cosine = sine_of(90 - std::abs(point.at[1]))};
}

double arc_key(const SpherePoint& point, const Box<2>& box) {
  namespace hn = hwy::HWY_NAMESPACE;
  const One one;
  const HWY_NAMESPACE::Arcs<One> of(one, point, hn::Set(one, box.min[0]), hn::Set(one, box.max[0]));
  return hn::GetLane(of.keys(hn::Set(one, box.min[1]), hn::Set(one, box.max[1])));
}

double metres_of(double key) {
  if (key <= 0.5) return 2 * kEarthRadius * std::asin(std::sqrt(key));
  // The antipodes themselves have the key of a distance that double cannot tell from theirs.
  return kEarthRadius * (std::numbers::pi - 2 * std::asin(std::sqrt(0.25 / key)));
}

double greatest_key_within(double metres) {
  const double half = metres / kEarthRadius / 2;
  if (half >= std::numbers::pi / 2) return std::numeric_limits<double>::infinity();
  const double sine = std::sin(half);
  const double cosine = std::cos(half);
  return greatest_equal_arc(half <= std::numbers::pi / 4 ? sine * sine : 0.25 / (cosine * cosine));
}

}  // namespace silurus::rtree
