#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "rtree/arena.h"
#include "rtree/cursor.h"
#include "rtree/geometry.h"

namespace silurus::rtree {

struct TreeOptions {
  /// Retired nodes are recycled no sooner than this after the version that retired them was
  /// published: the time lease of remote readers. 0 where nobody reads but through this object.
  Nanoseconds grace = 0;
  /// Memory that nodes may take, retired ones included. Reaching it is an error of the write that
  /// needed more (kOutOfMemory), which then has no effect; searches and erasures go on.
  std::uint64_t memory_budget_bytes = std::uint64_t{4} << 30;
  /// Store a checksum in each node at publication (for remote readers that verify).
  bool checksums = true;
};

struct BulkLoadOptions {
  double fill = 0.0;       ///< of leaves, in (0, 1]; 0 for the default
  unsigned threads = 0;    ///< 0: all cores
};

struct TreeStats { /* version, entries, height, nodes, leaves, bytes used, bytes retired, ... */ };

template <int D>
class Snapshot;

/// The copy-on-write R*-tree. One writer at a time, many readers at once, no locks between them.
template <int D>
class Tree {
 public:
  static Result<std::unique_ptr<Tree>> create(const TreeOptions& options, SlabSource& slabs,
                                              const Clock& clock);
  ~Tree();

  // --- the writer: one thread at a time (the caller's promise)
  /// Changes go into an unpublished batch that no reader sees until publish().
  Status insert(const Entry<D>& entry);
  /// kNotFound if there is no such (id, box).
  Status erase(const Entry<D>& entry);
  /// Moves an entry: readers see it at the old box or at the new one, never at both or neither.
  Status update(std::uint64_t id, const Box<D>& from, const Box<D>& to);
  /// Makes the batch the current version; returns its number. Nothing changed: the current one.
  Version publish();
  /// Builds the tree from entries and publishes it. kConflict unless the tree is empty.
  Result<Version> bulk_load(std::vector<Entry<D>> entries, const BulkLoadOptions& options);
  /// Recycles what may be recycled; returns how long the writer should wait before it goes on
  /// because too much is retired (0: not at all).
  Nanoseconds reclaim();

  // --- readers: any thread
  /// The current version, pinned until the Snapshot is destroyed.
  Snapshot<D> snapshot() const;
  TreeStats stats() const;
};

/// One version of the tree, which stays readable as long as this object lives. Movable. Any number
/// of threads may search one Snapshot at once.
template <int D>
class Snapshot {
 public:
  Version version() const;
  std::uint64_t size() const;
  WantedNode root() const;
  const Node<D>& node(NodeRef ref) const;
  Status range(const RangeQuery<D>& query, RangeResult<D>& result) const;
  Status nearest(const NearestQuery<D>& query, NearestResult& result) const;
  /// Several searches interleaved, each prefetching its next node while the others run.
  Status range_batch(std::span<const RangeQuery<D>> queries, std::span<RangeResult<D>> results) const;
  /// Checks every invariant; the error says which one broke where.
  Status validate() const;
};

}  // namespace silurus::rtree
