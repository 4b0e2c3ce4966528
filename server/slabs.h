// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "common/result.h"
#include "rtree/arena.h"
#include "transport/fabric.h"
#include "transport/shm/memory.h"

namespace silurus::server {

/// Where the two cores meet: the memory of a tree, which clients may read one-sidedly. Each slab is
/// exposed at every listener that can expose memory, as the region of the slab's own number, before
/// the tree gets it: before any node in it can be named. Owned by the server; outlives its tree.
/// Any thread.
class RegisteredSlabs final : public rtree::SlabSource {
 public:
  struct Options {
    bool huge_pages = false;
  };
  explicit RegisteredSlabs(const Options& options) : options_(options) {}

  Result<std::span<std::byte>> allocate(std::size_t bytes) override;
  /// Exposes all slabs, those of the future too. The listener stays until remove_listeners().
  Status add_listener(transport::Listener& listener);
  void remove_listeners();

  std::uint64_t bytes() const;
  /// Whether the system gave pages of its pool of huge ones for every slab so far.
  bool huge() const;

 private:
  struct Reader {
    transport::Listener* listener;
    std::size_t exposed;  ///< how many of the slabs, from the first on
  };
  Status expose_all(Reader& reader);

  const Options options_;
  mutable std::mutex mutex_;
  std::vector<transport::shm::SharedSlab> slabs_;
  std::size_t given_ =
      0;  ///< slabs that the tree has; one more was made but not exposed everywhere
  std::vector<Reader> readers_;
};

}  // namespace silurus::server
