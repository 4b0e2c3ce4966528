#pragma once

#include <cstdint>

#include "rtree/node_ref.h"

namespace silurus::rtree {

/// Chunks with successive numbers for a whole tree that is made beside the one that is published,
/// built or copied: its root is in the first one.
struct Run {
  std::uint32_t first = 0;
  std::uint32_t chunks = 0;
  Version birth = 0;  ///< the version that it is to be
  NodeRef root() const { return {first, birth}; }
  /// Whether it can have a node of that name.
  bool has(NodeRef ref) const {
    return ref.chunk() >= first && ref.chunk() - first < chunks && ref.is_born_in(birth);
  }
  friend bool operator==(const Run&, const Run&) = default;
};

}  // namespace silurus::rtree
