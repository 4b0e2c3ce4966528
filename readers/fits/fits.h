// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "readers/serve.h"

namespace silurus::readers {

/// Reads a table of a FITS file (standard 4.0, chapter 7: BINTABLE or TABLE) with cfitsio: a point
/// for each row, of its columns of right ascension and declination, or of other longitudes and
/// latitudes, or of x, y and z. Angles are in degrees, whatever the file has them in; in three
/// dimensions they become unit vectors.
///
/// Request::layer names the table, or is its number, from 1 behind the primary; where: a condition
/// that cfitsio understands; id: a column of whole numbers, else ids are places of rows, from 0.
/// kProtocol: what is damaged, or has no such table; kInvalidArgument: a choice of several.
template <int D>
Result<std::unique_ptr<Reader<D>>> open_fits(const Request& request);

}  // namespace silurus::readers
