// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gdal.h>
#include <ogr_api.h>

#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "readers/request.h"
#include "readers/serve.h"

namespace silurus::readers {

struct CloseDataset {
  void operator()(void* dataset) const { GDALClose(dataset); }
};

/// A layer of features in an open file.
struct Layer {
  std::unique_ptr<void, CloseDataset> dataset;
  OGRLayerH handle = nullptr;  // the dataset owns it
  std::string driver;          // "GPKG"
};

/// Opens the file and the layer that is asked for, or the one that it has, with its filter set.
/// kUnsupported: GDAL knows no such file; kInvalidArgument: no such layer, or a choice of several,
/// which the message lists; or a condition that makes no sense.
Result<Layer> open_layer(const Request& request);

/// What is to be said of the layer: what is read of it, and its coordinate system.
std::vector<Note> notes_of(const Layer& layer, const Request& request);

/// What GDAL said first of what went wrong since the last call; empty if nothing did.
std::string take_failure();

}  // namespace silurus::readers
