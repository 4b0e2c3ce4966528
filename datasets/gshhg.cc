// SPDX-License-Identifier: Apache-2.0

#include "datasets/gshhg.h"

#include "datasets/helper.h"

namespace silurus::datasets {

Result<std::unique_ptr<Source<2>>> open_gshhg(const std::string& path) {
  auto opened = open_with_helper<2>({"silurus-read-netcdf"}, {.path = path});
  if (!opened && opened.error().code == ErrorCode::kNotFound) {
    opened.error().message += ": the coastlines come with Debian's package gmt-gshhg-full";
  }
  return opened;
}

}  // namespace silurus::datasets
