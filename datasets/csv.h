// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

struct CsvOptions {
  /// Leave malformed lines out and count them, instead of failing at the first.
  bool skip_bad = false;
  /// Which column is which, whatever a header says: "id,ymin,xmin,ymax,xmax" (Columns::of_list()).
  /// Empty: the header says it.
  std::string columns = {};
};

/// Reads entries from a text file ("-": standard input) of lines with separated fields: boxes or
/// points, with or without an id. The first line that is not blank decides for all of them:
///
/// * a header, by its names (Columns). One that is not understood is an error, with skip_bad, too;
/// * without a header (there is a number in the line) `id,xmin,ymin,xmax,ymax` or `id,x,y`, in 3-D
///   `id,xmin,ymin,zmin,xmax,ymax,zmax` or `id,x,y,z`;
/// * and the separator: comma, semicolon or tab.
///
/// Fields may be in quotes (RFC 4180), with line ends in them, too. Numbers may be written +2.35
/// and 1e6, ids 1.0. Blank lines, blanks around fields, a byte-order mark and CRLF are fine. Where
/// there is no id, the lines with fields, malformed ones included, are numbered from 1. Columns
/// that nothing is read from may hold anything. A malformed line is a kProtocol error that names
/// file, line, column, text and what was expected; kInvalidArgument concerns options.columns.
template <int D>
Result<std::unique_ptr<Source<D>>> open_csv(const std::string& path,
                                            const CsvOptions& options = {});

}  // namespace silurus::datasets
