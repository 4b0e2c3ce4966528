// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>

namespace silurus::shards {

/// Steps of the Hilbert curve's grid along each dimension, as a power of two.
template <int D>
inline constexpr int kGridBits = D == 2 ? 32 : 21;
/// Coordinates of a cell of that grid, each below 2^kGridBits.
template <int D>
using GridCell = std::array<std::uint32_t, D>;

/// The place of a cell along the Hilbert curve through all of them, as a fraction of 2^64: keys of
/// two and three dimensions alike fill the range of 64 bits. Cells that follow each other share a
/// face, and the cells of any aligned cube of side 2^k follow each other without a gap.
/// By the transform of Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004).
template <int D>
std::uint64_t hilbert_key(GridCell<D> cell);
/// The cell of that place (of a key in between: the one before it).
template <int D>
GridCell<D> hilbert_cell(std::uint64_t key);

}  // namespace silurus::shards
