// SPDX-License-Identifier: Apache-2.0

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

/// How far into the grid x lies, in cells: from 0 to kCellSteps.
constexpr double steps_of(double x, double low, double scale) {
  return std::min(std::max((x - low) * scale, 0.0), kCellSteps);
}

/// The cell that holds x, or the nearest one if x lies beyond the grid. x and low are finite.
constexpr Cell cell_of(double x, double low, double scale) {
  return static_cast<Cell>(static_cast<std::int32_t>(steps_of(x, low, scale)) + kLeastCell);
}

/// No number of the cell is less. `step` is 1 / scale; the number is that of the node's own box.
constexpr double least_of(Cell cell, double low, double step) {
  return std::max(low, low + (static_cast<double>(cell - kLeastCell) - kCellMargin) * step);
}
/// No number of the cell, up to the node's edge `high`, is greater.
constexpr double greatest_of(Cell cell, double low, double high, double step) {
  return std::min(high, low + (static_cast<double>(cell - kLeastCell) + 1 + kCellMargin) * step);
}

/// A child's cells along one axis are the frame of a finer grid: 256 cells, in which the boxes of a
/// leaf's groups are held. As with cell_of(), group_cell_of() never decreases where the steps
/// increase, and that is all that a search needs.
using GroupCell = std::int8_t;
inline constexpr std::int32_t kLeastGroupCell = std::numeric_limits<GroupCell>::min();
inline constexpr std::int32_t kGreatestGroupCell = std::numeric_limits<GroupCell>::max();
inline constexpr std::int32_t kAllGroupCells = kGreatestGroupCell - kLeastGroupCell + 1;
inline constexpr double kGroupCells = kAllGroupCells;

struct GroupGrid {
  double first;  ///< steps at which it begins
  double scale;  ///< group cells in a step

  /// Grid for a child that reaches from one cell to another; any cells, even those that a stranger
  /// sent.
  static constexpr GroupGrid of(Cell least, Cell greatest) {
    return {static_cast<double>(least - kLeastCell),
            kGroupCells / std::max(greatest - least + 1, 1)};
  }
};

/// The group cell of a place, given in steps_of() the node's grid.
constexpr GroupCell group_cell_of(double steps, const GroupGrid& grid) {
  const double cells = std::min(std::max((steps - grid.first) * grid.scale, 0.0), kGroupCells - 1);
  return static_cast<GroupCell>(static_cast<std::int32_t>(cells) + kLeastGroupCell);
}

/// No number of the group cell is less; `low` and `step` as above, and the node's scale is plain.
constexpr double least_of(GroupCell cell, const GroupGrid& grid, double low, double step) {
  const double steps = grid.first + static_cast<double>(cell - kLeastGroupCell) / grid.scale;
  return low + (steps - kCellMargin) * step;
}
/// No number of the group cell is greater.
constexpr double greatest_of(GroupCell cell, const GroupGrid& grid, double low, double step) {
  const double steps = grid.first + static_cast<double>(cell - kLeastGroupCell + 1) / grid.scale;
  return low + (steps + kCellMargin) * step;
}

/// Whether the extent of a grid of that scale is neither bounded by kLeastExtent or kGreatestExtent
/// nor near to it.
constexpr bool is_plain_scale(double scale) {
  return scale > kCellSteps / (kGreatestExtent * 1e-8) && scale < kCellSteps / (kLeastExtent * 1e8);
}

/// By how many group cells, at most, the place of a number in a child's grid differs if the node's
/// grid is another one, and so the child's cells, though neither the number nor the child's box has
/// changed (docs/decisions/0015). `before`, `after`: how many cells the child takes. Both grids are
/// of a plain scale.
constexpr std::int32_t group_cells_of_doubt(std::int32_t before, std::int32_t after) {
  const std::int32_t least = std::min(before - 2, after);
  if (least <= 0) return kAllGroupCells;
  return std::min(kAllGroupCells, (kAllGroupCells + least - 1) / least + 1);
}

}  // namespace silurus::rtree
