#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "rtree/tree.h"
#include "server/executor.h"
#include "server/load.h"
#include "server/writer.h"

namespace silurus::server {

struct ShardOptions {
  Nanoseconds grace = 0;
  std::uint64_t memory_budget_bytes = 0;
  unsigned build_threads = 0;  ///< of bulk loads; 0: all cores
};

/// One tree with all that changes it: its writer and the place of a bulk load. Any thread, as its
/// parts say.
template <int D>
class Shard {
 public:
  /// slabs, clock, executor: must outlive it.
  static Result<std::unique_ptr<Shard>> create(const ShardOptions& options,
                                               rtree::SlabSource& slabs, const Clock& clock,
                                               Executor& executor);

  const rtree::Tree<D>& tree() const { return *tree_; }
  Writer<D>& writer() { return writer_; }
  const Writer<D>& writer() const { return writer_; }
  LoadSlot& load_slot() { return load_slot_; }
  const LoadSlot& load_slot() const { return load_slot_; }
  const ShardOptions& options() const { return options_; }

  /// Builds the tree of a load on the executor, with the writer's role, which the caller has taken;
  /// then gives role and slot back and calls `done` on whatever thread that was.
  void build(LoadJob<D>& job, std::function<void()> done);
  /// Before there are any clients: builds the tree and publishes it.
  Result<rtree::Version> load(std::vector<rtree::Entry<D>> entries);

 private:
  Shard(const ShardOptions& options, std::unique_ptr<rtree::Tree<D>> tree, Executor& executor);

  const ShardOptions options_;
  std::unique_ptr<rtree::Tree<D>> tree_;
  Executor& executor_;
  Writer<D> writer_;
  LoadSlot load_slot_;
};

}  // namespace silurus::server
