// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cmath>
#include <limits>

#include "rtree/geometry.h"
#include "rtree/sphere.h"

// How searches for neighbours compare squares of distances, which stand for the distances.

namespace silurus::rtree {

/// No number greater than this has a square root that rounds to that of `square` or less.
inline double greatest_equal(double square) {
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  return square * (1 + 8 * kEpsilon) + 8 * std::numeric_limits<double>::denorm_min();
}

/// Orders answers by distance and id, while `distance` is still squared: best first, or a heap with
/// the worst on top. Distances are equal if their roots are, which is looked at only when it's
/// close.
struct Better {
  bool operator()(const Neighbor& a, const Neighbor& b) const {
    if (a.distance == b.distance) return a.id < b.id;
    if (a.distance > greatest_equal(b.distance)) return false;
    if (b.distance > greatest_equal(a.distance)) return true;
    const double left = std::sqrt(a.distance);
    const double right = std::sqrt(b.distance);
    return left != right ? left < right : a.id < b.id;
  }
};

/// The same, where `distance` is the key of a distance on the sphere.
struct BetterArc {
  bool operator()(const Neighbor& a, const Neighbor& b) const {
    if (a.distance == b.distance) return a.id < b.id;
    if (a.distance > greatest_equal_arc(b.distance)) return false;
    if (b.distance > greatest_equal_arc(a.distance)) return true;
    const double left = metres_of(a.distance);
    const double right = metres_of(b.distance);
    return left != right ? left < right : a.id < b.id;
  }
};

}  // namespace silurus::rtree
