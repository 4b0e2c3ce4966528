// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "rtree/node_ref.h"

namespace silurus::client {

/// Which root the id index of a tree has, in the versions seen lately: mirrors of roots tell it,
/// and records of changes. It is true of a version at any time; which version is the current one
/// only the root word says. One thread.
class IndexRoots {
 public:
  struct Known {
    rtree::Version version = 0;  ///< 0: none
    rtree::NodeRef index;        ///< null: the tree has no index
  };

  void note(rtree::Version version, rtree::NodeRef index) {
    newest_ = (newest_ + 1) % known_.size();
    known_[newest_] = {version, index};
  }
  /// That of the version with this root; nullptr if it isn't known.
  const Known* find(rtree::NodeRef root) const {
    for (std::size_t i = 0; i < known_.size(); ++i) {
      const Known& known = known_[(newest_ + known_.size() - i) % known_.size()];
      if (known.version != 0 && root.is_born_in(known.version)) return &known;
    }
    return nullptr;
  }
  /// To be called when names come round again (NodeCache::observe).
  void clear() { known_ = {}; }

 private:
  std::array<Known, 16> known_{};
  std::size_t newest_ = 0;
};

}  // namespace silurus::client
