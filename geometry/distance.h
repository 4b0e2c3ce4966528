// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "geometry/geometry.h"

namespace silurus::geometry {

/// The distance from a point to the nearest point of a geometry, in the unit of the coordinates: 0
/// on it and in its polygons. Planar, in x and y. Nothing for an empty geometry.
std::optional<double> distance(const rtree::Point<2>& point, const Geometry& geometry);

/// The same in metres, of degrees (longitude first) on a sphere of rtree::kEarthRadius:
///
/// * A segment is the shorter arc of a great circle between its ends, which may lead over the
///   antimeridian or a pole. Between ends that are antipodes, it goes by the middle of their
///   degrees.
/// * A point is in a polygon, at 0 metres, if it is so in the plane of degrees; its longitude may
/// be
///   whole turns off, so that polygons that go on beyond 180 degrees have what is in them.
///
/// The two differ between the straight segment in degrees and the arc: a point there is told its
/// distance to the arc if it lies outside of the polygon in degrees, and 0 if inside. Right to some
/// nanometres and 15 digits. Latitudes beyond -90 to 90 have no meaning, and some distance.
std::optional<double> metres(const rtree::Point<2>& point, const Geometry& geometry);

}  // namespace silurus::geometry
