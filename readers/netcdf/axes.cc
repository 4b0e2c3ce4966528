// SPDX-License-Identifier: Apache-2.0

#include "readers/netcdf/axes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace silurus::readers {
namespace {

constexpr double kPole = 90;
constexpr std::size_t kPlaces = 2;  // bounds of a cell: where it begins and ends

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool is_degrees_east(std::string_view units) {
  return is_one_of(units,
                   {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"});
}
bool is_degrees_north(std::string_view units) {
  return is_one_of(
      units, {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"});
}

bool is_latitude(const NcFile& file, const NcVariable& variable) {
  return file.text(variable, "standard_name") == "latitude" ||
         is_degrees_north(file.text(variable, "units"));
}

/// Half way between neighbours; at the ends as far as on the other side.
std::vector<Extent> between(const std::vector<double>& at, bool is_round) {
  const auto half_way = [&](std::size_t from, std::size_t to) {
    return (is_round ? short_way(at[from], at[to]) : at[to] - at[from]) / 2;
  };
  std::vector<Extent> extents(at.size());
  for (std::size_t i = 0; i < at.size(); ++i) {
    const double before = i > 0 ? half_way(i - 1, i) : 0;
    const double behind = i + 1 < at.size() ? half_way(i, i + 1) : 0;
    const double from = at[i] - (i > 0 ? before : behind);
    const double to = at[i] + (i + 1 < at.size() ? behind : before);
    extents[i] = {std::min(from, to), std::max(from, to)};
  }
  return extents;
}

/// From one end to the other. One that leaves out its own centre goes the other way round.
Extent about(double centre, double one_end, double other_end, bool is_round) {
  const auto [low, high] = std::minmax({one_end, other_end});
  const bool is_over_seam = is_round && high - low > kHalfTurn && (centre < low || centre > high);
  if (!is_over_seam) return {low, high};
  const double one = centre + short_way(centre, one_end);
  const double other = centre + short_way(centre, other_end);
  return {std::min(one, other), std::max(one, other)};
}

}  // namespace

bool is_longitude(const NcFile& file, const NcVariable& variable) {
  return file.text(variable, "standard_name") == "longitude" ||
         is_degrees_east(file.text(variable, "units"));
}

double short_way(double from, double to) {
  const double way = to - from;
  return std::abs(way) > kHalfTurn ? std::remainder(way, kTurn) : way;
}

Axis axis_of(const NcFile& file, const NcVariable& variable) {
  if (!variable.is_numeric()) return Axis::kOther;
  const std::string axis = file.text(variable, "axis");
  const std::string name = file.text(variable, "standard_name");
  const std::string units = file.text(variable, "units");
  if (axis == "X" || is_degrees_east(units) ||
      is_one_of(name, {"longitude", "projection_x_coordinate", "grid_longitude"})) {
    return Axis::kX;
  }
  if (axis == "Y" || is_degrees_north(units) ||
      is_one_of(name, {"latitude", "projection_y_coordinate", "grid_latitude"})) {
    return Axis::kY;
  }
  const std::string positive = file.text(variable, "positive");
  if (axis == "Z" || positive == "up" || positive == "down" ||
      is_one_of(name, {"height", "altitude", "depth"})) {
    return Axis::kZ;
  }
  return Axis::kOther;
}

Result<std::vector<Extent>> extents_of(const NcFile& file, const NcVariable& coordinate) {
  auto at = file.read_all(coordinate);
  if (!at) return fail(at.error());
  const auto is_finite = [](double value) { return std::isfinite(value); };
  if (!std::ranges::all_of(*at, is_finite)) {
    return file.damaged("coordinate " + coordinate.name + " is not finite everywhere");
  }
  const bool is_round = is_longitude(file, coordinate);
  std::vector<Extent> extents = between(*at, is_round);
  const NcVariable* bounds = file.find(file.text(coordinate, "bounds"));
  if (bounds != nullptr && bounds->dimensions.size() == 2 &&
      bounds->dimensions[0] == coordinate.dimensions[0] &&
      file.length(bounds->dimensions[1]) == kPlaces) {
    auto ends = file.read_all(*bounds, &coordinate);
    if (!ends) return fail(ends.error());
    if (!std::ranges::all_of(*ends, is_finite)) {
      return file.damaged("bounds " + bounds->name + " are not finite everywhere");
    }
    for (std::size_t i = 0; i < extents.size(); ++i) {
      extents[i] = about((*at)[i], (*ends)[2 * i], (*ends)[2 * i + 1], is_round);
    }
  }
  if (is_latitude(file, coordinate)) {
    for (Extent& extent : extents) {
      if (std::abs(extent.low) > kPole && std::abs(extent.high) <= kPole) extent.low = -kPole;
      if (std::abs(extent.high) > kPole && std::abs(extent.low) <= kPole) extent.high = kPole;
    }
  }
  return extents;
}

std::string note_of_axis(const NcFile& file, const NcVariable& x) {
  const std::string units = file.text(x, "units");
  if (is_degrees_east(units)) {
    return "coordinates are degrees, longitude first, as the file has them (0 to 360 or -180 to "
           "180); nearest measures in degrees";
  }
  return "coordinates are loaded as they are" + (units.empty() ? "" : ", in " + units);
}

}  // namespace silurus::readers
