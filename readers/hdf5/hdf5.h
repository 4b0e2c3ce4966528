// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "readers/serve.h"

namespace silurus::readers {

/// Reads columns of numbers of an HDF5 file with libhdf5, block by block.
///
/// Request::layer names them: a dataset with a row for each entry, of as many columns as dimensions
/// (points; in two dimensions a third column is left out) or of twice as many (boxes, minima
/// first); or several datasets of one column each, parted by commas; or a group that has x, y and
/// z. Without it, the file has one dataset of the first kind. Request::id names a dataset of whole
/// numbers, else ids are places of rows, from 0.
///
/// kProtocol: what is damaged; kInvalidArgument: a choice of several, with their names; kTooLarge:
/// chunks that do not fit into memory.
template <int D>
Result<std::unique_ptr<Reader<D>>> open_hdf5(const Request& request);

}  // namespace silurus::readers
