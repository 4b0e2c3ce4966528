// SPDX-License-Identifier: Apache-2.0

#include "client/shards/hilbert.h"

namespace silurus::shards {
namespace {

/// Bits of a key below those of the grid.
template <int D>
constexpr int kKeyShift = 64 - D* kGridBits<D>;

}  // namespace

template <int D>
std::uint64_t hilbert_key(GridCell<D> x) {
  constexpr std::uint32_t kTop = std::uint32_t{1} << (kGridBits<D> - 1);
  for (std::uint32_t q = kTop; q > 1; q >>= 1) {  // undo what the curve exchanges and inverts
    for (int i = 0; i < D; ++i) {
      if ((x[i] & q) != 0) {
        x[0] ^= q - 1;
      } else {
        const std::uint32_t swapped = (x[0] ^ x[i]) & (q - 1);
        x[0] ^= swapped;
        x[i] ^= swapped;
      }
    }
  }
  for (int i = 1; i < D; ++i) x[i] ^= x[i - 1];  // to Gray code
  std::uint32_t flips = 0;
  for (std::uint32_t q = kTop; q > 1; q >>= 1) {
    if ((x[D - 1] & q) != 0) flips ^= q - 1;
  }
  std::uint64_t key = 0;
  for (int bit = kGridBits<D> - 1; bit >= 0; --bit) {
    for (int i = 0; i < D; ++i) key = key << 1 | ((x[i] ^ flips) >> bit & 1);
  }
  return key << kKeyShift<D>;
}

template <int D>
GridCell<D> hilbert_cell(std::uint64_t key) {
  GridCell<D> x{};
  key >>= kKeyShift<D>;
  int at = D * kGridBits<D>;
  for (int bit = kGridBits<D> - 1; bit >= 0; --bit) {
    for (int i = 0; i < D; ++i) x[i] |= static_cast<std::uint32_t>(key >> --at & 1) << bit;
  }
  const std::uint32_t last = x[D - 1] >> 1;
  for (int i = D - 1; i > 0; --i) x[i] ^= x[i - 1];  // from Gray code
  x[0] ^= last;
  for (int bit = 1; bit < kGridBits<D>; ++bit) {  // exchange and invert
    const std::uint32_t q = std::uint32_t{1} << bit;
    for (int i = D - 1; i >= 0; --i) {
      if ((x[i] & q) != 0) {
        x[0] ^= q - 1;
      } else {
        const std::uint32_t swapped = (x[0] ^ x[i]) & (q - 1);
        x[0] ^= swapped;
        x[i] ^= swapped;
      }
    }
  }
  return x;
}

template std::uint64_t hilbert_key<2>(GridCell<2>);
template std::uint64_t hilbert_key<3>(GridCell<3>);
template GridCell<2> hilbert_cell<2>(std::uint64_t);
template GridCell<3> hilbert_cell<3>(std::uint64_t);

}  // namespace silurus::shards
