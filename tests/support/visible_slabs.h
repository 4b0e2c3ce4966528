// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rtree/arena.h"

namespace silurus::testing_support {

/// Slabs that a test can look into, as a remote reader would.
class VisibleSlabs final : public rtree::SlabSource {
 public:
  Result<std::span<std::byte>> allocate(std::size_t bytes) override {
    auto slab = source_.allocate(bytes);
    if (slab) slabs.push_back(*slab);
    return slab;
  }
  std::vector<std::span<std::byte>> slabs;

 private:
  rtree::AnonymousSlabs source_;
};

}  // namespace silurus::testing_support
