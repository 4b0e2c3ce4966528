// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/agreement.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <unordered_map>

namespace silurus::bench {
using Box2 = rtree::Box<2>;
using Entry2 = rtree::Entry<2>;

namespace {

using Point2 = rtree::Point<2>;

// Constants of Redis's geohash.h and geohash_helper.c.
constexpr double kEarthRadius = 6372797.560856;  // m
constexpr double kLongitudes = 180;
constexpr double kLatitudes = 85.05112878;
constexpr double kCells = 1 << 26;

/// SQLite rounds outward by a factor of 1 + 2^-23, PostGIS to the next float, up to 2^-23 away, and
/// then perhaps to one more; both boxes and windows.
constexpr double kFloatSlack = 1.0 / (1 << 21);
/// Relative, of distances computed in the same steps but perhaps not in the same order.
constexpr double kComputedSlack = 1e-9;

double radians(double degrees) { return degrees * std::numbers::pi / 180; }

double latitude_metres(double a, double b) {
  return kEarthRadius * std::abs(radians(b) - radians(a));
}

/// Haversine, as Redis has it.
double metres(const Place& a, const Place& b) {
  const double v = std::sin((radians(b.longitude) - radians(a.longitude)) / 2);
  if (v == 0) return latitude_metres(a.latitude, b.latitude);
  const double lat_a = radians(a.latitude), lat_b = radians(b.latitude);
  const double u = std::sin((lat_b - lat_a) / 2);
  return 2 * kEarthRadius * std::asin(std::sqrt(u * u + std::cos(lat_a) * std::cos(lat_b) * v * v));
}

/// The middle of the grid's cell.
double on_grid(double degrees, double limit) {
  const double cell = std::floor((degrees + limit) / (2 * limit) * kCells);
  return -limit + (cell + 0.5) / kCells * 2 * limit;
}
Place on_grid(const Place& place) {
  return {on_grid(place.longitude, kLongitudes), on_grid(place.latitude, kLatitudes)};
}

Verdict within(double value, double limit) {
  if (std::abs(value - limit) <= kComputedSlack * limit) return Verdict::kEither;
  return value < limit ? Verdict::kIn : Verdict::kOut;
}

Verdict redis_verdict(const Box2& box, const Box2& window) {
  const RedisWindow asked = redis_window(window);
  const Place held = on_grid(place_of(centre_of(box)));
  const Verdict down =
      within(latitude_metres(held.latitude, asked.centre.latitude), asked.height_m / 2);
  const Verdict across =
      within(metres(held, {asked.centre.longitude, held.latitude}), asked.width_m / 2);
  if (down == Verdict::kOut || across == Verdict::kOut) return Verdict::kOut;
  return down == Verdict::kIn && across == Verdict::kIn ? Verdict::kIn : Verdict::kEither;
}

Box2 grown(const Box2& box, double by) {
  Box2 out = box;
  for (int d = 0; d < 2; ++d) {
    out.min[d] -= by;
    out.max[d] += by;
  }
  return out;
}

double largest(const Box2& box) {
  return std::max(
      {std::abs(box.min[0]), std::abs(box.min[1]), std::abs(box.max[0]), std::abs(box.max[1])});
}

std::string text_of(const Box2& window) {
  char text[160];
  std::snprintf(text, sizeof text, "(%.17g %.17g, %.17g %.17g)", window.min[0], window.min[1],
                window.max[0], window.max[1]);
  return text;
}

}  // namespace

Place place_of(const Point2& point) {
  return {(point.at[0] - 0.5) * kRedisDegrees, (point.at[1] - 0.5) * kRedisDegrees};
}

Point2 centre_of(const Box2& box) {
  return {{(box.min[0] + box.max[0]) / 2, (box.min[1] + box.max[1]) / 2}};
}

RedisWindow redis_window(const Box2& window) {
  const Place low = place_of({window.min}), high = place_of({window.max});
  const Place centre = place_of(centre_of(window));
  return {centre, metres({low.longitude, centre.latitude}, {high.longitude, centre.latitude}),
          latitude_metres(low.latitude, high.latitude)};
}

double redis_distance_m(const Point2& a, const Point2& b) {
  return metres(place_of(a), place_of(b));
}

Verdict verdict(Rounding rounding, const Box2& box, const Box2& window) {
  if (rounding == Rounding::kGeohash) return redis_verdict(box, window);
  if (rtree::intersects(box, window)) return Verdict::kIn;
  if (rounding == Rounding::kNone) return Verdict::kOut;
  const double slack = kFloatSlack * std::max(largest(box), largest(window));
  return rtree::intersects(grown(box, slack), window) ? Verdict::kEither : Verdict::kOut;
}

double distance(Rounding rounding, const Box2& box, const Point2& point) {
  if (rounding == Rounding::kGeohash) {
    return metres(on_grid(place_of(centre_of(box))), place_of(point));
  }
  double sum = 0;
  for (int d = 0; d < 2; ++d) {
    const double off = std::max({box.min[d] - point.at[d], 0.0, point.at[d] - box.max[d]});
    sum += off * off;
  }
  return std::sqrt(sum);
}

double distance_slack(Rounding rounding) {
  switch (rounding) {
    case Rounding::kFloat32:
      return 2 * kFloatSlack;  // coordinates are up to 1, in two dimensions
    case Rounding::kGeohash:
      return 1e-3;  // a millimetre
    case Rounding::kNone:
      return 1e-12;
  }
  return 0;
}

Box2 reach(const Box2& window) {
  // Redis: its cells, and that a degree is not as long everywhere; the others' floats are far less.
  constexpr double kCellSlack = 2 * kLongitudes / kCells / kRedisDegrees;
  const double edge = std::max(window.max[0] - window.min[0], window.max[1] - window.min[1]);
  return grown(window, 2 * kCellSlack + 0.01 * edge);
}

Status check_window(Rounding rounding, const Box2& window, std::span<const Entry2> candidates,
                    std::span<const std::uint64_t> found, Agreement& agreement) {
  std::unordered_map<std::uint64_t, const Entry2*> by_id;
  for (const Entry2& entry : candidates) by_id.emplace(entry.id, &entry);
  const auto problem = [&](std::uint64_t id, const char* what) {
    return fail(ErrorCode::kProtocol, "the answer to the window " + text_of(window) + " has " +
                                          what + " entry " + std::to_string(id));
  };
  std::uint64_t exact = 0, exact_found = 0;
  std::unordered_map<std::uint64_t, bool> seen;
  for (const std::uint64_t id : found) {
    const auto known = by_id.find(id);
    if (known == by_id.end() || verdict(rounding, known->second->box, window) == Verdict::kOut) {
      return problem(id, "too much the");
    }
    if (!seen.emplace(id, true).second) return problem(id, "twice the");
    // Redis is to be compared with the centres that are within, the others with all boxes.
    const Box2 box = rounding == Rounding::kGeohash
                         ? Box2{centre_of(known->second->box).at, centre_of(known->second->box).at}
                         : known->second->box;
    if (rtree::intersects(box, window)) ++exact_found;
  }
  for (const Entry2& entry : candidates) {
    const Point2 centre = centre_of(entry.box);
    const Box2 box = rounding == Rounding::kGeohash ? Box2{centre.at, centre.at} : entry.box;
    if (rtree::intersects(box, window)) ++exact;
    if (verdict(rounding, entry.box, window) == Verdict::kIn && !seen.contains(entry.id)) {
      return problem(entry.id, "not the");
    }
  }
  ++agreement.queries;
  agreement.entries += exact;
  agreement.by_rounding += (exact - exact_found) + (found.size() - exact_found);
  return {};
}

Status check_nearest(Rounding rounding, const Point2& point, std::size_t k,
                     std::span<const Entry2> candidates, std::span<const std::uint64_t> found,
                     Agreement& agreement) {
  std::unordered_map<std::uint64_t, const Entry2*> by_id;
  std::vector<double> expected;
  for (const Entry2& entry : candidates) {
    by_id.emplace(entry.id, &entry);
    expected.push_back(distance(rounding, entry.box, point));
  }
  k = std::min(k, expected.size());
  std::partial_sort(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(k),
                    expected.end());
  const std::string about =
      "the " + std::to_string(k) + " nearest to " + text_of({point.at, point.at}) + ": ";
  if (found.size() != k) {
    return fail(ErrorCode::kProtocol, about + std::to_string(found.size()) + " came");
  }
  for (std::size_t i = 0; i < k; ++i) {
    const auto known = by_id.find(found[i]);
    const double is =
        known == by_id.end() ? HUGE_VAL : distance(rounding, known->second->box, point);
    if (std::abs(is - expected[i]) > distance_slack(rounding)) {
      return fail(ErrorCode::kProtocol, about + "entry " + std::to_string(found[i]) +
                                            " is number " + std::to_string(i + 1) + ", at " +
                                            format_number(is) + " where " +
                                            format_number(expected[i]) + " is right");
    }
  }
  ++agreement.queries;
  agreement.entries += k;
  return {};
}

Result<std::vector<unsigned>> parse_version(const std::string& text) {
  std::vector<unsigned> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (numbers.size() < 3) {
    unsigned number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error != std::errc()) break;
    numbers.push_back(number);
    if (rest == end || *rest != '.') break;
    at = rest + 1;
  }
  if (numbers.empty()) return fail(ErrorCode::kProtocol, "'" + text + "' is no version");
  numbers.resize(3);
  return numbers;
}

Status check_version(const std::string& peer, const std::string& version,
                     const std::vector<unsigned>& at_least, const std::string& reason) {
  const auto numbers = parse_version(version);
  if (!numbers) return fail(numbers.error().code, peer + ": " + numbers.error().message);
  std::vector<unsigned> least = at_least;
  least.resize(3);
  if (*numbers >= least) return {};
  std::string wanted;
  for (const unsigned number : at_least) {
    wanted += (wanted.empty() ? "" : ".") + std::to_string(number);
  }
  return fail(ErrorCode::kUnsupported,
              peer + " is version " + version + "; " + reason + " needs " + wanted + " or later");
}

}  // namespace silurus::bench
