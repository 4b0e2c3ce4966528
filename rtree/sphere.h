// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <limits>

#include "rtree/geometry.h"
#include "rtree/lonlat.h"

// Searches of degrees (lonlat.h) on a sphere. Distances are compared by keys, which grow with them
// and are exact to some units of the last place near 0 and near the antipodes; what is told is
// metres.

namespace silurus::rtree {

/// Mean radius of the Earth (R1 of WGS 84), in metres.
inline constexpr double kEarthRadius = 6'371'008.8;

/// The windows that together find, in a tree of unrolled boxes, what one of degrees asks for. An
/// entry may match several of them.
struct Windows {
  static constexpr std::uint32_t kMost = 3;
  Box<2> at[kMost];
  std::uint32_t count;
};
Windows windows_of(const Box<2>& window);

/// A point of degrees, and what searches need of it.
struct SpherePoint {
  double longitude = 0;
  double latitude = 0;
  double sine = 0;    ///< sine of the latitude
  double cosine = 1;  ///< exactly 0 at the poles

  static SpherePoint of(const Point<2>& point);
};

/// Stands for the distance from a point to an unrolled box (0 inside): the haversine, which is the
/// square of half the chord, and beyond a quarter of the globe a quarter of the inverse of what it
/// lacks to 1, which goes on from there. Every traversal computes exactly this. The nearest place
/// of the box is found after Schubert, Zimek and Kriegel, "Geodetic distance queries on R-trees for
/// indexing geographic data" (SSTD 2013).
double arc_key(const SpherePoint& point, const Box<2>& box);
/// The distance in metres that a key stands for.
double metres_of(double key);
/// No entry within a distance in metres has a greater key.
double greatest_key_within(double metres);

/// What one key may differ from another by though the distances are equal, or though the box of one
/// contains that of the other: more than the arithmetic is wrong by.
inline constexpr double kArcSlack = 0x1p-40;
inline constexpr double kLeastArcSlack = 0x1p-100;
/// No greater key stands for a distance that is told as that of `key` or less.
constexpr double greatest_equal_arc(double key) { return key * (1 + kArcSlack) + kLeastArcSlack; }
/// No entry in a box of that key has a lesser one.
constexpr double least_arc_within(double key) { return key * (1 - kArcSlack) - kLeastArcSlack; }

}  // namespace silurus::rtree
