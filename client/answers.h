#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/policy.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "rtree/node_ref.h"

// What the calls of a client return.

namespace silurus::client {

/// What a range search found: count, ids, boxes (rtree::RangeResult), and where it was found.
template <int D>
struct RangeAnswer : rtree::RangeResult<D> {
  rtree::Version version = 0;  ///< of the tree that this is the answer of
  Access access = Access::kMessaging;
};

/// Neighbours, nearest first; equal distances in the order of ids.
struct NearestAnswer {
  rtree::NearestResult neighbors;
  rtree::Version version = 0;
  Access access = Access::kMessaging;

  std::size_t size() const { return neighbors.size(); }
  bool empty() const { return neighbors.empty(); }
  const rtree::Neighbor& operator[](std::size_t i) const { return neighbors[i]; }
  auto begin() const { return neighbors.begin(); }
  auto end() const { return neighbors.end(); }
};

/// An operation of a batch that had no effect, and why.
struct FailedWrite {
  std::size_t index;  ///< in the batch
  ErrorCode code;
};

/// The batch is visible in this version, save for the operations that failed.
struct WriteAnswer {
  rtree::Version version = 0;
  std::vector<FailedWrite> failed;
};

struct LoadAnswer {
  rtree::Version version = 0;
  std::uint64_t entries = 0;  ///< in the tree
};

/// What one step of a compaction came to.
struct CompactAnswer {
  std::uint64_t next = 0;  ///< where the next step begins
  bool is_done = false;    ///< there is no next one
  /// The step was put off until memory that older versions took has come back: ask again in some
  /// milliseconds.
  bool must_wait = false;
  double share = 0;  ///< how much of the compaction is done: in [0, 1]
  std::uint64_t saved_nodes = 0;
  std::uint64_t saved_bytes = 0;
  rtree::Version version = 0;
  std::uint64_t nodes = 0;  ///< that the tree has now
  std::uint64_t bytes = 0;
  std::uint64_t bytes_retired = 0;  ///< older versions take them besides,
  std::uint64_t bytes_held = 0;     ///< ... and these of them are held for readers
};

/// The server's statistics: JSON.
struct StatsAnswer {
  std::string json;
};

/// Changes that become visible at once, in one version.
///
///   WriteBatch<2> batch;
///   batch.insert(1, {{0, 0}, {1, 1}}).erase(2, {{3, 3}, {4, 4}});
template <int D>
class WriteBatch {
 public:
  WriteBatch& insert(std::uint64_t id, const rtree::Box<D>& box) {
    operations_.push_back({id, protocol::OperationKind::kInsert, 0, box, {}});
    return *this;
  }
  WriteBatch& erase(std::uint64_t id, const rtree::Box<D>& box) {
    operations_.push_back({id, protocol::OperationKind::kErase, 0, box, {}});
    return *this;
  }
  /// Moves an entry: searches see it at the old box or at the new one, never at both or neither.
  WriteBatch& update(std::uint64_t id, const rtree::Box<D>& from, const rtree::Box<D>& to) {
    operations_.push_back({id, protocol::OperationKind::kUpdate, 0, from, to});
    return *this;
  }

  void clear() { operations_.clear(); }
  std::size_t size() const { return operations_.size(); }
  const std::vector<protocol::Operation<D>>& operations() const { return operations_; }

 private:
  std::vector<protocol::Operation<D>> operations_;
};

}  // namespace silurus::client
