// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "common/random.h"
#include "rtree/geometry.h"
#include "tests/support/seed.h"

namespace silurus::testing_support {

/// How many entries are there in all, and how many each of thirty windows meets:
/// "COUNT XMIN,YMIN,XMAX,YMAX,COUNT ...", for a program that counts in the same file. Windows lie
/// anywhere where entries do, and reach over a fifth of that at most.
inline std::string counts_of_windows(const std::vector<rtree::Entry<2>>& entries) {
  constexpr int kWindows = 30;
  constexpr double kPart = 0.2;
  if (entries.empty()) return "0";
  rtree::Box<2> bounds = entries[0].box;
  for (const auto& entry : entries) {
    for (std::size_t d = 0; d < 2; ++d) {
      bounds.min[d] = std::min(bounds.min[d], entry.box.min[d]);
      bounds.max[d] = std::max(bounds.max[d], entry.box.max[d]);
    }
  }
  Random random(seed(20261202));
  std::ostringstream text;
  text.precision(17);
  text << entries.size();
  for (int i = 0; i < kWindows; ++i) {
    rtree::Box<2> window;
    for (std::size_t d = 0; d < 2; ++d) {
      const double length = bounds.max[d] - bounds.min[d];
      window.min[d] = random.uniform(bounds.min[d], bounds.max[d]);
      window.max[d] = window.min[d] + random.uniform(0, length * kPart);
    }
    const auto count = std::ranges::count_if(
        entries, [&](const auto& entry) { return rtree::intersects(window, entry.box); });
    text << " " << window.min[0] << "," << window.min[1] << "," << window.max[0] << ","
         << window.max[1] << "," << count;
  }
  return text.str();
}

}  // namespace silurus::testing_support
