// SPDX-License-Identifier: Apache-2.0

#include "rtree/tree.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <new>
#include <string>

#include "common/check.h"
#include "common/units.h"
#include "rtree/grouping.h"
#include "rtree/records.h"

namespace silurus::rtree {

template <int D>
Tree<D>::Tree(std::shared_ptr<Forest<D>> forest, std::uint64_t number, std::uint32_t block,
              TreeKind kind)
    : forest_(std::move(forest)),
      number_(number),
      block_(block),
      is_keyed_(kind.is_keyed),
      has_records_(kind.has_records),
      old_nodes_(&forest_->add_old_nodes()) {
  new (forest_->arena.root_block(block_)) RootBlock<D>();
  set_retired(false);
}

template <int D>
Tree<D>::~Tree() {
  std::erase(forest_->changed, this);
}

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
  auto arena = Arena<D>::create(slabs, static_cast<std::uint32_t>(chunks), kGreatestReserve);
  if (!arena) return fail(arena.error());
  auto forest = std::make_shared<Forest<D>>(options, std::move(*arena), clock);
  return std::unique_ptr<Tree>(new Tree(std::move(forest), 0, 0));
}

template <int D>
Result<std::unique_ptr<Tree<D>>> Tree<D>::create(const TreeOptions& options, SlabSource& slabs,
                                                 const Clock& clock) {
  auto bare = create_bare(options, slabs, clock);
  if (!bare) return bare;
  std::unique_ptr<Tree> tree = std::move(*bare);
  if (Status room = tree->forest_->arena.reserve({1, 0}, tree->reserved()); !room) {
    return fail(room.error());
  }
  tree->note_change();
  tree->root_ = tree->new_node(0);
  tree->publish();
  return tree;
}

template <int D>
Result<std::unique_ptr<Tree<D>>> Tree<D>::add_tree(std::uint64_t number, TreeKind kind) {
  SILURUS_CHECK(kind.is_keyed || !kind.has_records);
  reclaim();  // perhaps the root block of a tree that was removed
  const NodeCounts roots = NodeCounts{1, 0} + nodes_beside(kind);
  const auto block = forest_->arena.take_root_block(reserved() + roots);
  if (!block) return fail(block.error());
  if (Status room = reserve(roots, reserved()); !room) {
    forest_->arena.give_back_root_block(*block);
    return fail(room.error());
  }
  std::unique_ptr<Tree> tree(new Tree(forest_, number, *block, kind));
  tree->note_change();
  tree->root_ = tree->new_node(0);
  tree->make_index();
  return tree;
}

template <int D>
void Tree<D>::remove(std::unique_ptr<Tree> tree) {
  Forest<D>& forest = *tree->forest_;
  const bool is_published = tree->root_block().root.load(std::memory_order_relaxed) != 0;
  SILURUS_CHECK(tree->block_ != 0 && !(tree->is_changed_ && is_published));
  std::erase(forest.changed, tree.get());
  tree->set_retired(true);
  if (tree->root_ && tree->is_own(tree->root_)) {
    SILURUS_CHECK(tree->node(tree->root_).header.entries == 0);
    tree->drop(tree->root_);
    tree->drop_index();
    if (forest.changed.empty()) forest.born.clear();  // all of them were dropped
  } else if (tree->root_) {
    tree->old_nodes_->retire_subtree(tree->root_, tree->node(tree->root_).level(), forest.pending,
                                     forest.now());
    if (const NodeRef index = tree->batch_index()) {
      tree->old_nodes_->retire_subtree(index, tree->node(index).level(), forest.pending,
                                       forest.now());
    }
  }
  tree->old_nodes_->end_with(tree->block_);
  forest.note_old_nodes(*tree->old_nodes_);
}

template <int D>
void Tree<D>::note_change() {
  lookup_.reset();
  if (is_changed_) return;
  is_changed_ = true;
  forest_->changed.push_back(this);
}

template <int D>
Status Tree<D>::touch() {
  if (Status room = reserve({1, 1}, {}); !room) return room;
  note_change();
  root_ = own(root_);
  return {};
}

template <int D>
Status Tree<D>::clear() {
  const NodeCounts roots = NodeCounts{1, 0} + nodes_beside({is_keyed_, has_records_});
  if (Status room = reserve(roots, {}); !room) return room;
  note_change();
  drop_below(root_);
  root_ = new_node(0);
  drop_index();
  make_index();
  return {};
}

/// Drops a node and all below it: published ones are retired with the batch.
template <int D>
void Tree<D>::drop_below(NodeRef ref) {
  std::vector<WantedNode> stack{{ref, node(ref).level()}};
  while (!stack.empty()) {
    const WantedNode here = stack.back();
    stack.pop_back();
    if (!is_own(here.ref)) {
      cleared_.push_back(here);
      continue;
    }
    for_each_child(node(here.ref), [&](WantedNode child) { stack.push_back(child); });
    drop(here.ref);
  }
}

template <int D>
Status Tree<D>::reserve(NodeCounts nodes, NodeCounts spare) {
  if (Status reserved = forest_->arena.reserve(nodes, spare); reserved) return reserved;
  reclaim();
  Status reserved = forest_->arena.reserve(nodes, spare);
  if (!reserved && reserved.error().code == ErrorCode::kOutOfMemory) {
    reserved.error().message += memory_text();
  }
  return reserved;
}

template <int D>
NodeCounts Tree<D>::reserved() const {
  const std::uint64_t of_each = std::clamp(forest_->arena.max_chunks() / 8 / (1 + kInnerChunks<D>),
                                           kLeastReserve, kGreatestReserve);
  return {of_each, of_each};
}

/// What the budget is used for.
template <int D>
std::string Tree<D>::memory_text() const {
  const auto size = [](std::uint64_t chunks) { return format_size(chunks * kChunkBytes<D>); };
  const OldChunks old = forest_->old_chunks();
  std::uint64_t retired = old.retired;
  for (const Tree* tree : forest_->changed) {
    for (const RetiredNode& node : tree->retired_) retired += node.chunks;
  }
  return ": " + size(forest_->arena.used_chunks() - retired) + " by the tree, " + size(retired) +
         " by older versions (" + size(old.held) + " of them held for readers), and " +
         size(chunks_for(reserved())) + " are kept for erasures";
}

template <int D>
NodeRef Tree<D>::new_node(std::uint32_t level) {
  const NodeRef ref(forest_->arena.allocate(level), forest_->pending);
  Node<D>& made = own_node(ref);
  made.reset(forest_->pending, level);
  forest_->born.push_back(ref);
  return ref;
}

template <int D>
NodeRef Tree<D>::own(NodeRef ref) {
  if (is_own(ref)) return ref;
  const Node<D>& old = node(ref);
  const NodeRef copy(forest_->arena.allocate(old.level()), forest_->pending);
  Node<D>& made = own_node(copy);
  copy_node(made, old);
  made.header.birth = forest_->pending;
  made.header.checksum = 0;
  const bool is_inner = !made.is_bottom();
  if (is_inner && made.is_of_tree()) made.set_ids(old.ids());
  forest_->born.push_back(copy);
  if (is_inner && !is_record_level(made.level())) copies_.push_back({ref, copy, made.level()});
  retired_.push_back(retired(ref));
  forest_->add(forest_->counters.copied, 1);
  return copy;
}

template <int D>
void Tree<D>::drop(NodeRef ref) {
  if (is_own(ref)) {
    own_node(ref).header.birth = 0;
    forest_->arena.release(ref.chunk(), chunks_of<D>(node(ref).level()));
  } else {
    retired_.push_back(retired(ref));
  }
}

template <int D>
void Tree<D>::own_path(Path& path, std::uint32_t down_to_level) {
  note_change();
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

/// Groups the leaves below a node of level 1 whose directories the batch has forgotten, and makes
/// these anew.
template <int D>
void Tree<D>::seal_directories(Node<D>& parent) {
  std::uint64_t own = names_born_in(parent.inner.children, forest_->pending);
  own &= ~std::uint64_t{0} >> (kWordsCompared - parent.count());
  for (; own != 0; own &= own - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(own));
    if (parent.has_directory(i)) continue;
    Node<D>& leaf = own_node(parent.child(i));
    if (!parent.is_directory_outdated(i)) group_entries(leaf);
    parent.inner.directories[i] = directory_of(parent, i, leaf);
  }
}

template <int D>
void Tree<D>::seal_batch() {
  if (std::exchange(forest_->is_sealed, true)) return;
  // They know entries by their places, which change.
  for (Tree* tree : forest_->changed) tree->lookup_.reset();
  for (const NodeRef ref : forest_->born) {
    Node<D>& made = own_node(ref);
    if (made.header.birth == forest_->pending && made.level() == 1) seal_directories(made);
  }
  if (forest_->options.checksums) {
    for (const NodeRef ref : forest_->born) {
      Node<D>& made = own_node(ref);
      if (made.header.birth == forest_->pending) made.header.checksum = node_checksum(made);
    }
  }
}

/// Tells one-sided readers which inner nodes have taken the place of which, of the R-tree and of
/// the id index: the upper ones first, since every search comes to them.
template <int D>
void Tree<D>::write_changes() {
  const auto height_of = [](std::uint32_t level) {
    return level >= kIndexLevel ? level - kIndexLevel : level;
  };
  std::uint32_t highest = root_node().level();
  if (is_keyed_) highest = std::max(highest, height_of(node(index_).level()));
  rtree::write_changes(root_block(), forest_->pending, index_, [&](ChangeWriter<D>& record) {
    for (std::uint32_t height = highest; height > 0; --height) {
      for (const Copy& copy : copies_) {
        if (height_of(copy.level) != height) continue;
        if (record.is_full()) return;
        // A chunk that was dropped in the batch may hold another node: what is told of it is the
        // difference of the two nodes, whatever made them.
        const Node<D>& made = node(copy.after);
        if (made.level() != copy.level || made.header.birth != forest_->pending) continue;
        record.add(copy.before, node(copy.before), copy.after, made);
      }
    }
  });
  copies_.clear();
}

template <int D>
void Tree<D>::abandon() {
  forest_->is_sealed = false;
  if (forest_->changed.empty()) return;
  free_born();
  for (Tree* tree : std::exchange(forest_->changed, {})) tree->abandon_own();
  update_stats();
}

template <int D>
void Tree<D>::abandon_own() {
  copies_.clear();
  retired_.clear();
  cleared_.clear();
  lookup_.reset();
  is_changed_ = false;
  root_ = NodeRef::from_word(root_block().root.load(std::memory_order_relaxed));  // our own store
  take_published_index(published_index_);
}

template <int D>
void Tree<D>::free_born() {
  std::vector<std::uint32_t> chunks;
  for (const NodeRef ref : forest_->born) chunks.push_back(ref.chunk());
  for (const Run& run : forest_->runs) {
    const RunLayout layout(run, kChunkShape<D>);
    for (std::uint64_t i = 0; i < layout.nodes(); ++i) chunks.push_back(layout.node(i));
  }
  std::sort(chunks.begin(), chunks.end(), std::greater());  // the lowest is reused first
  // A chunk that was dropped in the batch and used again is there twice.
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  for (const std::uint32_t chunk : chunks) {
    NodeHeader& header = forest_->arena.mutable_node(chunk).header;
    if (header.birth != forest_->pending) continue;  // dropped, and free already
    header.birth = 0;
    // A run's chunks were never used. Another chunk may hold a node of the last checkpoint, and is
    // not to become part of a group (docs/decisions/0132).
    const bool is_fresh = std::ranges::any_of(forest_->runs, [&](const Run& run) {
      return chunk >= run.first && chunk - run.first < run.chunks;
    });
    if (is_fresh) {
      forest_->arena.give_back(chunk, chunks_of<D>(header.level));
    } else {
      forest_->arena.release(chunk, chunks_of<D>(header.level));
    }
  }
  forest_->born.clear();
  forest_->runs.clear();
}

template <int D>
Version Tree<D>::publish() {
  Forest<D>& forest = *forest_;
  if (!forest.changed.empty()) seal_batch();
  forest.is_sealed = false;
  if (forest.changed.empty()) return forest.current;
  forest.born.clear();
  forest.runs.clear();
  for (Tree* tree : forest.changed) tree->publish_own();
  forest.current = forest.pending++;
  // The clock is read after publication: grace must not begin before it.
  const Nanoseconds now = forest.now();
  for (Tree* tree : forest.changed) {
    tree->old_nodes_->retire(tree->retired_, now);
    tree->retired_.clear();
    for (const WantedNode& node : tree->cleared_) {
      tree->old_nodes_->retire_subtree(node.ref, node.level, forest.current, now);
    }
    tree->cleared_.clear();
    tree->is_changed_ = false;
    forest.note_old_nodes(*tree->old_nodes_);
  }
  forest.changed.clear();
  reclaim();
  return forest.current;
}

/// Makes this tree's part of the batch what readers find.
template <int D>
void Tree<D>::publish_own() {
  SILURUS_CHECK(root_node().header.birth == forest_->pending);
  write_changes();
  publish_root(root_block(), root_, root_node(), batch_index());
  published_index_ = batch_index();
}

template <int D>
Nanoseconds Tree<D>::reclaim() {
  const Nanoseconds now = forest_->now();
  recycle(now);
  const OldChunks old = forest_->old_chunks();
  if (old.retired * kChunkBytes<D> <= retired_limit_bytes()) return 0;
  // When snapshots give back what they hold is not known: look again in a millisecond.
  return old.deadline > now ? old.deadline - now : kMillisecond;
}

template <int D>
void Tree<D>::reclaim_unread() {
  forest_->recycle(INT64_MAX - forest_->options.grace, SIZE_MAX);
  update_stats();
}

template <int D>
void Tree<D>::recycle(Nanoseconds now) {
  forest_->recycle(now);
  update_stats();
}

template <int D>
void Tree<D>::update_stats() {
  Forest<D>& forest = *forest_;
  const auto set = [](std::atomic<std::uint64_t>& counter, std::uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const ChunkRoom room = forest.arena.room();
  const OldChunks old = forest.old_chunks();
  set(forest.counters.nodes, forest.arena.nodes() - old.nodes);
  set(forest.counters.chunks, forest.arena.used_chunks() - old.retired);
  set(forest.counters.retired, old.retired);
  set(forest.counters.held, old.held);
  set(forest.counters.singles, room.singles);
  set(forest.counters.groups, room.groups);
  set(forest.counters.next, room.next);
  set(forest.counters.slabs, forest.arena.slab_count());
}

template <int D>
Snapshot<D> Tree<D>::snapshot() const {
  ReaderSlots& slots = old_nodes_->slots();
  const PinnedSlot held = slots.acquire();
  for (;;) {
    const NodeRef root = NodeRef::from_word(pin_root(root_block().root, held.slot->pinned));
    if (!is_keyed_) return Snapshot<D>(*forest_, slots, held, root, {});
    const NodeRef index = index_root(root_block(), root);
    if (index) return Snapshot<D>(*forest_, slots, held, root, index);
    // Two versions were published since: a newer one is pinned.
  }
}

template <int D>
Snapshot<D> Snapshot<D>::duplicate() const {
  const PinnedSlot held = slots_->acquire();
  // Sequentially consistent, as in pin_root. There is nothing to look at again: our own pin
  // holds the version until the writer itself releases it, and its next scan comes after that.
  held.slot->pinned.store(root_.word(), std::memory_order_seq_cst);
  return Snapshot<D>(*forest_, *slots_, held, root_, index_);
}

template <int D>
TreeStats Tree<D>::stats() const {
  const Snapshot<D> now = snapshot();
  const Forest<D>& forest = *forest_;
  const auto& counters = forest.counters;
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);  // figures only: pairs with nothing
  };
  TreeStats stats;
  stats.version = now.version();
  stats.entries = now.size();
  stats.height = now.root().level + 1;
  stats.nodes = read(counters.nodes);
  stats.bytes_used = read(counters.chunks) * kChunkBytes<D>;
  stats.bytes_retired = read(counters.retired) * kChunkBytes<D>;
  stats.bytes_held = read(counters.held) * kChunkBytes<D>;
  stats.bytes_budget = forest.options.memory_budget_bytes;
  stats.bytes_retired_limit = retired_limit_bytes();
  stats.reserved = reserved();
  stats.bytes_reserved = chunks_for(stats.reserved) * kChunkBytes<D>;
  stats.room = {.shape = kChunkShape<D>,
                .singles = read(counters.singles),
                .groups = read(counters.groups),
                .next = read(counters.next),
                .limit = forest.arena.max_chunks()};
  stats.slabs = static_cast<std::uint32_t>(read(counters.slabs));
  stats.copied_nodes = read(counters.copied);
  stats.split_nodes = read(counters.split);
  stats.joined_nodes = read(counters.joined);
  stats.recycled_nodes = read(counters.recycled);
  return stats;
}

template class Tree<2>;
template class Tree<3>;
template Snapshot<2> Snapshot<2>::duplicate() const;
template Snapshot<3> Snapshot<3>::duplicate() const;

}  // namespace silurus::rtree
