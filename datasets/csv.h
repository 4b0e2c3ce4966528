#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

struct CsvOptions {
  /// Leave malformed lines out and count them, instead of failing at the first.
  bool skip_bad = false;
};

/// Reads entries from a CSV file ("-": standard input): lines `id,xmin,ymin,xmax,ymax` or points
/// `id,x,y`; in 3-D `id,xmin,ymin,zmin,xmax,ymax,zmax` or `id,x,y,z`. The first line says which of
/// the two all lines are, and may be a header: a line with no number in it. Blank lines, blanks
/// around fields, a byte-order mark and CRLF are fine; quotes are not. A malformed line is a
/// kProtocol error that names file, line, field and what is wrong with it.
template <int D>
Result<std::unique_ptr<Source<D>>> open_csv(const std::string& path,
                                            const CsvOptions& options = {});

}  // namespace silurus::datasets
