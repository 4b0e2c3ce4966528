// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "common/random.h"
#include "rtree/geometry.h"

namespace silurus::bench {

/// A small box somewhere in the unit square.
inline rtree::Box<2> random_box(Random& random) {
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + 1e-4 * random.uniform(), y + 1e-4 * random.uniform()}};
}

}  // namespace silurus::bench
