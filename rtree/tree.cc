#include "rtree/tree.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <string>

#include "common/check.h"
#include "common/units.h"

namespace silurus::rtree {

template <int D>
Tree<D>::Tree(const TreeOptions& options, Arena<D> arena, const Clock& clock)
    : options_(options),
      clock_(&clock),
      arena_(std::move(arena)),
      slots_(ReaderSlots::create()),
      reclaimer_(options.grace) {}

template <int D>
Result<std::unique_ptr<Tree<D>>> Tree<D>::create_bare(const TreeOptions& options, SlabSource& slabs,
                                                      const Clock& clock) {
  if (options.memory_budget_bytes < kMinimumBudgetBytes) {
    return fail(ErrorCode::kInvalidArgument, "a memory budget of " +
                                                 std::to_string(options.memory_budget_bytes) +
                                                 " bytes is too small for a tree: at least " +
                                                 std::to_string(kMinimumBudgetBytes));
  }
  if (options.grace < 0) {
    return fail(ErrorCode::kInvalidArgument, "the grace period must not be negative");
  }
  const std::uint64_t chunks =
      std::min(options.memory_budget_bytes / kChunkBytes<D>, NodeRef::kMaxChunks);
  auto arena = Arena<D>::create(slabs, static_cast<std::uint32_t>(chunks));
  if (!arena) return fail(arena.error());
  new (arena->root_block()) RootBlock<D>();
  return std::unique_ptr<Tree>(new Tree(options, std::move(*arena), clock));
}

template <int D>
Result<std::unique_ptr<Tree<D>>> Tree<D>::create(const TreeOptions& options, SlabSource& slabs,
                                                 const Clock& clock) {
  auto bare = create_bare(options, slabs, clock);
  if (!bare) return bare;
  std::unique_ptr<Tree> tree = std::move(*bare);
  if (Status reserved = tree->arena_.reserve(1, kLeastReserve); !reserved) {
    return fail(reserved.error());
  }
  tree->root_ = tree->new_node(0);
  tree->publish();
  return tree;
}

template <int D>
Status Tree<D>::reserve(std::uint64_t chunks, std::uint64_t spare) {
  if (Status reserved = arena_.reserve(chunks, spare); reserved) return reserved;
  reclaim();
  Status reserved = arena_.reserve(chunks, spare);
  if (!reserved && reserved.error().code == ErrorCode::kOutOfMemory) {
    reserved.error().message += memory_text();
  }
  return reserved;
}

template <int D>
std::uint32_t Tree<D>::reserved_chunks() const {
  return std::clamp(arena_.max_chunks() / 16, kLeastReserve, kGreatestReserve);
}

/// What the budget is used for.
template <int D>
std::string Tree<D>::memory_text() const {
  const auto size = [](std::uint64_t chunks) { return format_size(chunks * kChunkBytes<D>); };
  const std::uint64_t retired = reclaimer_.retired_count() + retired_.size();
  return ": " + size(arena_.used() - arena_.free_count() - retired) + " by the tree, " +
         size(retired) + " by older versions (" + size(reclaimer_.held_count()) +
         " of them held for readers), and " + size(reserved_chunks()) + " are kept for erasures";
}

template <int D>
NodeRef Tree<D>::new_node(std::uint32_t level) {
  const NodeRef ref(arena_.allocate(), pending_);
  Node<D>& made = own_node(ref);
  made.reset(pending_, level);
  born_.push_back(ref);
  return ref;
}

template <int D>
NodeRef Tree<D>::own(NodeRef ref) {
  if (is_own(ref)) return ref;
  const Node<D>& old = node(ref);
  const NodeRef copy(arena_.allocate(), pending_);
  Node<D>& made = own_node(copy);
  std::memcpy(static_cast<void*>(&made), &old, node_bytes<D>(old.level()));
  made.header.birth = pending_;
  made.header.checksum = 0;
  born_.push_back(copy);
  retired_.push_back({ref.chunk(), old.birth(), pending_});
  counters_.copied.store(counters_.copied.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
  return copy;
}

template <int D>
void Tree<D>::drop(NodeRef ref) {
  if (is_own(ref)) {
    own_node(ref).header.birth = 0;
    arena_.release(ref.chunk());
  } else {
    retired_.push_back({ref.chunk(), node(ref).birth(), pending_});
  }
}

template <int D>
void Tree<D>::own_path(Path& path, std::uint32_t down_to_level) {
  lookup_.reset();
  root_ = own(root_);
  std::uint32_t level = root_node().level();
  path.nodes[level] = root_;
  for (; level > down_to_level; --level) {
    Node<D>& parent = own_node(path.nodes[level]);
    const NodeRef child = own(path.nodes[level - 1]);
    path.nodes[level - 1] = child;
    parent.inner.children[path.child[level]] = child.word();
  }
}

template <int D>
void Tree<D>::seal_batch() {
  if (options_.checksums) {
    for (const NodeRef ref : born_) {
      Node<D>& made = own_node(ref);
      if (made.header.birth == pending_) made.header.checksum = node_checksum(made);
    }
  }
}

template <int D>
void Tree<D>::abandon() {
  if (!is_own(root_)) return;
  free_born();
  retired_.clear();
  lookup_.reset();
  root_ = NodeRef::from_word(root_block().root.load(std::memory_order_relaxed));  // our own store
  update_stats();
}

template <int D>
void Tree<D>::free_born() {
  std::vector<std::uint32_t> chunks;
  for (const NodeRef ref : born_) chunks.push_back(ref.chunk());
  for (std::uint32_t i = 0; i < run_chunks_; ++i) chunks.push_back(run_ + i);
  std::sort(chunks.begin(), chunks.end(), std::greater());  // the lowest is reused first
  // A chunk that was dropped in the batch and used again is there twice.
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  for (const std::uint32_t chunk : chunks) {
    Version& birth = arena_.mutable_node(chunk).header.birth;
    if (birth != pending_) continue;  // dropped, and free already
    birth = 0;
    arena_.give_back(chunk);
  }
  born_.clear();
  run_chunks_ = 0;
}

template <int D>
Version Tree<D>::publish() {
  if (!is_own(root_)) return current_;
  SILURUS_CHECK(root_node().header.birth == pending_);
  seal_batch();
  born_.clear();
  run_chunks_ = 0;
  publish_root(root_block(), root_, root_node());
  current_ = pending_++;
  // The clock is read after publication: grace must not begin before it.
  reclaimer_.retire(retired_, options_.grace == 0 ? 0 : clock_->now());
  retired_.clear();
  reclaim();
  return current_;
}

template <int D>
Nanoseconds Tree<D>::reclaim() {
  const Nanoseconds now = options_.grace == 0 ? 0 : clock_->now();
  slots_->collect(pinned_words_);
  pinned_.clear();
  for (const std::uint64_t word : pinned_words_) {
    // The pinned word has the low bits of a version that is at most the current one.
    const Version behind =
        (current_ - NodeRef::from_word(word).birth()) & ((Version{1} << NodeRef::kBirthBits) - 1);
    pinned_.push_back(current_ - behind);
  }
  std::sort(pinned_.begin(), pinned_.end());
  const auto freed = reclaimer_.collect(now, pinned_);
  for (const std::uint32_t chunk : freed) arena_.release(chunk);
  counters_.recycled.store(counters_.recycled.load(std::memory_order_relaxed) + freed.size(),
                           std::memory_order_relaxed);
  update_stats();
  if (reclaimer_.retired_count() * kChunkBytes<D> <= retired_limit_bytes()) return 0;
  // What snapshots hold comes back at nobody knows when: look again in a millisecond.
  const Nanoseconds deadline = reclaimer_.next_deadline();
  return deadline > now ? deadline - now : kMillisecond;
}

template <int D>
void Tree<D>::update_stats() {
  const std::uint64_t retired = reclaimer_.retired_count();
  const std::uint64_t nodes = arena_.used() - kRootChunks<D> - arena_.free_count() - retired;
  counters_.nodes.store(nodes, std::memory_order_relaxed);
  counters_.retired.store(retired, std::memory_order_relaxed);
  counters_.held.store(reclaimer_.held_count(), std::memory_order_relaxed);
  counters_.slabs.store(arena_.slab_count(), std::memory_order_relaxed);
}

template <int D>
Snapshot<D> Tree<D>::snapshot() const {
  const HeldSlot held = slots_->acquire();
  const std::atomic<std::uint64_t>& root = root_block().root;
  std::uint64_t word = root.load(std::memory_order_relaxed);
  for (;;) {
    // Store the pin, then look again (Dekker): sequentially consistent both, paired with the store
    // of the root in publish_root and the load of the pin in ReaderSlots::collect. If the root is
    // still this one, the writer's next scan sees the pin. The load acquires the nodes.
    held.slot->pinned.store(word, std::memory_order_seq_cst);
    const std::uint64_t again = root.load(std::memory_order_seq_cst);
    if (again == word) return Snapshot<D>(this, held, NodeRef::from_word(word));
    word = again;
  }
}

template <int D>
Snapshot<D> Snapshot<D>::duplicate() const {
  const HeldSlot held = tree_->slots_->acquire();
  // Sequentially consistent, as in Tree::snapshot. There is nothing to look at again: our own pin
  // holds the version until the writer itself releases it, and its next scan comes after that.
  held.slot->pinned.store(root_.word(), std::memory_order_seq_cst);
  return Snapshot<D>(tree_, held, root_);
}

template <int D>
TreeStats Tree<D>::stats() const {
  const Snapshot<D> now = snapshot();
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);  // figures only: pairs with nothing
  };
  TreeStats stats;
  stats.version = now.version();
  stats.entries = now.size();
  stats.height = now.root().level + 1;
  stats.nodes = read(counters_.nodes);
  stats.bytes_used = (stats.nodes + kRootChunks<D>)*kChunkBytes<D>;
  stats.bytes_retired = read(counters_.retired) * kChunkBytes<D>;
  stats.bytes_held = read(counters_.held) * kChunkBytes<D>;
  stats.bytes_budget = options_.memory_budget_bytes;
  stats.bytes_retired_limit = retired_limit_bytes();
  stats.bytes_reserved = std::uint64_t{reserved_chunks()} * kChunkBytes<D>;
  stats.slabs = static_cast<std::uint32_t>(read(counters_.slabs));
  stats.copied_nodes = read(counters_.copied);
  stats.split_nodes = read(counters_.split);
  stats.joined_nodes = read(counters_.joined);
  stats.recycled_nodes = read(counters_.recycled);
  return stats;
}

template class Tree<2>;
template class Tree<3>;
template Snapshot<2> Snapshot<2>::duplicate() const;
template Snapshot<3> Snapshot<3>::duplicate() const;

}  // namespace silurus::rtree
