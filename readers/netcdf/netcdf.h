// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "readers/serve.h"

namespace silurus::readers {

/// Reads netCDF by what the file says it is:
///
/// * a binned file of GSHHG (gshhg.h; 2-D);
/// * a mesh of the UGRID conventions: a box about each face, or about each volume if it has these;
/// * points, trajectories and profiles of the CF conventions, whose coordinates lie on one
///   dimension: a box without extent each;
/// * a grid of the CF conventions, regular or curvilinear: a box for each cell that has a value.
///
/// Request::layer names the variable, or the mesh. Ids are places in the file, from 0. kProtocol:
/// what is damaged, or nothing of these; kInvalidArgument: a choice of several.
template <int D>
Result<std::unique_ptr<Reader<D>>> open_netcdf(const Request& request);

}  // namespace silurus::readers
