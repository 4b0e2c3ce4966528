// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

/// Reads a point cloud in LAS 1.0 to 1.4 (ASPRS), not compressed: a box without extent for each
/// point, ids 0, 1, 2, ... in file order; z is left out if D is 2. notes() tells the coordinate
/// system where the file names one by its EPSG code. kProtocol: what is truncated or damaged;
/// kUnsupported: LAZ.
template <int D>
Result<std::unique_ptr<Source<D>>> open_las(const std::string& path);

}  // namespace silurus::datasets
