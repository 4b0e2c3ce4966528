#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "datasets/source.h"

namespace silurus::datasets {

struct OpenOptions {
  /// CSV: leave malformed lines out and count them, instead of failing at the first.
  bool skip_bad = false;
  /// CSV: which column is which (CsvOptions::columns). Empty: the file's header says it.
  std::string columns = {};
};

/// What a user may name as data, for help texts.
constexpr std::string_view kDatasetForms =
    "FILE.csv or FILE.csv.gz, - (CSV from standard input), FILE.nc (GSHHG), gshhg (the coastlines "
    "of Debian's "
    "gmt-gshhg-full), uniform:COUNT[:seed=S][:edge=E], "
    "powerlaw:COUNT[:seed=S][:min=E][:max=E][:exponent=X], "
    "clusters:COUNT[:seed=S][:edge=E][:clusters=N][:sigma=X], "
    "roads:COUNT[:seed=S][:towns=N][:step=X]";

/// Opens a data set by name; kDatasetForms lists the names. What a file is, its first bytes tell:
/// netCDF is read as GSHHG (2-D only), gzip is unpacked, all else is CSV. kInvalidArgument names
/// the part of a generator's description that makes no sense; kNotFound, kIo, kPermission,
/// kProtocol concern files.
template <int D>
Result<std::unique_ptr<Source<D>>> open_dataset(std::string_view spec,
                                                const OpenOptions& options = {});

}  // namespace silurus::datasets
