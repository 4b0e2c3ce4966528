// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

// How packed nodes share what they hold (bulk loads, compactions): evenly, and halved along the
// longer side of the centres until one node is left, as Boost.Geometry's packing constructor does.
// Items are anything with a box and an id, or a range of them; what has the same centre along that
// axis is halved by id, so that an entry can be found among many of the same box
// (docs/decisions/0016).

namespace silurus::rtree {

/// Where part `index` of `parts` begins, if they share `size` items evenly.
inline std::size_t part_begin(std::size_t size, std::size_t parts, std::size_t index) {
  return static_cast<std::size_t>(static_cast<unsigned __int128>(size) * index / parts);
}

template <typename Item>
double centre(const Item& item, int axis) {
  return 0.5 * item.box.min[axis] + 0.5 * item.box.max[axis];
}

/// The axis along which the centres lie farthest apart. At least one item.
template <int D, typename Item>
int longest_axis(std::span<const Item> items) {
  int longest = 0;
  double length = -1;
  for (int d = 0; d < D; ++d) {
    double low = centre(items[0], d);
    double high = low;
    for (const Item& item : items) {
      low = std::min(low, centre(item, d));
      high = std::max(high, centre(item, d));
    }
    if (high - low > length) {
      length = high - low;
      longest = d;
    }
  }
  return longest;
}

template <typename Item>
std::uint64_t id_of(const Item& item) {
  if constexpr (requires { item.id; }) {
    return item.id;
  } else {
    return item.ids.least;
  }
}

/// Reorders the items so that the first `cut` lie on one side of the others.
template <int D, typename Item>
void halve(std::span<Item> items, std::size_t cut) {
  const int axis = longest_axis<D, Item>(items);
  const auto is_before = [axis](const Item& a, const Item& b) {
    const double x = centre(a, axis);
    const double y = centre(b, axis);
    return x != y ? x < y : id_of(a) < id_of(b);
  };
  std::nth_element(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(cut), items.end(),
                   is_before);
}

}  // namespace silurus::rtree
