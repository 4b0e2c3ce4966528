// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "silurus/api.h"
#include "silurus/result.h"
#include "silurus/time.h"
#include "silurus/types.h"

namespace silurus {

struct LocalTreeOptions {
  /// Memory that nodes may take; a write that needs more fails with kOutOfMemory and changes
  /// nothing. Memory is taken from the system only as nodes fill it.
  std::uint64_t memory_budget_bytes = std::uint64_t{64} << 30;
};

/// A leaf of a tree: its number, the box of its entries, and their ids.
template <int D>
struct LeafOfTree {
  std::uint64_t number;
  Box<D> bounds;
  std::vector<std::uint64_t> ids;
};

/// The k entries nearest to a box, by the distance between boxes (0 where they meet), and all
/// others that are as near as the k-th.
template <int D>
struct NearestBoxQuery {
  Box<D> box;
  std::uint32_t k = 1;                    ///< at least 1
  ResultShape shape = ResultShape::kIds;  ///< kEntries: with their boxes
};

/// Nearest first; equal distances in the order of ids.
template <int D>
struct NearestBoxResult {
  NearestResult neighbors;
  std::vector<Box<D>> boxes;  ///< parallel to them if entries were asked for, else empty
};

/// The tree of a server, in this process and without a server: for programs that use the R-tree of
/// Boost or of libspatialindex. Nothing is kept when it is destroyed. Movable.
///
///   auto tree = silurus::LocalTree<2>::create();
///   tree->insert(1, {{2.34, 48.85}, {2.36, 48.87}}).value();
///   tree->publish();
///   silurus::RangeResult<2> found;
///   tree->range({.window = {{2, 48}, {3, 49}}}, found).value();
///
/// One thread at a time may write. Any number of threads may search meanwhile, without locks: a
/// search sees the version that was published last, and never a part of a version.
///
/// kInvalidArgument: a coordinate is NaN or infinite, a box has its edges the wrong way round, k is
/// 0. A call that fails changes nothing.
template <int D>
class SILURUS_API LocalTree {
 public:
  static Result<LocalTree> create(const LocalTreeOptions& options = {});
  LocalTree(LocalTree&&) noexcept;
  LocalTree& operator=(LocalTree&&) noexcept;
  /// No search may be under way.
  ~LocalTree();

  // --- writes: searches see them after publish()
  Status insert(std::uint64_t id, const Box<D>& box);
  /// kNotFound if there is no entry of that id and box; so does update.
  Status erase(std::uint64_t id, const Box<D>& box);
  Status update(std::uint64_t id, const Box<D>& from, const Box<D>& to);
  /// Makes the changes since the last call visible, all at once; the number of the version.
  Version publish();
  /// Builds and publishes the tree of all these entries, in parallel. kConflict unless it is empty.
  /// `fill` of leaves in (0, 1]; 0 for the default.
  Result<Version> load(std::vector<Entry<D>> entries, double fill = 0);

  // --- searches of the version that was published last
  Status range(const RangeQuery<D>& query, RangeResult<D>& result) const;
  Status nearest(const NearestQuery<D>& query, NearestResult& result) const;
  Status nearest(const NearestBoxQuery<D>& query, NearestBoxResult<D>& result) const;
  /// Several searches interleaved, each prefetching its next node while others run: faster than one
  /// by one. A result for each query; a query that is refused fails all.
  Status range_batch(std::span<const RangeQuery<D>> queries,
                     std::span<RangeResult<D>> results) const;
  Status nearest_batch(std::span<const NearestQuery<D>> queries,
                       std::span<NearestResult> results) const;

  // --- about it, as published last
  Version version() const;
  std::uint64_t size() const;  ///< entries
  /// The least box that holds all entries; none if there are none.
  std::optional<Box<D>> bounds() const;
  std::vector<LeafOfTree<D>> leaves() const;

 private:
  struct SILURUS_INTERNAL Impl;
  explicit LocalTree(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus
