// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "common/result.h"
#include "replication/catalogue.h"
#include "rtree/tree.h"

namespace silurus::replication {

/// What a checkpoint says of a server's trees: where their roots are, and which collections they
/// are.
struct StoredForest {
  rtree::ForestRoots roots;
  Catalogue catalogue;

  /// Bytes of what encode() makes, at most.
  static constexpr std::size_t kMostBytes = std::size_t{255} << 10;
  /// But for the version and the number of entries.
  std::vector<std::byte> encode() const;
  /// kProtocol if the bytes are not what encode() made, or a collection has no tree.
  static Result<StoredForest> decode(std::span<const std::byte> bytes, rtree::Version version,
                                     std::uint64_t entries);
};

/// Forest of a server with nothing but the default collection, at the version below that root:
/// published, or of the sealed batch.
template <int D>
StoredForest only_tree(const rtree::Tree<D>& tree, rtree::NodeRef root) {
  StoredForest forest{.roots = {}, .catalogue = Catalogue(D)};
  forest.roots.version = tree.batch_node(root).birth();
  tree.add_to(forest.roots, root, {});
  return forest;
}

}  // namespace silurus::replication
