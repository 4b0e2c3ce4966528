// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

struct NpyOptions {
  /// Leave bad rows out and count them, instead of failing at the first.
  bool skip_bad = false;
};

/// Reads an array of NumPy (.npy, format 1 to 3):
///
/// * numbers of two dimensions, a row for each entry: D columns are a point, 2 D a box, all minima
///   first; ids are the rows' numbers, from 0. Rows may lie in the file one behind the other, or
///   columns (fortran_order);
/// * records of one dimension, whose fields are understood by their names as a CSV's columns are
///   (Columns).
///
/// A row with a coordinate that is not finite, or with a minimum above its maximum, is a kProtocol
/// error that names it. kUnsupported: arrays of another shape, and what is no number.
template <int D>
Result<std::unique_ptr<Source<D>>> open_npy(const std::string& path,
                                            const NpyOptions& options = {});

}  // namespace silurus::datasets
