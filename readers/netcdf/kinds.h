// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "readers/netcdf/file.h"
#include "readers/serve.h"

namespace silurus::readers {

// What a netCDF file can hold (netcdf.h). Each function returns nothing (a null pointer) where the
// file holds none of its kind.

template <int D>
using Opened = Result<std::unique_ptr<Reader<D>>>;

template <int D>
Opened<D> open_mesh(NcFile& file, const Request& request);
template <int D>
Opened<D> open_points(NcFile& file, const Request& request);
template <int D>
Opened<D> open_grid(NcFile& file, const Request& request);

}  // namespace silurus::readers
