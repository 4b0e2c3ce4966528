// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "rtree/arena.h"
#include "rtree/node_ref.h"
#include "rtree/reader_slots.h"
#include "rtree/reclaimer.h"
#include "rtree/run.h"

namespace silurus::rtree {

template <int D>
class Tree;

struct TreeOptions {
  /// Retired nodes are recycled no sooner than this after the version that retired them was
  /// published: the time lease of remote readers. 0 if all reads go through this object.
  Nanoseconds grace = 0;
  /// Memory that nodes may take, retired ones included. Reaching it is an error of the write that
  /// needed more (kOutOfMemory), which then has no effect; searches and erasures go on.
  std::uint64_t memory_budget_bytes = std::uint64_t{4} << 30;
  /// Retired memory beyond which reclaim() asks the writer to wait; 0: a quarter of the budget.
  std::uint64_t retired_limit_bytes = 0;
  /// Store a checksum in each node at publication (for remote readers that verify).
  bool checksums = true;
};

/// The old nodes of one tree: what pins them, and those that wait to be recycled. It outlives a
/// tree that is removed, until no reader can have a node of it any more.
template <int D>
class OldNodes {
 public:
  explicit OldNodes(Nanoseconds grace) : slots_(ReaderSlots::create()), reclaimer_(grace) {}

  ReaderSlots& slots() const { return *slots_; }
  const Reclaimer& reclaimer() const { return reclaimer_; }

  /// Takes over nodes that the version published at `now` no longer holds.
  void retire(std::span<const RetiredNode> nodes, Nanoseconds now) {
    reclaimer_.retire(nodes, now);
  }
  /// Takes over all nodes below one, and that one, of which the version `death`, published at
  /// `now`, no longer holds any. They are retired by collect(), some at a time.
  void retire_subtree(NodeRef ref, std::uint32_t level, Version death, Nanoseconds now) {
    subtrees_.push_back({ref, level, death, now});
  }
  /// The tree is removed: when all nodes are recycled, `block`, the first chunk of its root block,
  /// is free as well.
  void end_with(std::uint32_t block) { block_ = block; }
  std::optional<std::uint32_t> block() const { return block_; }
  bool is_noted = false;  ///< Forest::recycling has it
  /// Whether there is nothing left to recycle.
  bool is_empty() const { return subtrees_.empty() && reclaimer_.retired_count() == 0; }
  /// Whether collect() may find something at that time.
  bool is_due(Nanoseconds now) const {
    const bool has_waiting = reclaimer_.retired_count() > reclaimer_.pinned_count();
    return !subtrees_.empty() || reclaimer_.pinned_count() != 0 ||
           (has_waiting && reclaimer_.next_deadline() <= now);
  }

  /// Nodes that one collect() takes out of subtrees, at most: a tenth of a millisecond or so.
  static constexpr std::size_t kNodesAtOnce = 2048;
  /// The nodes whose chunks may be recycled now, while `current` is the version published last;
  /// valid until the next call.
  std::span<const RetiredNode> collect(const Arena<D>& arena, Version current, Nanoseconds now,
                                       std::size_t most_of_subtrees = kNodesAtOnce);

 private:
  struct Subtree {
    NodeRef ref;
    std::uint32_t level;
    Version death;
    Nanoseconds published;
  };

  void retire_some(const Arena<D>& arena, std::size_t most);

  const std::shared_ptr<ReaderSlots> slots_;
  /// The writer's; on other lines of the cache than what each reader looks at.
  alignas(64) Reclaimer reclaimer_;
  std::vector<Subtree> subtrees_;
  std::optional<std::uint32_t> block_;
  std::vector<std::uint64_t> pinned_words_;
  std::vector<Version> pinned_;
};

/// Sums over the old nodes of all trees.
struct OldChunks {
  std::uint64_t nodes = 0;
  std::uint64_t retired = 0;  ///< chunks of them
  std::uint64_t held = 0;     ///< chunks that snapshots hold
  Nanoseconds deadline = 0;   ///< when the grace of the oldest waiting one ends; 0: none waits
};

/// What several trees share: the memory of their nodes, the numbers of their versions, and the
/// batch under way. So a batch may change any of them and is one version, and a version says what
/// all of them hold. Owned by its trees together. One thread at a time: the writer of all of them.
template <int D>
struct Forest {
  Forest(const TreeOptions& of_trees, Arena<D> of_nodes, const Clock& time)
      : options(of_trees), clock(&time), arena(std::move(of_nodes)) {}
  Forest(const Forest&) = delete;
  Forest& operator=(const Forest&) = delete;

  Nanoseconds now() const { return options.grace == 0 ? 0 : clock->now(); }
  /// The part of a tree that keeps its old nodes.
  OldNodes<D>& add_old_nodes() {
    return *old_nodes.emplace_back(std::make_unique<OldNodes<D>>(options.grace));
  }

  const TreeOptions options;
  const Clock* clock;
  Arena<D> arena;
  std::vector<std::unique_ptr<OldNodes<D>>>
      old_nodes;                        ///< one for each tree, removed ones included
  std::vector<OldNodes<D>*> recycling;  ///< those that are not empty
  Version current = 0;                  ///< published last

  // The batch.
  Version pending = 1;
  /// What entries of keyed trees are said to be written in; 0: the batch's version.
  Version version_of_writes = 0;
  std::vector<NodeRef> born;      ///< may name dropped nodes
  std::vector<Run> runs;          ///< where bulk loads lie
  std::vector<Tree<D>*> changed;  ///< trees whose root is of the batch
  bool is_sealed = false;         ///< the batch, as it is

  /// Written by the writer, read by stats(): relaxed, each true by itself.
  struct Counters {
    std::atomic<std::uint64_t> nodes{0};
    std::atomic<std::uint64_t> chunks{0};  ///< chunks of nodes and of root blocks
    std::atomic<std::uint64_t> retired{0};
    std::atomic<std::uint64_t> held{0};
    std::atomic<std::uint64_t> singles{0};
    std::atomic<std::uint64_t> groups{0};
    std::atomic<std::uint64_t> next{0};
    std::atomic<std::uint64_t> slabs{0};
    std::atomic<std::uint64_t> copied{0};
    std::atomic<std::uint64_t> split{0};
    std::atomic<std::uint64_t> joined{0};
    std::atomic<std::uint64_t> recycled{0};
  };
  Counters counters;

  /// To be called whenever a tree's old nodes have become more.
  void note_old_nodes(OldNodes<D>& old);
  OldChunks old_chunks() const;
  /// Recycles what may be recycled, of all trees.
  void recycle(Nanoseconds time, std::size_t most_of_subtrees = OldNodes<D>::kNodesAtOnce);

  /// Adds to a counter that only the writer changes.
  static void add(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
    counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
};

}  // namespace silurus::rtree
