#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

// How inner nodes hold the boxes of their children: in 16 bits a side, as cells of a grid that lies
// over the node's own box, 65,536 along each axis. A coordinate far from zero is as good as any.
//
// cell_of() never decreases where its argument increases, for whatever numbers: so a child that a
// window meets is never missed if the cells of the window's edges are compared with the child's.
// least_of() and greatest_of() lead back, outward: least_of(cell_of(x)) <= x <= greatest_of(...).

namespace silurus::rtree {

/// Cells are told as signed numbers, which every instruction set compares.
using Cell = std::int16_t;
inline constexpr std::int32_t kLeastCell = std::numeric_limits<Cell>::min();
inline constexpr std::int32_t kGreatestCell = std::numeric_limits<Cell>::max();
inline constexpr double kCellSteps = kGreatestCell - kLeastCell;
/// Extents of a grid, for its arithmetic, are at least and at most this. A box that is smaller lies
/// in fewer cells, and what lies beyond the greatest number from the lower edge in the last one.
inline constexpr double kLeastExtent = 1e-300;
inline constexpr double kGreatestExtent = std::numeric_limits<double>::max();
/// By how much of a cell boxes that are made of cells are widened: more than what the arithmetic of
/// cell_of() may be wrong by, 65,536 cells of 2^-52 each at most.
inline constexpr double kCellMargin = 0x1p-10;

/// Cells in one unit of length along an axis on which the node reaches from `low` to `high`. Finite
/// and above 0.
constexpr double cell_scale(double low, double high) {
  return kCellSteps / std::min(std::max(high - low, kLeastExtent), kGreatestExtent);
}

/// The cell that holds x, or the nearest one if x lies beyond the grid. x and low are finite.
constexpr Cell cell_of(double x, double low, double scale) {
  const double steps = std::min(std::max((x - low) * scale, 0.0), kCellSteps);
  return static_cast<Cell>(static_cast<std::int32_t>(steps) + kLeastCell);
}

/// No number of the cell is less. `step` is 1 / scale; the number is that of the node's own box.
constexpr double least_of(Cell cell, double low, double step) {
  return std::max(low, low + (static_cast<double>(cell - kLeastCell) - kCellMargin) * step);
}
/// No number of the cell, up to the node's edge `high`, is greater.
constexpr double greatest_of(Cell cell, double low, double high, double step) {
  return std::min(high, low + (static_cast<double>(cell - kLeastCell) + 1 + kCellMargin) * step);
}

}  // namespace silurus::rtree
