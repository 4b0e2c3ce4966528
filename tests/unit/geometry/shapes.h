// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "geometry/wkt.h"

namespace silurus::geometry {

/// The geometry of a well-known text, which must be one.
inline Geometry shape_of(std::string_view wkt) { return read_wkt(wkt).value(); }

/// What is wrong with one; empty if nothing is.
inline std::string wrong_with(std::string_view wkt) {
  const auto geometry = read_wkt(wkt);
  return geometry ? "" : geometry.error().message;
}

}  // namespace silurus::geometry
