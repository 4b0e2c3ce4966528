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
  auto arena = Arena<D>::create(slabs, static_cast<std::uint32_t>(chunks), kGreatestReserve);
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
  if (Status room = tree->arena_.reserve({1, 0}, tree->reserved()); !room) {
    return fail(room.error());
  }
  tree->root_ = tree->new_node(0);
  tree->publish();
  return tree;
}

template <int D>
Status Tree<D>::reserve(NodeCounts nodes, NodeCounts spare) {
  if (Status reserved = arena_.reserve(nodes, spare); reserved) return reserved;
  reclaim();
  Status reserved = arena_.reserve(nodes, spare);
  if (!reserved && reserved.error().code == ErrorCode::kOutOfMemory) {
    reserved.error().message += memory_text();
  }
  return reserved;
}

template <int D>
NodeCounts Tree<D>::reserved() const {
  const std::uint64_t of_each =
      std::clamp(arena_.max_chunks() / 8 / (1 + kInnerChunks<D>), kLeastReserve, kGreatestReserve);
  return {of_each, of_each};
}

/// What the budget is used for.
template <int D>
std::string Tree<D>::memory_text() const {
  const auto size = [](std::uint64_t chunks) { return format_size(chunks * kChunkBytes<D>); };
  std::uint64_t retired = reclaimer_.retired_chunks();
  for (const RetiredNode& node : retired_) retired += node.chunks;
  return ": " + size(arena_.used_chunks() - retired) + " by the tree, " + size(retired) +
         " by older versions (" + size(reclaimer_.held_chunks()) +
         " of them held for readers), and " + size(chunks_for(reserved())) +
         " are kept for erasures";
}

template <int D>
NodeRef Tree<D>::new_node(std::uint32_t level) {
  const NodeRef ref(arena_.allocate(level), pending_);
  Node<D>& made = own_node(ref);
  made.reset(pending_, level);
  born_.push_back(ref);
  return ref;
}

template <int D>
NodeRef Tree<D>::own(NodeRef ref) {
  if (is_own(ref)) return ref;
  const Node<D>& old = node(ref);
  const NodeRef copy(arena_.allocate(old.level()), pending_);
  Node<D>& made = own_node(copy);
  copy_node(made, old);
  made.header.birth = pending_;
  made.header.checksum = 0;
  if (!made.is_leaf()) made.set_ids(old.ids());
  born_.push_back(copy);
  if (!made.is_leaf()) copies_.push_back({ref, copy, made.level()});
  retired_.push_back(retired(ref));
  counters_.copied.store(counters_.copied.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
  return copy;
}

template <int D>
void Tree<D>::drop(NodeRef ref) {
  if (is_own(ref)) {
    own_node(ref).header.birth = 0;
    arena_.release(ref.chunk(), chunks_of<D>(node(ref).level()));
  } else {
    retired_.push_back(retired(ref));
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

/// Groups the leaves below a node of level 1 whose directories the batch has forgotten, and makes
/// these anew.
template <int D>
void Tree<D>::seal_directories(Node<D>& parent) {
  std::uint64_t own = names_born_in(parent.inner.children, pending_);
  own &= ~std::uint64_t{0} >> (kWordsCompared - parent.count());
  for (; own != 0; own &= own - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(own));
    if (parent.has_directory(i)) continue;
    Node<D>& leaf = own_node(parent.child(i));
    group_entries(leaf);
    parent.inner.directories[i] = directory_of(parent, i, leaf);
  }
}

template <int D>
void Tree<D>::seal_batch() {
  lookup_.reset();  // it knows entries by their places, which change
  for (const NodeRef ref : born_) {
    Node<D>& made = own_node(ref);
    if (made.header.birth == pending_ && made.level() == 1) seal_directories(made);
  }
  if (options_.checksums) {
    for (const NodeRef ref : born_) {
      Node<D>& made = own_node(ref);
      if (made.header.birth == pending_) made.header.checksum = node_checksum(made);
    }
  }
}

/// Tells one-sided readers which inner nodes have taken the place of which: from the root's level
/// downwards, since every search comes to the upper ones.
template <int D>
void Tree<D>::write_changes() {
  rtree::write_changes(root_block(), pending_, [&](ChangeWriter<D>& record) {
    for (std::uint32_t level = root_node().level(); level > 0; --level) {
      for (const Copy& copy : copies_) {
        if (copy.level != level) continue;
        if (record.is_full()) return;
        // A chunk that was dropped in the batch may hold another node: what is told of it is the
        // difference of the two nodes, whatever made them.
        const Node<D>& made = node(copy.after);
        if (made.level() != level || made.header.birth != pending_) continue;
        record.add(copy.before, node(copy.before), copy.after, made);
      }
    }
  });
  copies_.clear();
}

template <int D>
void Tree<D>::abandon() {
  if (!is_own(root_)) return;
  free_born();
  copies_.clear();
  retired_.clear();
  lookup_.reset();
  root_ = NodeRef::from_word(root_block().root.load(std::memory_order_relaxed));  // our own store
  update_stats();
}

template <int D>
void Tree<D>::free_born() {
  std::vector<std::uint32_t> chunks;
  for (const NodeRef ref : born_) chunks.push_back(ref.chunk());
  if (run_) {
    const RunLayout layout(*run_, kChunkShape<D>);
    for (std::uint64_t i = 0; i < layout.nodes(); ++i) chunks.push_back(layout.node(i));
  }
  std::sort(chunks.begin(), chunks.end(), std::greater());  // the lowest is reused first
  // A chunk that was dropped in the batch and used again is there twice.
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  for (const std::uint32_t chunk : chunks) {
    NodeHeader& header = arena_.mutable_node(chunk).header;
    if (header.birth != pending_) continue;  // dropped, and free already
    header.birth = 0;
    arena_.give_back(chunk, chunks_of<D>(header.level));
  }
  born_.clear();
  run_.reset();
}

template <int D>
Version Tree<D>::publish() {
  if (!is_own(root_)) return current_;
  SILURUS_CHECK(root_node().header.birth == pending_);
  seal_batch();
  born_.clear();
  run_.reset();
  write_changes();
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
  recycle(now);
  if (reclaimer_.retired_chunks() * kChunkBytes<D> <= retired_limit_bytes()) return 0;
  // When snapshots give back what they hold is not known: look again in a millisecond.
  const Nanoseconds deadline = reclaimer_.next_deadline();
  return deadline > now ? deadline - now : kMillisecond;
}

template <int D>
void Tree<D>::reclaim_unread() {
  recycle(INT64_MAX - options_.grace);
}

template <int D>
void Tree<D>::recycle(Nanoseconds now) {
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
  for (const RetiredNode& node : freed) arena_.release(node.chunk, node.chunks);
  counters_.recycled.store(counters_.recycled.load(std::memory_order_relaxed) + freed.size(),
                           std::memory_order_relaxed);
  update_stats();
}

template <int D>
void Tree<D>::update_stats() {
  const auto set = [](std::atomic<std::uint64_t>& counter, std::uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const ChunkRoom room = arena_.room();
  set(counters_.nodes, arena_.nodes() - reclaimer_.retired_count());
  set(counters_.chunks, arena_.used_chunks() - reclaimer_.retired_chunks());
  set(counters_.retired, reclaimer_.retired_chunks());
  set(counters_.held, reclaimer_.held_chunks());
  set(counters_.singles, room.singles);
  set(counters_.groups, room.groups);
  set(counters_.next, room.next);
  set(counters_.slabs, arena_.slab_count());
}

template <int D>
Snapshot<D> Tree<D>::snapshot() const {
  const HeldSlot held = slots_->acquire();
  return Snapshot<D>(this, held,
                     NodeRef::from_word(pin_root(root_block().root, held.slot->pinned)));
}

template <int D>
Snapshot<D> Snapshot<D>::duplicate() const {
  const HeldSlot held = tree_->slots_->acquire();
  // Sequentially consistent, as in pin_root. There is nothing to look at again: our own pin
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
  stats.bytes_used = read(counters_.chunks) * kChunkBytes<D>;
  stats.bytes_retired = read(counters_.retired) * kChunkBytes<D>;
  stats.bytes_held = read(counters_.held) * kChunkBytes<D>;
  stats.bytes_budget = options_.memory_budget_bytes;
  stats.bytes_retired_limit = retired_limit_bytes();
  stats.reserved = reserved();
  stats.bytes_reserved = chunks_for(stats.reserved) * kChunkBytes<D>;
  stats.room = {.shape = kChunkShape<D>,
                .singles = read(counters_.singles),
                .groups = read(counters_.groups),
                .next = read(counters_.next),
                .limit = arena_.max_chunks()};
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
