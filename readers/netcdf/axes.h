// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "readers/netcdf/file.h"

namespace silurus::readers {

constexpr double kHalfTurn = 180;  // degrees of longitude
constexpr double kTurn = 360;

enum class Axis { kX, kY, kZ, kOther };

/// Which coordinate a variable has, as the CF conventions (1.10, chapter 4) tell it: by its
/// attributes axis, standard_name, units and positive.
Axis axis_of(const NcFile& file, const NcVariable& variable);

/// From where to where a cell reaches on one axis.
struct Extent {
  double low;
  double high;
};

/// Whether a coordinate is of longitudes, in degrees.
bool is_longitude(const NcFile& file, const NcVariable& variable);

/// From one longitude to another the short way round: -180 to 180.
double short_way(double from, double to);

/// The extents of the cells of a one-dimensional coordinate: those of its bounds, else half way to
/// the neighbours. Latitudes end at the poles. A cell over the seam of longitudes (at 180, or at
/// 360) reaches beyond it, on the side where its centre is.
Result<std::vector<Extent>> extents_of(const NcFile& file, const NcVariable& coordinate);

/// What should be said of coordinates: whether they are degrees.
std::string note_of_axis(const NcFile& file, const NcVariable& x);

}  // namespace silurus::readers
