// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <vector>

#include "common/random.h"
#include "rtree/geometry.h"

namespace silurus::rtree {

/// The brute-force twin of a tree: a list of entries, every one looked at.
template <int D>
class BruteForce {
 public:
  std::vector<Entry<D>> entries;

  std::vector<std::uint64_t> range(const RangeQuery<D>& query) const {
    std::vector<std::uint64_t> ids;
    for (const Entry<D>& entry : entries)
      if (matches(query, entry.box)) ids.push_back(entry.id);
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  NearestResult nearest(const NearestQuery<D>& query) const {
    NearestResult all;
    for (const Entry<D>& entry : entries) {
      all.push_back({entry.id, distance(query.point, entry.box)});
    }
    std::sort(all.begin(), all.end(), [](const Neighbor& a, const Neighbor& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
    });
    all.resize(std::min<std::size_t>(all.size(), query.k));
    return all;
  }
};

/// Draws boxes and points of one kind of data.
template <int D>
class Shapes {
 public:
  enum class Kind { kUniform, kGrid, kExtreme, kSpots };
  Shapes(Kind kind, std::uint64_t seed) : kind_(kind), random_(seed) {}

  Random& random() { return random_; }

  double coordinate() {
    switch (kind_) {
      case Kind::kUniform:
      case Kind::kSpots:
        return random_.uniform();
      case Kind::kGrid:  // few different numbers: many that are equal, zeros of both signs
        return (static_cast<double>(random_.below(9)) - 4.0) * (random_.below(2) ? 1.0 : -1.0);
      case Kind::kExtreme: {
        static constexpr double kValues[] = {0.0,
                                             -0.0,
                                             5e-324,
                                             -5e-324,
                                             1e-310,
                                             2.2250738585072014e-308,
                                             1e-45,
                                             1.0,
                                             1.0000000000000002,
                                             0.9999999999999999,
                                             -1.0,
                                             16777217.0,
                                             3.5e38,
                                             -3.5e38,
                                             1e300,
                                             -1e300,
                                             1.7976931348623157e308,
                                             -1.7976931348623157e308};
        return kValues[random_.below(std::size(kValues))];
      }
    }
    return 0;
  }

  Box<D> box(double edge) {
    Box<D> box;
    if (kind_ == Kind::kSpots) {  // many boxes of each of two, and some that are anywhere
      const std::uint64_t dice = random_.below(8);
      if (dice < 5) box.max.fill(0);
      if (dice == 5 || dice == 6) box.max.fill(1);
      if (dice < 7) return box;
    }
    for (int d = 0; d < D; ++d) {
      const double a = coordinate();
      const bool is_anywhere = kind_ == Kind::kUniform || kind_ == Kind::kSpots;
      const double b = is_anywhere ? a + edge * random_.uniform() : coordinate();
      box.min[d] = std::min(a, b);
      box.max[d] = std::max(a, b);
    }
    return box;
  }

  Point<D> point() {
    Point<D> point;
    for (int d = 0; d < D; ++d) point.at[d] = coordinate();
    return point;
  }

 private:
  Kind kind_;
  Random random_;
};

}  // namespace silurus::rtree
