// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gate/http.h"
#include "gate/source.h"
#include "gate/target.h"

// Mapbox vector tiles (version 2.1) of the boxes of a collection, in the usual grid of the web
// (Web Mercator, 256 * 2^z pixels wide). What a tile has:
//
//   * of up to kMostInTile boxes: each, with its id, clipped at kTileBuffer units around the tile.
//   A
//     box that is narrower than a unit is a line, or a point;
//   * of more: kCellsOfTile * kCellsOfTile cells, each of which that has any boxes is drawn with
//     their number ("count"; kMostCounted: that many or more).
//
// So a tile has at most kMaxTileBytes, whatever is there.
//
// Layer "boxes" or "cells" says which of the two it is.

namespace silurus::gate {

struct TileName {
  std::uint32_t z = 0;
  std::uint32_t x = 0;
  std::uint32_t y = 0;
};

/// The area of a tile and of `buffer` units around it, in degrees.
Area area_of_tile(const TileName& name, std::uint32_t buffer = 0);

/// A tile of these boxes.
std::string encode_boxes(const TileName& name, std::vector<Entry<3>> entries);
/// A tile of cells, row by row from the north, each with its number of boxes.
std::string encode_cells(std::span<const std::uint64_t> counts, std::uint32_t cells);

HttpAnswer answer_tile(const Target& target, const HttpRequest& request,
                       const Collection& collection, Source& source);

}  // namespace silurus::gate
