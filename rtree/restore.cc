// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "common/check.h"
#include "rtree/records.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

/// Nodes that a thread takes at a time.
constexpr std::size_t kNodesPerTurn = 1024;

/// Runs `work(first, last)` over [0, count) on some threads, which stop at the first false; returns
/// whether all were true. `progress` is called on this thread.
template <typename Work, typename Progress>
bool for_each_part(std::size_t count, unsigned threads, const Work& work,
                   const Progress& progress) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> good{true};
  const auto run = [&](bool reports) {
    for (;;) {
      // Counters only: the join below makes the threads' writes visible.
      const std::size_t first = next.fetch_add(kNodesPerTurn, std::memory_order_relaxed);
      if (first >= count || !good.load(std::memory_order_relaxed)) return;
      if (!work(first, std::min(count, first + kNodesPerTurn))) {
        good.store(false, std::memory_order_relaxed);
      }
      if (reports) progress(first);
    }
  };
  std::vector<std::jthread> others;
  try {
    while (others.size() + 1 < threads && others.size() * kNodesPerTurn < count) {
      others.emplace_back(run, false);
    }
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do it all.
  }
  run(true);
  others.clear();
  return good.load(std::memory_order_relaxed);
}

}  // namespace

/// One run of Tree::restore: level by level, the nodes of a level on several threads.
template <int D>
class Restorer {
 public:
  Restorer(Tree<D>& tree, const StoredNodes<D>& nodes, const RestoreOptions& options)
      : tree_(tree), nodes_(nodes), options_(options) {
    if (options_.threads == 0) options_.threads = std::max(1u, std::thread::hardware_concurrency());
  }

  /// Makes the first tree, and others beside it.
  Status run(std::span<const StoredTree> trees, Version version,
             std::vector<std::unique_ptr<Tree<D>>>& others) {
    for (const StoredTree& stored : trees) {
      if (stored.root_chunk != 0) {
        if (Status claimed = claim_root_block(stored.root_chunk); !claimed) return claimed;
      }
      if (Status placed = place(stored.root, false, nullptr); !placed) return placed;
      if (!stored.index) continue;
      if (Status placed = place(stored.index, true, nullptr); !placed) return placed;
    }
    tree_.forest_->arena.set_used(used_, done_);
    for (const StoredTree& stored : trees) {
      if (stored.root_chunk == 0) {
        adopt(tree_, stored);
      } else {
        const bool has_records = stored.index && tree_.node(stored.index).level() == kPairLevel;
        others.emplace_back(new Tree<D>(tree_.forest_, stored.number, stored.root_chunk,
                                        {bool(stored.index), has_records}));
        adopt(*others.back(), stored);
      }
    }
    Forest<D>& forest = *tree_.forest_;
    forest.current = std::max(forest.current, version);
    forest.pending = forest.current + 1;
    tree_.update_stats();
    return {};
  }

  /// Puts the nodes of the tree below `root` at their places: all of them in the run, if it is to
  /// be in one. `is_index`: it is an id index, perhaps with records beside it.
  Status place(NodeRef root, bool is_index, const Run* run) {
    const std::uint32_t expected = level_of(root);
    if ((is_index_level(expected) || expected == kPairLevel) != is_index) {
      return damaged(root, "is of another kind");
    }
    for (std::vector<WantedNode> level{{root, expected}}; !level.empty();
         level = children_of(level)) {
      if (Status claimed = claim(level, run); !claimed) return claimed;
      if (Status copied = copy(level); !copied) return copied;
      done_ += level.size();
    }
    return {};
  }

 private:
  /// The level that the root says it is of, nothing being checked yet but that there is such one.
  std::uint32_t level_of(NodeRef root) const {
    NodeHeader header{};
    const std::span<const std::byte> bytes = nodes_.find(root);
    if (bytes.size() >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
    const bool is_beside = is_index_level(header.level) || header.level == kPairLevel;
    return is_beside ? header.level : std::min(header.level, kMaxLevel);
  }

  /// Marks the chunks of some nodes, each of which must be free.
  Status claim(const std::vector<WantedNode>& nodes, const Run* run) {
    std::uint64_t end = 0;
    for (const auto& [ref, level, groups] : nodes) {
      const std::uint32_t chunks = chunks_of<D>(level);
      if (run != nullptr && !run->has(ref, chunks)) return damaged(ref, "is none of its run");
      if (kChunkShape<D>.spans_slabs(ref.chunk(), chunks)) return damaged(ref, "spans two slabs");
      end = std::max(end, std::uint64_t{ref.chunk()} + chunks);
    }
    if (Status covered = tree_.forest_->arena.cover(end); !covered) return covered;
    if (used_.size() < end) used_.resize(end);
    for (const auto& [ref, level, groups] : nodes) {
      for (std::uint32_t i = 0; i < chunks_of<D>(level); ++i) {
        const std::uint32_t chunk = ref.chunk() + i;
        if (chunk < kRootChunks<D> || used_[chunk]) return damaged(ref, "is named twice");
        used_[chunk] = true;
      }
    }
    return {};
  }

  Status claim_root_block(std::uint32_t first) {
    const std::uint64_t end = std::uint64_t{first} + kRootChunks<D>;
    const bool is_place = first >= kRootChunks<D> &&
                          !kChunkShape<D>.spans_slabs(first, kRootChunks<D>) &&
                          end <= NodeRef::kMaxChunks;
    if (is_place) {
      if (Status covered = tree_.forest_->arena.cover(end); !covered) return covered;
      if (used_.size() < end) used_.resize(end);
    }
    for (std::uint64_t chunk = first; is_place && chunk < end; ++chunk) {
      if (used_[chunk]) return bad_root_block(first);
      used_[chunk] = true;
    }
    return is_place ? Status() : bad_root_block(first);
  }

  static Status bad_root_block(std::uint32_t first) {
    return fail(ErrorCode::kProtocol,
                "chunk " + std::to_string(first) + " is no place for the root of a stored tree");
  }

  Status copy(const std::vector<WantedNode>& level) {
    std::atomic<std::size_t> bad{level.size()};
    const auto copy_part = [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        if (!copy_node(level[i])) {
          bad.store(i, std::memory_order_relaxed);  // read after the join
          return false;
        }
      }
      return true;
    };
    const auto report = [&](std::size_t nodes) {
      if (options_.progress) options_.progress(done_ + nodes);
    };
    if (!for_each_part(level.size(), options_.threads, copy_part, report)) {
      return damaged(level[bad.load(std::memory_order_relaxed)].ref, "is missing or damaged");
    }
    return {};
  }

  bool copy_node(const WantedNode& expected) {
    const std::span<const std::byte> bytes = nodes_.find(expected.ref);
    const std::size_t size = node_bytes<D>(expected.level);
    if (bytes.size() < size) return false;
    Node<D>& node = tree_.forest_->arena.mutable_node(expected.ref.chunk());
    std::memcpy(static_cast<void*>(&node), bytes.data(), size);
    return check_node<D>({reinterpret_cast<const std::byte*>(&node), size}, expected,
                         NodeRef::kMaxChunks, true) != nullptr;
  }

  std::vector<WantedNode> children_of(const std::vector<WantedNode>& nodes) const {
    std::vector<WantedNode> children;
    const bool has_none = std::ranges::all_of(nodes, is_childless, &WantedNode::level);
    if (has_none) return children;
    children.reserve(nodes.size() * kInnerFanout<D> / 2);
    for (const WantedNode& one : nodes) {
      for_each_child(tree_.node(one.ref), [&](WantedNode child) { children.push_back(child); });
    }
    return children;
  }

  /// All nodes are in place: makes them the tree.
  static void adopt(Tree<D>& tree, const StoredTree& stored) {
    const NodeRef root = stored.root;
    tree.root_ = root;
    tree.take_published_index(stored.index);
    tree.forest_->current = std::max(tree.forest_->current, tree.node(root).birth());
    publish_root(tree.root_block(), root, tree.node(root), stored.index);
  }

  static Status damaged(NodeRef ref, const char* how) {
    return fail(ErrorCode::kProtocol, "node " + std::to_string(ref.chunk()) + " of version " +
                                          std::to_string(ref.birth()) + " of the stored tree " +
                                          how);
  }

  Tree<D>& tree_;
  const StoredNodes<D>& nodes_;
  RestoreOptions options_;
  std::vector<bool> used_;
  std::uint64_t done_ = 0;
};

template <int D>
Result<std::vector<std::unique_ptr<Tree<D>>>> Tree<D>::restore(
    const TreeOptions& options, SlabSource& slabs, const Clock& clock,
    std::span<const StoredTree> trees, Version version, const StoredNodes<D>& nodes,
    const RestoreOptions& restore_options) {
  SILURUS_CHECK(!trees.empty() && trees.front().root_chunk == 0);
  auto bare = create_bare(options, slabs, clock);
  if (!bare) return fail(bare.error());
  std::vector<std::unique_ptr<Tree>> restored;
  restored.push_back(std::move(*bare));
  Restorer<D> restorer(*restored.front(), nodes, restore_options);
  if (Status done = restorer.run(trees, version, restored); !done) return fail(done.error());
  return restored;
}

template <int D>
Result<std::unique_ptr<Tree<D>>> Tree<D>::restore(const TreeOptions& options, SlabSource& slabs,
                                                  const Clock& clock, NodeRef root,
                                                  const StoredNodes<D>& nodes,
                                                  const RestoreOptions& restore_options) {
  const StoredTree stored{.root = root};
  auto trees = restore(options, slabs, clock, std::span(&stored, 1), 0, nodes, restore_options);
  if (!trees) return fail(trees.error());
  return std::move(trees->front());
}

template <int D>
Status Tree<D>::restore_run(const Run& run, const StoredNodes<D>& nodes,
                            const RestoreOptions& options) {
  return Restorer<D>(*this, nodes, options).place(run.root(), false, &run);
}

template <int D>
WantedNode Tree<D>::seal() {
  seal_batch();
  return {root_, node(root_).level()};
}

template <int D>
void Tree<D>::skip_to(Version next) {
  SILURUS_CHECK(forest_->changed.empty() && next >= forest_->pending);
  forest_->pending = next;
}

template Result<std::vector<std::unique_ptr<Tree<2>>>> Tree<2>::restore(
    const TreeOptions&, SlabSource&, const Clock&, std::span<const StoredTree>, Version,
    const StoredNodes<2>&, const RestoreOptions&);
template Result<std::unique_ptr<Tree<2>>> Tree<2>::restore(const TreeOptions&, SlabSource&,
                                                           const Clock&, NodeRef,
                                                           const StoredNodes<2>&,
                                                           const RestoreOptions&);
template Result<std::vector<std::unique_ptr<Tree<3>>>> Tree<3>::restore(
    const TreeOptions&, SlabSource&, const Clock&, std::span<const StoredTree>, Version,
    const StoredNodes<3>&, const RestoreOptions&);
template Result<std::unique_ptr<Tree<3>>> Tree<3>::restore(const TreeOptions&, SlabSource&,
                                                           const Clock&, NodeRef,
                                                           const StoredNodes<3>&,
                                                           const RestoreOptions&);
template Status Tree<2>::restore_run(const Run&, const StoredNodes<2>&, const RestoreOptions&);
template Status Tree<3>::restore_run(const Run&, const StoredNodes<3>&, const RestoreOptions&);
template WantedNode Tree<2>::seal();
template WantedNode Tree<3>::seal();
template void Tree<2>::skip_to(Version);
template void Tree<3>::skip_to(Version);

}  // namespace silurus::rtree
