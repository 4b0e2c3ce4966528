// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "geometry/geometry.h"

// What Geometry::create() looks at, and how errors name a place.

namespace silurus::geometry {

/// A place in a geometry: one thing of several, in another place. Lives on the stack of what goes
/// through a geometry.
///
///   const Place polygon{"polygon", 0};
///   Place{"coordinate", 3, &polygon}.text();  // "coordinate 3 of polygon 0"
struct Place {
  std::string_view noun;  ///< empty for the geometry itself
  std::size_t index = 0;
  const Place* outer = nullptr;

  std::string text() const;
};
inline constexpr Place kWhole{"", 0, nullptr};

/// What the parts of a geometry of that type are called in errors: "polygon", of a collection
/// "part".
std::string_view noun_of_parts(Type type);

/// "coordinate 3 of polygon 0 is not a number": kInvalidArgument.
tl::unexpected<Error> fail_at(const Place& place, std::string_view what);

/// Checks::kForm. Replaces -0 by 0, and takes the line out of an empty line string.
Status check_form(Shape& shape, const Place& place = kWhole, int depth = 1);
/// What Checks::kAll looks at besides, after check_form().
Status check_rings(const Shape& shape, const Place& place = kWhole);
/// Shells counter-clockwise, holes clockwise. What check_rings() refuses may stay as it is.
void orient_rings(Shape& shape);

}  // namespace silurus::geometry
