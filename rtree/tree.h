// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "rtree/cursor.h"
#include "rtree/forest.h"
#include "rtree/geometry.h"
#include "rtree/id_index.h"
#include "rtree/node.h"
#include "rtree/records.h"
#include "rtree/root_block.h"
#include "rtree/split.h"

namespace silurus::rtree {

struct BulkLoadOptions {
  /// How full leaves and inner nodes are made, in (0, 1]; 0 for kDefaultFill. Room is left for the
  /// inserts that follow. Below two fifths it counts as two fifths.
  double fill = 0.0;
  unsigned threads = 0;  ///< 0: all cores
};

/// 51 bytes an entry in all, in 2-D; a leaf takes five more entries before it splits.
inline constexpr double kDefaultFill = 0.85;

/// Figures of a tree, each true at some moment not long ago.
struct TreeStats {
  Version version = 0;
  std::uint64_t entries = 0;
  std::uint32_t height = 0;         ///< levels: 1 for a tree of one leaf
  std::uint64_t nodes = 0;          ///< nodes of the current version and the batch
  std::uint64_t bytes_used = 0;     ///< by those nodes and by the RootBlock
  std::uint64_t bytes_retired = 0;  ///< nodes of older versions, not yet recycled
  std::uint64_t bytes_held = 0;     ///< part of bytes_retired that snapshots hold
  std::uint64_t bytes_budget = 0;
  std::uint64_t bytes_retired_limit = 0;  ///< more than that retired: reclaim() asks for a wait
  std::uint64_t bytes_reserved = 0;       ///< what inserts leave to erasures:
  NodeCounts reserved;                    ///< nodes for which room is kept
  ChunkRoom room;                         ///< what nothing uses
  std::uint32_t slabs = 0;
  std::uint64_t copied_nodes = 0;  ///< since creation: copies on write
  std::uint64_t split_nodes = 0;
  std::uint64_t joined_nodes = 0;  ///< nodes saved by erasures and compactions
  std::uint64_t recycled_nodes = 0;
};

/// What a writer does before others have their turn, in nodes looked at (Tree::look_for): half a
/// millisecond or so, of 0.15 us each. An operation counts for some besides those.
inline constexpr std::uint32_t kSliceOfWork = 4096;
inline constexpr std::uint32_t kWorkOfAnOperation = 4;

/// How full a compaction makes nodes unless it is told otherwise.
inline constexpr double kCompactFill = 0.9;
/// A step of a compaction ends with the node at which it has done that much, in the unit of
/// kSliceOfWork. A slice ends with the step, and begins none if less than half of it is left.
inline constexpr std::uint32_t kWorkOfACompaction = kSliceOfWork / 4;
inline constexpr std::uint32_t kMostWorkOfACompaction = 2 * kWorkOfACompaction;
/// The cursor of a compaction that has nothing left to do.
inline constexpr std::uint64_t kCompacted = UINT64_MAX;

/// What one step of a compaction came to (Tree::compact).
struct CompactStep {
  std::uint64_t next = 0;         ///< cursor of the next step, or kCompacted
  std::uint32_t saved_nodes = 0;  ///< nodes that the tree has fewer,
  std::uint64_t saved_bytes = 0;  ///< and the memory that they took
  bool is_short = false;          ///< free memory did not suffice: the step has ended early
  double share = 0;               ///< how much of the compaction lies behind `next`: in [0, 1]
};

/// Where Tree::restore gets the nodes of a stored tree from. Called by several threads at once.
template <int D>
class StoredNodes {
 public:
  virtual ~StoredNodes() = default;
  /// The bytes stored from the beginning of that node's chunk on: as many as a node of any level
  /// may have, fewer where that is all there is. Whether they are that node is the caller's to
  /// check.
  virtual std::span<const std::byte> find(NodeRef ref) const = 0;
};

/// A tree that Tree::restore makes again.
struct StoredTree {
  NodeRef root;
  NodeRef index = {};            ///< the root of its id index; null: it is not keyed
  std::uint64_t number = 0;      ///< 0: the first of its forest
  std::uint32_t root_chunk = 0;  ///< 0: the first of its forest
};

/// The trees of a forest at one version.
struct ForestRoots {
  Version version = 0;        ///< 0: there are none
  std::uint64_t entries = 0;  ///< in all of them
  std::vector<StoredTree> trees;
};

struct RestoreOptions {
  unsigned threads = 0;  ///< 0: all cores
  /// Told now and then how many nodes are in place, on the calling thread.
  std::function<void(std::uint64_t nodes)> progress = {};
};

/// What a tree is beside a tree of boxes.
struct TreeKind {
  bool is_keyed = false;     ///< an id is unique in it
  bool has_records = false;  ///< an entry may carry a record; only of one that is keyed
};

template <int D>
class Snapshot;

template <int D>
class Restorer;

/// The copy-on-write R*-tree. One writer at a time, many readers at once, no locks between them.
/// Several trees may share a Forest (add_tree()): then the batch, its version, and what says so
/// below are those of all of them.
///
/// A writer's changes go into an unpublished batch. The first change of a node in a batch copies it
/// into a new chunk, further ones change the copy in place; publish() makes the batch the current
/// version at once. A published node never changes until its memory is recycled, which waits for
/// the readers of its versions (see reclaim()).
///
///   AnonymousSlabs slabs;
///   SystemClock clock;
///   auto tree = Tree<2>::create({}, slabs, clock);
///   (*tree)->insert({42, {{1.0, 2.0}, {1.5, 2.5}}});
///   (*tree)->publish();
///   RangeResult<2> found;
///   (*tree)->snapshot().range({.window = {{0, 0}, {2, 2}}}, found);
template <int D>
class Tree {
 public:
  /// An empty tree, published as version 1. The slabs and the clock must outlive it.
  /// kInvalidArgument for a budget below kMinimumBudgetBytes or a negative grace.
  static Result<std::unique_ptr<Tree>> create(const TreeOptions& options, SlabSource& slabs,
                                              const Clock& clock);
  /// A tree as it was stored: the nodes below `root` at their old places under their old names, and
  /// the version that root was born in. Every node is checked, with its checksum. kProtocol if one
  /// is missing or damaged, kOutOfMemory if the budget is smaller than the stored tree's.
  static Result<std::unique_ptr<Tree>> restore(const TreeOptions& options, SlabSource& slabs,
                                               const Clock& clock, NodeRef root,
                                               const StoredNodes<D>& nodes,
                                               const RestoreOptions& restore_options);
  /// Several trees of one forest as they were stored: the first one of them its first, with the
  /// numbers and the chunks of their roots that they had. `version`: that was published last.
  static Result<std::vector<std::unique_ptr<Tree>>> restore(const TreeOptions& options,
                                                            SlabSource& slabs, const Clock& clock,
                                                            std::span<const StoredTree> trees,
                                                            Version version,
                                                            const StoredNodes<D>& nodes,
                                                            const RestoreOptions& restore_options);
  /// Destroys a tree. If it is the last one of a forest, no snapshot may be alive.
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  /// Bounds of the reserve (reserved()), in nodes of each kind.
  static constexpr std::uint32_t kLeastReserve = 64;
  static constexpr std::uint32_t kGreatestReserve = 4096;
  static constexpr std::uint64_t kMinimumBudgetBytes =
      4 * kLeastReserve * (1 + kInnerChunks<D>)*kChunkBytes<D>;

  /// Adds this tree to those of a version whose roots of it are those. Not during renumber().
  void add_to(ForestRoots& roots, NodeRef root, NodeRef index) const {
    roots.entries += node(root).header.entries;
    roots.trees.push_back({root, index, number_, block_});
  }
  /// 0 for the first tree of a forest; see add_tree().
  std::uint64_t number() const { return number_; }
  /// The first chunk of what one-sided readers begin with, its RootBlock.
  std::uint32_t root_chunk() const { return block_; }

  // --- the writer: one thread at a time (the caller's promise). A call that fails changes nothing.

  /// Another tree in this one's forest, empty: no reader finds it before the batch is published,
  /// and remove() is due if the batch is abandoned. `number`, which is not 0, tells one-sided
  /// readers that they still read the tree that they know; no two trees ever have the same one. In
  /// a keyed tree an id is unique: insert() and bulk_load() refuse one that is there (kConflict).
  /// kOutOfMemory.
  Result<std::unique_ptr<Tree>> add_tree(std::uint64_t number, TreeKind kind = {});
  /// Whether an id is unique in this tree, and find_id() knows where its entry is.
  bool is_keyed() const { return is_keyed_; }
  /// Whether its entries may carry records.
  bool has_records() const { return has_records_; }
  /// The entry of that id in the batch, if there is one; none in a tree that is not keyed.
  std::optional<KeyedEntry<D>> find_id(std::uint64_t id) const;
  /// Has entries of keyed trees say that they were written in that version; 0: in the batch's. For
  /// one batch that stands for several (skip_to()).
  void write_as_of(Version version) { forest_->version_of_writes = version; }
  /// Gives it another number: one-sided readers that know the old one find no root any more.
  void renumber(std::uint64_t number) {
    const bool was_retired = is_retired();
    number_ = number;
    set_retired(was_retired);
  }
  bool is_retired() const {
    return root_block().owner.load(std::memory_order_relaxed) % 2 != 0;  // our own store
  }
  /// Makes the batch change this tree, though its entries stay as they are.
  Status touch();
  /// Ends a tree that add_tree() has made: one-sided readers find none any more, what it holds is
  /// retired, and its root block is free when that is recycled. Snapshots of it may live on, as
  /// long as another tree of the forest does; none is taken any more. The batch has changed nothing
  /// of it, but where it was never published.
  static void remove(std::unique_ptr<Tree> tree);
  /// Takes out all entries. The nodes of the published version are retired after publish(), some
  /// thousand at a time. kOutOfMemory.
  Status clear();

  /// What an operation finds its memory by.
  enum class Room : std::uint8_t {
    kBudget,        ///< the budget, less the reserve
    kAdmitted,      ///< all of the budget: it was made sure beforehand that there is enough
    kAdmittedLast,  ///< the same, and the batch ends with it: what is left may serve to pack nodes
  };
  /// The record of an entry: any bytes, at most kMostRecordBytes; none: it has no record.
  using RecordBytes = std::span<const std::byte>;
  /// Adds an entry to the batch, with its record. kInvalidArgument (check_box), kOutOfMemory;
  /// kTooLarge, kUnsupported: the record.
  Status insert(const Entry<D>& entry, Room room = Room::kBudget, RecordBytes record = {});
  /// Removes one such (id, box) from the batch. kNotFound if there is none, kInvalidArgument;
  /// kOutOfMemory only if, with what is retired, even the reserve is used up. A node that it
  /// leaves less than half as full as a join may make one is joined with a sibling, if both fit
  /// into seven eighths of one: at most one join a level.
  Status erase(const Entry<D>& entry);
  /// Moves an entry: readers see it at the old box or at the new one, never at both or neither.
  /// Three quarters of the reserve serve updates, too. One that needs them packs the leaves beside
  /// the new place, if that is worthwhile: so updates need no more memory in the end. `record`: the
  /// entry's from now on, in the place of what it had; without one it keeps that.
  Status update(std::uint64_t id, const Box<D>& from, const Box<D>& to, Room room = Room::kBudget,
                std::optional<RecordBytes> record = std::nullopt);
  /// The nodes for which inserts leave room of the budget to erasures, updates and compactions (and
  /// the copies, retired nodes and held versions that come of these), so that a full tree can be
  /// thinned out: an eighth of the budget, within bounds; as many leaves as inner nodes.
  NodeCounts reserved() const;
  /// Packs nodes that are emptier than `fill` (in (0, 1]; 0: kCompactFill) asks for, from `cursor`
  /// on, 0 being the beginning: the children of one node after the other, about kWorkOfACompaction
  /// in all. Entries stay the same. There is a batch to publish in any case, so that trees that
  /// hold the same in other nodes count the same versions. Changes between two steps do no harm:
  /// their nodes may be left out, or looked at twice. kOutOfMemory if not even the root can be
  /// copied.
  Result<CompactStep> compact(std::uint64_t cursor, double fill);
  /// Looks for the entry that erase() or update() is to be called for, through at most `nodes`
  /// nodes of the tree, from which it takes what it has looked at. False: not at the end yet, the
  /// same call again goes on from there, if nothing has changed. True: erase() and update() of this
  /// entry will not look for it again. Among entries of the same box it is found by its id
  /// (docs/decisions/0016): a search looks at no more than the children of one node of each level,
  /// and at those besides in which other entries lie, or have lain.
  bool look_for(const Entry<D>& entry, std::uint32_t& nodes);
  /// Makes the batch the current version; returns its number. Nothing changed: the current one.
  Version publish();
  /// Builds the tree from entries and publishes it: top-down packing by halving along the longer
  /// side (as Boost.Geometry's packing constructor). kConflict unless the tree is empty,
  /// kInvalidArgument, kOutOfMemory.
  Result<Version> bulk_load(std::vector<Entry<D>> entries, const BulkLoadOptions& options);
  /// As bulk_load, but leaves the tree in the batch: it is published by publish(). Until then
  /// batch_root() shows it to the code that has to make it durable first.
  Status bulk_load_batch(std::vector<Entry<D>> entries, const BulkLoadOptions& options);

  // A tree that is made beside this one, in a run of chunks that nothing else uses meanwhile: by
  // the writer reserved, and adopted or released; in between, filled by any one thread.

  /// Nodes of the tree that build_run() makes of that number of entries,
  static NodeCounts nodes_of(std::uint64_t entries, const BulkLoadOptions& options);
  /// and the chunks that they take.
  static std::uint64_t chunks_for(NodeCounts nodes) {
    return nodes.leaves + nodes.inners * kInnerChunks<D>;
  }
  /// The first chunk at which a run may begin: none from it on was ever in use.
  std::uint32_t unused_chunk() const { return forest_->arena.unused(); }
  /// Takes one step to reserve the chunks of the run for the caller; true: they are reserved. To be
  /// called again until then, with batches in between if need be. kConflict if others have some,
  /// kOutOfMemory, kInvalidArgument if no tree lies in such a run.
  Result<bool> reserve_run(const Run& run);
  /// Builds a tree of all entries, whose boxes are good (check_box), in a reserved run that has
  /// nodes_of() them.
  void build_run(const Run& run, std::vector<Entry<D>> entries, const BulkLoadOptions& options);
  /// The same of a stored tree: its nodes at their places. kProtocol if one is missing or damaged,
  /// or is none of the run.
  Status restore_run(const Run& run, const StoredNodes<D>& nodes, const RestoreOptions& options);
  /// The same node by node, in any order.
  void put_node(NodeRef ref, const Node<D>& node);
  /// Makes what the run holds the batch. kConflict unless the tree is empty, nothing has changed
  /// since the last publish(), and the run is of the next version.
  Status adopt_run(const Run& run);
  /// Gives the chunks of a reserved run back.
  void release_run(const Run& run);

  /// Takes back all changes since the last publish(), sealed or not: the batch is empty again, and
  /// its nodes are free. Takes time proportional to what had changed.
  void abandon();
  /// The batch as publish() would publish it, sealed with its checksums; no more changes until
  /// then, or until abandon(). Its nodes are read through batch_node().
  WantedNode seal();
  const Node<D>& batch_node(NodeRef ref) const { return node(ref); }
  NodeRef batch_root() const { return root_; }
  /// The root of its id index, or the pair that names this and the root of its records; null: the
  /// tree is not keyed.
  NodeRef batch_index() const { return has_records_ ? pair_ : index_; }
  /// The version that publish() will make if there is anything to publish.
  Version next_version() const { return forest_->pending; }
  /// Leaves version numbers out, so that the next one is `next`: one batch that stands for several
  /// of another run of the tree. Nothing may have changed since the last publish(), and no remote
  /// reader may be about.
  void skip_to(Version next);
  /// Recycles what may be recycled (publish() does so too); returns how long the writer should wait
  /// before it goes on, because too much is retired (0: not at all).
  Nanoseconds reclaim();
  /// The same without the grace: while the tree cannot be read from afar, as in recovery.
  void reclaim_unread();
  /// Whether remote readers are turned away (RootBlock::owner): a read of the root that is posted
  /// after this returns finds none. Snapshots don't care.
  void set_retired(bool retired) {
    // Release: pairs with the copies of remote readers, which see all that was published before.
    root_block().owner.store(2 * number_ + (retired ? 1 : 0), std::memory_order_release);
  }

  // --- readers: any thread

  /// The current version, pinned until the Snapshot is destroyed. Wait-free but for a retry when a
  /// version is published at that very moment.
  Snapshot<D> snapshot() const;
  TreeStats stats() const;

 private:
  friend class Snapshot<D>;
  friend class Restorer<D>;

  /// The way from the root to a node: `nodes[level]`, and which child of it comes next.
  struct Path {
    std::array<NodeRef, kMaxLevel + 1> nodes;
    std::array<std::uint32_t, kMaxLevel + 1> child;
  };
  /// A leaf's entry and the way to it.
  struct Found {
    Path path;
    std::uint32_t index;
  };
  /// A search for an entry, depth first.
  struct Lookup {
    Entry<D> entry;
    Found found;
    std::array<EntryMask, kMaxLevel + 1> rest;  ///< children not yet looked into, by level
    std::uint32_t level;
    bool is_fresh;  ///< the node at that level is yet to be looked at
    bool is_at_end = false;
    bool has_found = false;
  };

  /// Children of a node: those beside an id, in the order of their ids.
  struct IdNeighbors {
    std::optional<std::uint32_t> below;
    std::optional<std::uint32_t> above;
  };

  static Result<std::unique_ptr<Tree>> create_bare(const TreeOptions& options, SlabSource& slabs,
                                                   const Clock& clock);
  Tree(std::shared_ptr<Forest<D>> forest, std::uint64_t number, std::uint32_t block,
       TreeKind kind = {});

  RootBlock<D>& root_block() const {
    return *reinterpret_cast<RootBlock<D>*>(forest_->arena.root_block(block_));
  }
  const Node<D>& node(NodeRef ref) const { return forest_->arena.node(ref.chunk()); }
  /// A node of the batch, to be changed.
  Node<D>& own_node(NodeRef ref) { return forest_->arena.mutable_node(ref.chunk()); }
  bool is_own(NodeRef ref) const { return ref.is_born_in(forest_->pending); }
  Node<D>& root_node() { return own_node(root_); }

  Status reserve(NodeCounts nodes, NodeCounts spare);
  void recycle(Nanoseconds now);
  /// One node of each level up to the root's.
  NodeCounts path() const { return {1, node(root_).level()}; }
  std::string memory_text() const;
  /// The batch changes this tree.
  void note_change();
  void replace_root(const Run& run);
  Status load_entries(std::vector<Entry<D>> entries, const BulkLoadOptions& options);
  Status build_scattered(std::vector<Entry<D>> entries, const BulkLoadOptions& options);
  NodeRef new_node(std::uint32_t level);
  /// The node itself if it was born in the batch, else its copy in the batch.
  NodeRef own(NodeRef ref);
  void drop(NodeRef ref);
  void own_path(Path& path, std::uint32_t down_to_level);

  Path choose_leaf(const Entry<D>& entry) const;
  IdNeighbors neighbors_by_id(const Node<D>& parent, std::uint32_t index, std::uint64_t id,
                              std::uint32_t left_out) const;
  std::uint32_t choose_by_id(const Node<D>& parent, std::uint32_t index, std::uint64_t id) const;
  std::optional<std::uint32_t> next_by_id(const Node<D>& parent, std::uint32_t index) const;
  void insert_reserved(const Entry<D>& entry);
  void refit(Node<D>& inner, const Box<D>& box);
  Box<D> bounds_of_children(const Node<D>& inner) const;
  void add_child(Path& path, std::uint32_t level, NodeRef added);
  void grow_root(NodeRef added);
  NodeRef split_leaf(Node<D>& leaf, const Entry<D>& entry);
  NodeRef split_inner(Node<D>& inner, NodeRef added);
  SplitItem<D> item_of(const Node<D>& from, std::uint32_t index) const;
  void set_items(Node<D>& node, std::span<const SplitItem<D>> items);

  std::optional<Found> find(const Entry<D>& entry);
  Lookup begin_lookup(const Entry<D>& entry) const;
  void go_on(Lookup& lookup, std::uint32_t& nodes) const;
  void erase_found(Found& found);
  void tighten(Node<D>& parent, std::uint32_t index, const Box<D>& before);
  void repair_underflow(Path& path, Box<D> before);
  std::optional<std::uint32_t> partner_of(const Node<D>& parent, std::uint32_t index) const;
  void join(Node<D>& parent, std::uint32_t index, std::uint32_t sibling);
  void remove_child(Node<D>& parent, std::uint32_t index);
  void shrink_root();

  // The id index (keyed.cc). Nothing happens in a tree that is not keyed.
  static NodeCounts nodes_beside(TreeKind kind);
  void make_index();
  void drop_index();
  void take_published_index(NodeRef index);
  NodeCounts index_nodes() const;
  Status check_absent(std::uint64_t id) const;
  Version version_of_writes() const;
  void put_in_index(std::uint64_t id, const Box<D>& box);
  template <typename Item>
  void put_below_root(NodeRef& root, const Item& item);
  template <typename Item>
  IndexSiblings put_below(NodeRef ref, const Item& item, bool is_last, bool& is_new);
  IndexSiblings put_in_leaf(Node<D>& leaf, const KeyedEntry<D>& entry, bool is_last, bool& is_new);
  void pack_parts(Node<D>* leaf, std::span<const KeyedEntry<D>> entries, IndexSiblings& made);
  IndexSiblings add_index_children(Node<D>& inner, std::uint32_t at, const IndexSiblings& added,
                                   bool is_last);
  void erase_from_index(std::uint64_t id);
  void erase_below_root(NodeRef& root, std::uint32_t bottom, std::uint64_t id);
  void erase_below(NodeRef ref, std::uint64_t id);
  void join_index_children(Node<D>& parent, std::uint32_t at);
  bool join_index_leaves(Node<D>& parent, std::uint32_t at);
  Status build_index(std::span<const Entry<D>> entries);

  // Records (recorded.cc). Nothing happens in a tree that has none.
  Status check_record(RecordBytes record) const;
  NodeCounts record_nodes(std::size_t record_bytes) const;
  void note_pair();
  void put_record(std::uint64_t id, RecordBytes record);
  NodeRef build_pieces(RecordBytes record);
  IndexSiblings put_in_leaf(Node<D>& page, const PageItem& item, bool is_last, bool& is_new);
  void erase_record(std::uint64_t id);
  void erase_from_page(Node<D>& page, std::uint64_t id);
  bool join_pages(Node<D>& parent, std::uint32_t at);
  void drop_below(NodeRef ref);

  struct Packing;
  void find_place(Packing& packing) const;
  bool pack_next(Packing& packing);
  void pack_beside(const Entry<D>& entry);
  void pack_children(Path& path, std::uint32_t level, std::uint32_t parts);

  RetiredNode retired(NodeRef ref) const {
    const Node<D>& old = node(ref);
    return {ref.chunk(), chunks_of<D>(old.level()), old.birth(), forest_->pending};
  }
  void write_changes();
  void seal_directories(Node<D>& parent);
  void seal_batch();
  void publish_own();
  void abandon_own();
  void free_born();
  void update_stats();
  std::uint64_t retired_limit_bytes() const {
    const TreeOptions& options = forest_->options;
    return options.retired_limit_bytes != 0 ? options.retired_limit_bytes
                                            : options.memory_budget_bytes / 4;
  }

  const std::shared_ptr<Forest<D>> forest_;
  std::uint64_t number_;
  const std::uint32_t block_;  ///< the first chunk of its RootBlock
  const bool is_keyed_;
  const bool has_records_;
  OldNodes<D>* const old_nodes_;

  // In the batch; on other lines of the cache than what each reader looks at.
  alignas(64) NodeRef root_;  ///< root in the batch; the published one while nothing has changed
  NodeRef index_;             ///< root of its id index in the batch; null: it is not keyed
  NodeRef pages_;             ///< root of its records in the batch; null: it has none
  NodeRef pair_;              ///< the pair of these two; null: it has no records
  NodeRef published_index_;   ///< batch_index() of the version published last
  bool is_changed_ = false;   ///< Forest::changed has it
  struct Copy {
    NodeRef before;
    NodeRef after;
    std::uint32_t level;
  };
  /// Copies of inner nodes, of the index too; may name dropped nodes.
  std::vector<Copy> copies_;
  std::vector<RetiredNode> retired_;
  std::vector<WantedNode> cleared_;  ///< published nodes below which all is retired
  std::optional<Lookup> lookup_;     ///< what look_for() has found so far, in the batch as it is
};

/// A search of a batch that was stopped; go_on() goes on with it.
template <int D>
struct StoppedSearch {
  std::size_t query;      ///< which one of the batch
  RangeCursor<D> cursor;  ///< writes into that query's result
};

/// One version of the tree, which stays readable as long as this object lives. Movable. Any number
/// of threads may search one Snapshot at once. Some tree of the forest must outlive it.
template <int D>
class Snapshot {
 public:
  Snapshot(Snapshot&& other) noexcept
      : forest_(other.forest_),
        slots_(other.slots_),
        held_(std::exchange(other.held_, {})),
        root_(other.root_),
        index_(other.index_) {}
  Snapshot& operator=(Snapshot&& other) noexcept {
    std::swap(forest_, other.forest_);
    std::swap(slots_, other.slots_);
    std::swap(held_, other.held_);
    std::swap(root_, other.root_);
    std::swap(index_, other.index_);
    return *this;
  }
  ~Snapshot() {
    if (held_.slot != nullptr) ReaderSlots::release(held_);
  }

  Version version() const { return node(root_).birth(); }
  /// Another pin of the same version. The caller sees to it that this one is released no sooner
  /// than the writer could see the new one: by the writer's thread, in the order of a lock that the
  /// caller holds here.
  Snapshot duplicate() const;
  /// Number of entries.
  std::uint64_t size() const { return node(root_).header.entries; }
  WantedNode root() const { return {root_, node(root_).level()}; }
  /// The root of the id index, or the pair that names it; null: the tree is not keyed.
  NodeRef index() const { return index_; }
  /// The entry of that id, if there is one; none of a tree that is not keyed.
  std::optional<KeyedEntry<D>> find_id(std::uint64_t id) const;
  /// Adds the record of the entry of that id to `record`; whether there is one.
  bool find_record(std::uint64_t id, std::vector<std::byte>& record) const;
  /// How long it is; 0: there is none.
  std::size_t record_bytes(std::uint64_t id) const;
  const Node<D>& node(NodeRef ref) const { return forest_->arena.node(ref.chunk()); }

  /// kInvalidArgument for a window that check_box refuses.
  Status range(const RangeQuery<D>& query, RangeResult<D>& result) const;
  /// kInvalidArgument for a point that check_point refuses and for k = 0.
  Status nearest(const NearestQuery<D>& query, NearestResult& result) const;
  /// Goes on with a search that was started at root() of this version, until it is done, has looked
  /// at `most_nodes` more nodes, or has found `enough` entries since the last drain(). For a thread
  /// that serves others, too. Returns whether the search is done.
  bool go_on(RangeCursor<D>& cursor, std::uint32_t most_nodes = UINT32_MAX,
             std::uint64_t enough = UINT64_MAX) const;
  bool go_on(NearestCursor<D>& cursor, std::uint32_t most_nodes = UINT32_MAX) const;
  /// Several searches interleaved, each prefetching its next node while the others run; one result
  /// for each query. A query that is refused fails the batch before it begins.
  Status range_batch(std::span<const RangeQuery<D>> queries,
                     std::span<RangeResult<D>> results) const;
  /// The same, where a search is stopped when it has looked at `most_nodes` nodes or has found
  /// `enough` entries (one that only counts is not stopped by what it finds). Adds it to `stopped`.
  Status range_batch(std::span<const RangeQuery<D>> queries, std::span<RangeResult<D>> results,
                     std::uint32_t most_nodes, std::uint64_t enough,
                     std::vector<StoppedSearch<D>>& stopped) const;
  Status nearest_batch(std::span<const NearestQuery<D>> queries,
                       std::span<NearestResult> results) const;
  /// Checks every invariant; the error says which one broke where. Takes time and memory
  /// proportional to the tree.
  Status validate() const;

 private:
  friend class Tree<D>;
  Snapshot(const Forest<D>& forest, ReaderSlots& slots, PinnedSlot held, NodeRef root,
           NodeRef index)
      : forest_(&forest), slots_(&slots), held_(held), root_(root), index_(index) {}
  NodeRef id_root() const;
  NodeRef page_root() const;
  Status validate_index() const;
  Status validate_records() const;

  const Forest<D>* forest_;
  ReaderSlots* slots_;
  PinnedSlot held_;
  NodeRef root_;
  NodeRef index_;
};

}  // namespace silurus::rtree
