// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "gate/source.h"

// GeoJSON (RFC 7946) of entries: a box as a polygon, a box without extent as a point.

namespace silurus::gate {

/// Appends the shortest text that reads back as the number.
void append_number(std::string& out, double number);

/// Appends a feature. Of a box of three dimensions: the polygon is its outline at its lowest
/// height, and `bbox` has both heights.
void append_feature(std::string& out, const Entry<3>& entry, int dimensions);

}  // namespace silurus::gate
