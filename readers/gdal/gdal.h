// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "readers/serve.h"

namespace silurus::readers {

/// Reads a layer of features with libgdal: of GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML, GPX,
/// OpenStreetMap or a file geodatabase. A bad feature (no geometry, an empty one, none of D
/// dimensions; no id) is a kProtocol error that names it, or is left out and counted. What GDAL
/// says went wrong while it reads ends the reading.
template <int D>
Result<std::unique_ptr<Reader<D>>> open_gdal(const Request& request);

/// The file, those beside it that belong to it, and GDAL's own data.
Needs needs_of_gdal(const Request& request);

}  // namespace silurus::readers
