// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rtree/geometry.h"

namespace silurus::bench {

/// Boost.Geometry's rtree with rstar<16>, the baseline, behind an interface that keeps its headers
/// out of the way. Not thread-safe for writers.
class BoostTree {
 public:
  BoostTree();
  ~BoostTree();
  BoostTree(BoostTree&&) noexcept;
  BoostTree& operator=(BoostTree&&) noexcept;

  /// Built by its packing constructor.
  static BoostTree packed(const std::vector<rtree::Entry<2>>& entries);
  void insert(const rtree::Entry<2>& entry);

  /// Each appends what it finds for all the queries of a run, so that what is timed is Boost's
  /// code, not the calls: the number of results comes back. `ids` is cleared for each query.
  std::uint64_t intersects(const std::vector<rtree::Box<2>>& windows) const;
  std::uint64_t nearest(const std::vector<rtree::Point<2>>& points, unsigned k) const;
  void intersects(const rtree::Box<2>& window, std::vector<std::uint64_t>& ids) const;
  void nearest(const rtree::Point<2>& point, unsigned k, std::vector<rtree::Entry<2>>& found) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus::bench
