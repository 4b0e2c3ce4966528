// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

/// Where Debian's package gmt-gshhg-full puts the world's coastlines in full resolution.
constexpr const char* kGshhgPath = "/usr/share/gmt-gshhg/binned_GSHHS_f.nc";

/// Reads the coastlines of GSHHG (Wessel and Smith, "A global, self-consistent, hierarchical,
/// high-resolution shoreline database", JGR 1996) from the binned netCDF files of GMT: one box for
/// each pair of consecutive points of a segment, in degrees, longitude -180 to 180 first, latitude
/// second; ids 0, 1, 2, ... in file order. 10,781,311 boxes in full resolution.
///
/// A file that is truncated, damaged or of another kind is a kProtocol error that names the file
/// and what to do. libnetcdf, which does crash on damaged files, runs in a program of its own
/// (helper.h), silurus-read-netcdf.
Result<std::unique_ptr<Source<2>>> open_gshhg(const std::string& path = kGshhgPath);

}  // namespace silurus::datasets
