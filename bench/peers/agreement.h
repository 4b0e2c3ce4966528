// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "rtree/geometry.h"

// What other systems may answer otherwise than Silurus and still be right by their own rules. Pure
// functions.

namespace silurus::bench {

/// How a system holds coordinates, and so which entries it takes to be in a window.
enum class Rounding : std::uint8_t {
  kNone,     ///< doubles: the very answers of Silurus
  kFloat32,  ///< boxes grow outward to 32-bit floats (SQLite's R*Tree; PostGIS's &&, the window
             ///< too)
  kGeohash,  ///< only the boxes' centres, on Redis's grid of 2 x 26 bits, by distances on a sphere
};

/// Redis holds places on Earth: the unit square is put there as this many degrees each way, about
/// the point where the equator meets the prime meridian.
inline constexpr double kRedisDegrees = 10;
struct Place {
  double longitude, latitude;  ///< degrees
};
Place place_of(const rtree::Point<2>& point);
/// A window as GEOSEARCH's BYBOX wants it: its centre, its width at the centre's latitude, height.
struct RedisWindow {
  Place centre;
  double width_m, height_m;
};
RedisWindow redis_window(const rtree::Box<2>& window);
/// Metres on Redis's sphere between two points of the unit square.
double redis_distance_m(const rtree::Point<2>& a, const rtree::Point<2>& b);
rtree::Point<2> centre_of(const rtree::Box<2>& box);

/// Whether a system finds that box in that window. kEither: on an edge, to its rounding.
enum class Verdict : std::uint8_t { kIn, kOut, kEither };
Verdict verdict(Rounding rounding, const rtree::Box<2>& box, const rtree::Box<2>& window);

/// The distance by which a system orders neighbours, in a unit of its own.
double distance(Rounding rounding, const rtree::Box<2>& box, const rtree::Point<2>& point);
/// How far two such distances may be apart and still be the same to it.
double distance_slack(Rounding rounding);

/// A box that holds all entries which that window may find in any system.
rtree::Box<2> reach(const rtree::Box<2>& window);

/// What was compared, and what differed by rounding alone.
struct Agreement {
  std::uint64_t queries = 0;
  std::uint64_t entries = 0;      ///< in the exact answers
  std::uint64_t by_rounding = 0;  ///< found by one side only, as the rounding explains
};

/// Checks the answer to a window; `candidates` are all entries within its reach. kProtocol: an
/// entry is missing, too much or found twice, and no rounding explains it.
Status check_window(Rounding rounding, const rtree::Box<2>& window,
                    std::span<const rtree::Entry<2>> candidates,
                    std::span<const std::uint64_t> found, Agreement& agreement);

/// Checks the k nearest, nearest first; `candidates` are all entries that may be among them.
/// kProtocol: not k of them, or not the nearest, or in another order.
Status check_nearest(Rounding rounding, const rtree::Point<2>& point, std::size_t k,
                     std::span<const rtree::Entry<2>> candidates,
                     std::span<const std::uint64_t> found, Agreement& agreement);

/// "7.0.15" as numbers; fewer numbers than three count as zero. kProtocol if it is none.
Result<std::vector<unsigned>> parse_version(const std::string& text);
/// kUnsupported, which says what for, if a peer's version is older than it must be.
Status check_version(const std::string& peer, const std::string& version,
                     const std::vector<unsigned>& at_least, const std::string& reason);

}  // namespace silurus::bench
