// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "geometry/geometry.h"

namespace silurus::geometry {

/// A geometry that many others are compared with: prepared once, with boxes about runs of its
/// segments, so that of a large one only what lies near the other is looked at. Immutable, cheap to
/// copy; any thread.
///
/// Planar, in x and y. Predicates are those of OGC's simple features (DE-9IM), and tell what GEOS
/// and Shapely tell. Where points and segments lie to each other is told without rounding; only on
/// which side of a boundary a piece of a segment lies between two places where it meets the
/// boundary is told by its middle, which is rounded. With an empty geometry, all are false.
///
/// Errors: kTooLarge where more than kMaxComparisons segments would have to be looked at, which
/// takes geometries made for that.
class Prepared {
 public:
  explicit Prepared(const Geometry& query);

  /// Whether the two share a point; touching is enough. Collections by their parts.
  Result<bool> intersects(const Geometry& other) const;

  /// Whether `other` lies within the query: no point of it outside, and the insides of both share a
  /// point (what lies only in the boundary of a polygon is not within it). Of a collection, each
  /// part must lie in the query and one's inside must meet its inside. A query that is a collection
  /// is kUnsupported, unless boxes tell that `other` is not within it: several of its parts might
  /// cover `other` together.
  Result<bool> within(const Geometry& other) const;

  /// Whether `other` contains the query: within() with the two exchanged.
  Result<bool> contains(const Geometry& other) const;

 private:
  struct Query;
  std::shared_ptr<const Query> query_;
};

}  // namespace silurus::geometry
