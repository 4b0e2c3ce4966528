// SPDX-License-Identifier: Apache-2.0

#include "readers/netcdf/netcdf.h"

#include "readers/netcdf/file.h"
#include "readers/netcdf/gshhg.h"
#include "readers/netcdf/kinds.h"

namespace silurus::readers {
namespace {

constexpr const char* kOfGshhg = "Bin_size_in_minutes";  // a variable that no other file has

}  // namespace

template <int D>
Result<std::unique_ptr<Reader<D>>> open_netcdf(const Request& request) {
  auto file = NcFile::open(request.path);
  if (!file) return fail(file.error());
  if (file->find(kOfGshhg) != nullptr) {
    if constexpr (D == 2) {
      return open_gshhg(request);
    } else {
      return fail(ErrorCode::kUnsupported, request.path +
                                               ": GSHHG coastlines are 2-D, boxes of 3 dimensions "
                                               "were asked for");
    }
  }
  for (const auto open : {open_mesh<D>, open_points<D>, open_grid<D>}) {
    auto reader = open(*file, request);
    if (!reader || *reader != nullptr) return reader;
  }
  if (!request.layer.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                request.path + ": the variable " + request.layer + " is no grid, mesh or points");
  }
  return file->damaged(
      "has no grid, points or mesh that the CF or UGRID conventions describe, and is no GSHHG");
}

template Result<std::unique_ptr<Reader<2>>> open_netcdf<2>(const Request&);
template Result<std::unique_ptr<Reader<3>>> open_netcdf<3>(const Request&);

}  // namespace silurus::readers
