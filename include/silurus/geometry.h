// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "silurus/api.h"
#include "silurus/result.h"
#include "silurus/types.h"

// Geometries as records have them (Record::geometry): OGC's well-known binary. Pure functions.

namespace silurus {

/// The geometry of a text, well-known text or a GeoJSON geometry (RFC 7946), as well-known binary.
/// kInvalidArgument, kTooLarge, kUnsupported: what is wrong with it, and where.
SILURUS_API Result<std::string> geometry_of_text(std::string_view text);

/// The least box about the vertices of a geometry in well-known binary, which an entry with it has
/// to hold. D is 2 or 3. kInvalidArgument: what is wrong with the geometry; or it has no vertices,
/// or, where D is 3, no z. kTooLarge, kUnsupported.
template <int D>
SILURUS_API Result<Box<D>> box_of_geometry(std::string_view wkb);

}  // namespace silurus
