// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "rtree/geometry.h"

namespace silurus::testing_support {

/// Entry `index` of `count`, a multiple of 2 that 7,919 does not divide, all of which hold the
/// origin: so do the boxes of all nodes. Where such an entry lies depends on the size of its box,
/// and its id does not. So neither boxes nor ids tell where not to look for an entry at the origin:
/// it takes all nodes. Ids are even, from 0 on.
inline rtree::Entry<2> crowd_entry(std::uint64_t index, std::uint64_t count) {
  const double size = 1 + static_cast<double>(index);
  return {2 * (index * 7919 % count), {{-size, -size}, {2 * size, 2 * size}}};
}

}  // namespace silurus::testing_support
