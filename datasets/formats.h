// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus::datasets {

/// What a file is, as its first bytes tell: its name is not asked.
enum class FileFormat : std::uint8_t {
  kText,    ///< separated fields
  kGzip,    ///< packed text
  kNetcdf,  ///< netCDF of any version, or other HDF5
  kVector,  ///< features, in one of the formats that GDAL reads
  kNpy,     ///< an array of NumPy
  kLas,     ///< a point cloud
  kFits,    ///< tables of astronomers
  kSwc,     ///< a neuron's shape
};
FileFormat format_of(std::string_view first_bytes);

/// Some first bytes of a regular file, enough for format_of(). Nothing of an empty file, of one
/// that cannot be read, and of a pipe, whose bytes can be read only once.
std::string first_bytes_of(const std::string& path);

/// What is at a path: by the first bytes, and of a folder by what lies in it (a geodatabase). Where
/// there are no bytes, in a missing or empty file, ".nc" in its name stands for netCDF.
FileFormat format_of_file(const std::string& path);

/// Text goes on to a parser of lines. kProtocol names what the first bytes are instead, if that is
/// known, and what to do with it. `name`: of the file, for the message.
Status check_is_text(std::string_view first_bytes, const std::string& name);

}  // namespace silurus::datasets
