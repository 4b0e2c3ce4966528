// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/units.h"
#include "rtree/grouping.h"
#include "rtree/pack.h"
#include "rtree/split.h"
#include "rtree/tree.h"

namespace silurus::rtree {
namespace {

/// Entries below which another thread doesn't pay.
constexpr std::size_t kParallelEntries = 1 << 15;

/// The shape of a packed tree, which follows from the number of entries alone. Subtrees are shared
/// out evenly, so no node is emptier than half of what the fill asks for.
template <int D>
class Shape {
 public:
  Shape(std::size_t entries, double fill) {
    const double kept = std::clamp(fill, 0.4, 1.0);
    const auto leaf = static_cast<std::size_t>(std::round(kept * kLeafFanout<D>));
    inner_ = static_cast<std::size_t>(std::round(kept * kInnerFanout<D>));
    capacity_.push_back(leaf);
    while (capacity_.back() < entries) capacity_.push_back(capacity_.back() * inner_);
    nodes_ = count(entries, height() - 1);
  }

  std::uint32_t height() const { return static_cast<std::uint32_t>(capacity_.size()); }
  /// Nodes of the whole tree.
  NodeCounts nodes() const { return nodes_; }
  /// Children of a node of that level with that many entries below it.
  std::size_t children(std::size_t entries, std::uint32_t level) const {
    return (entries + capacity_[level - 1] - 1) / capacity_[level - 1];
  }
  /// Nodes of a subtree, its root included. Thread-safe once the whole tree was counted.
  NodeCounts subtree(std::size_t entries, std::uint32_t level) const {
    return level == 0 ? NodeCounts{1, 0} : counted_.at({level, entries});
  }

 private:
  NodeCounts count(std::size_t entries, std::uint32_t level) {
    if (level == 0) return {1, 0};
    const auto known = counted_.find({level, entries});
    if (known != counted_.end()) return known->second;
    const std::size_t parts = children(entries, level);
    NodeCounts sum{0, 1};
    for (std::size_t i = 0; i < parts; ++i) {
      const std::size_t begin = part_begin(entries, parts, i);
      sum = sum + count(part_begin(entries, parts, i + 1) - begin, level - 1);
    }
    return counted_[{level, entries}] = sum;
  }

  std::size_t inner_;
  std::vector<std::size_t> capacity_;  ///< entries below a node, by level
  std::map<std::pair<std::uint32_t, std::size_t>, NodeCounts> counted_;
  NodeCounts nodes_;
};

unsigned threads_of(const BulkLoadOptions& options) {
  return options.threads != 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
}

/// Runs both, on two threads if there are any to spare; each is told how many it may use.
template <typename F, typename G>
void run_both(unsigned threads, F&& first, G&& second) {
  if (threads > 1) {
    try {
      std::thread other([&] { first(threads / 2); });
      second(threads - threads / 2);
      other.join();
      return;
    } catch (const std::system_error&) {
      // No thread to be had: do it all here.
    }
  }
  first(1u);
  second(1u);
}

/// Chunks that lie anywhere, one for each node of a kind.
struct Scattered {
  std::vector<std::uint32_t> leaves;
  std::vector<std::uint32_t> inners;
};

/// Writes the nodes of a packed tree into a run of chunks, or into scattered ones: of each kind,
/// parents before children.
template <int D>
class Packer {
 public:
  Packer(Arena<D>& arena, const Shape<D>& shape, const Run& run, bool checksums)
      : arena_(arena),
        shape_(shape),
        layout_(std::in_place, run, kChunkShape<D>),
        birth_(run.birth),
        checksums_(checksums) {}
  Packer(Arena<D>& arena, const Shape<D>& shape, const Scattered& chunks, Version birth,
         bool checksums)
      : arena_(arena), shape_(shape), scattered_(&chunks), birth_(birth), checksums_(checksums) {}

  /// `before`: the nodes of each kind that lie before those of this subtree.
  void build(std::span<Entry<D>> entries, std::uint32_t level, NodeCounts before,
             unsigned threads) {
    Node<D>& node = arena_.mutable_node(chunk_of(level, before));
    node.reset(birth_, level);
    node.header.entries = entries.size();
    if (level == 0) {
      node.header.count = static_cast<std::uint32_t>(entries.size());
      for (std::uint32_t i = 0; i < entries.size(); ++i) node.set_entry(i, entries[i]);
      node.bounds = bounds_of_entries(node);
      group_entries(node);
    } else {
      const std::size_t parts = shape_.children(entries.size(), level);
      node.header.count = static_cast<std::uint32_t>(parts);
      Places places;
      NodeCounts next = before + NodeCounts{0, 1};
      for (std::size_t i = 0; i < parts; ++i) {
        places[i] = next;
        const std::size_t size =
            part_begin(entries.size(), parts, i + 1) - part_begin(entries.size(), parts, i);
        next = next + shape_.subtree(size, level - 1);
      }
      build_children(node, places, entries, 0, parts, threads);
      fit(node);
    }
    if (checksums_) node.header.checksum = node_checksum(node);
  }

 private:
  using Places = std::array<NodeCounts, kInnerFanout<D>>;

  std::uint32_t chunk_of(std::uint32_t level, NodeCounts before) const {
    if (!layout_) {
      return level == 0 ? scattered_->leaves[before.leaves] : scattered_->inners[before.inners];
    }
    return level == 0 ? layout_->leaf(before.leaves) : layout_->inner(before.inners);
  }

  /// Gives a node whose children are there its own box and ids, and theirs.
  void fit(Node<D>& node) {
    const auto box_of = [&](std::uint32_t i) { return arena_.node(node.child(i).chunk()).bounds; };
    Box<D> box = box_of(0);
    for (std::uint32_t i = 1; i < node.count(); ++i) extend(box, box_of(i));
    node.fit(box);
    IdRange ids = kNoIds;
    for (std::uint32_t i = 0; i < node.count(); ++i) {
      node.set_child_box(i, box_of(i));
      if (node.level() == 1) {
        node.inner.directories[i] = directory_of(node, i, arena_.node(node.child(i).chunk()));
      }
      ids.extend(arena_.node(node.child(i).chunk()).ids());
    }
    node.set_ids(ids);
  }

  /// Children [first, last) of a node, out of all its entries: halves them along the longer side of
  /// their centres until one child is left.
  void build_children(Node<D>& node, const Places& places, std::span<Entry<D>> all,
                      std::size_t first, std::size_t last, unsigned threads) {
    const std::size_t parts = node.count();
    const std::size_t begin = part_begin(all.size(), parts, first);
    const std::size_t end = part_begin(all.size(), parts, last);
    const std::span<Entry<D>> here = all.subspan(begin, end - begin);
    if (last - first == 1) {
      const std::uint32_t level = node.level() - 1;
      build(here, level, places[first], threads);
      node.inner.children[first] = NodeRef(chunk_of(level, places[first]), birth_).word();
      return;
    }
    const std::size_t middle = first + (last - first) / 2;
    halve<D>(here, part_begin(all.size(), parts, middle) - begin);
    run_both(
        here.size() < kParallelEntries ? 1 : threads,
        [&](unsigned share) { build_children(node, places, all, first, middle, share); },
        [&](unsigned share) { build_children(node, places, all, middle, last, share); });
  }

  Arena<D>& arena_;
  const Shape<D>& shape_;
  const std::optional<RunLayout> layout_;
  const Scattered* scattered_ = nullptr;  ///< without a layout
  const Version birth_;
  const bool checksums_;
};

}  // namespace

template <int D>
Result<Version> Tree<D>::bulk_load(std::vector<Entry<D>> entries, const BulkLoadOptions& options) {
  if (Status loaded = bulk_load_batch(std::move(entries), options); !loaded) {
    return fail(loaded.error());
  }
  return publish();
}

template <int D>
NodeCounts Tree<D>::nodes_of(std::uint64_t entries, const BulkLoadOptions& options) {
  return Shape<D>(entries, options.fill == 0 ? kDefaultFill : options.fill).nodes();
}

template <int D>
Result<bool> Tree<D>::reserve_run(const Run& run) {
  if (Status free = forest_->arena.check_run(run, reserved()); !free) return fail(free.error());
  const auto has_slabs = forest_->arena.add_slab_of_run(run);
  if (!has_slabs || !*has_slabs) return has_slabs;
  forest_->arena.take_run(run);
  update_stats();
  return true;
}

template <int D>
void Tree<D>::build_run(const Run& run, std::vector<Entry<D>> entries,
                        const BulkLoadOptions& options) {
  const Shape<D> shape(entries.size(), options.fill == 0 ? kDefaultFill : options.fill);
  SILURUS_CHECK(!entries.empty() && shape.nodes().inners == run.inners &&
                chunks_for(shape.nodes()) == run.chunks && shape.height() <= kMaxLevel);
  Packer<D> packer(forest_->arena, shape, run, forest_->options.checksums);
  packer.build(entries, shape.height() - 1, {}, threads_of(options));
}

/// Builds the tree of the batch in chunks that were used before: where data sets come and go there
/// is no run left that never was.
template <int D>
Status Tree<D>::build_scattered(std::vector<Entry<D>> entries, const BulkLoadOptions& options) {
  const Shape<D> shape(entries.size(), options.fill == 0 ? kDefaultFill : options.fill);
  const NodeCounts nodes = shape.nodes();
  Status room = reserve(nodes, reserved());
  // What was dropped or cleared comes back some thousand nodes at a time.
  for (std::uint64_t used = UINT64_MAX; !room && forest_->arena.used_chunks() < used;) {
    used = forest_->arena.used_chunks();
    room = reserve(nodes, reserved());
  }
  if (!room) return room;
  Scattered chunks;
  const auto take = [&](std::uint32_t level, std::uint64_t count,
                        std::vector<std::uint32_t>& into) {
    for (; into.size() < count; forest_->born.emplace_back(into.back(), forest_->pending)) {
      into.push_back(forest_->arena.allocate(level));
    }
  };
  take(1, nodes.inners, chunks.inners);
  take(0, nodes.leaves, chunks.leaves);
  Packer<D> packer(forest_->arena, shape, chunks, forest_->pending, forest_->options.checksums);
  packer.build(entries, shape.height() - 1, {}, threads_of(options));
  note_change();
  drop(root_);
  root_ = NodeRef(nodes.inners > 0 ? chunks.inners[0] : chunks.leaves[0], forest_->pending);
  return {};
}

template <int D>
void Tree<D>::put_node(NodeRef ref, const Node<D>& node) {
  copy_node(own_node(ref), node);
}

template <int D>
Status Tree<D>::adopt_run(const Run& run) {
  const bool is_fresh = !is_own(root_) && forest_->born.empty() && forest_->runs.empty();
  if (!is_fresh || node(root_).header.entries != 0 || run.birth != forest_->pending) {
    return fail(ErrorCode::kConflict, "a tree of version " + std::to_string(run.birth) +
                                          " cannot follow version " +
                                          std::to_string(forest_->current) + ", which has " +
                                          std::to_string(node(root_).header.entries) + " entries");
  }
  replace_root(run);
  return {};
}

/// The root of a run instead of the one that there is.
template <int D>
void Tree<D>::replace_root(const Run& run) {
  note_change();
  drop(root_);
  root_ = run.root();
}

template <int D>
void Tree<D>::release_run(const Run& run) {
  forest_->arena.give_back_run(run);
  update_stats();
}

template <int D>
Status Tree<D>::bulk_load_batch(std::vector<Entry<D>> entries, const BulkLoadOptions& options) {
  if (node(root_).header.entries != 0) {
    return fail(ErrorCode::kConflict, "a bulk load needs an empty tree; this one has " +
                                          std::to_string(node(root_).header.entries) + " entries");
  }
  if (!(options.fill >= 0 && options.fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument, "fill = " + format_number(options.fill) +
                                                 " is not in (0, 1], nor 0 for the default");
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (Status checked = check_box(entries[i].box); !checked) {
      return fail(checked.error().code,
                  "entry " + std::to_string(i) + ": " + checked.error().message);
    }
  }
  if (entries.empty()) return {};
  if (!is_keyed_) return load_entries(std::move(entries), options);
  const auto has_lower_id = [](const Entry<D>& a, const Entry<D>& b) { return a.id < b.id; };
  if (!std::ranges::is_sorted(entries, has_lower_id)) std::ranges::sort(entries, has_lower_id);
  const auto twice = std::ranges::adjacent_find(entries, {}, &Entry<D>::id);
  if (twice != entries.end()) {
    return fail(ErrorCode::kConflict, "id " + std::to_string(twice->id) +
                                          " is there more than once, and ids of a keyed "
                                          "collection are unique");
  }
  const NodeRef old = index_;
  if (Status built = build_index(entries); !built) return built;
  if (Status loaded = load_entries(std::move(entries), options); !loaded) {
    drop_below(std::exchange(index_, old));
    return loaded;
  }
  drop_below(old);
  note_pair();
  return {};
}

/// Builds the tree of entries that were checked, of which there are some.
template <int D>
Status Tree<D>::load_entries(std::vector<Entry<D>> entries, const BulkLoadOptions& options) {
  const Shape<D> shape(entries.size(), options.fill == 0 ? kDefaultFill : options.fill);
  if (shape.height() > kMaxLevel) return fail(ErrorCode::kTooLarge, "the tree would be too high");
  const NodeCounts nodes = shape.nodes();
  if (const std::uint64_t chunks = chunks_for(nodes); chunks > forest_->arena.max_chunks()) {
    return forest_->arena.too_large(nodes.leaves + nodes.inners, chunks);
  }
  const Run run{unused_chunk(), static_cast<std::uint32_t>(chunks_for(nodes)),
                static_cast<std::uint32_t>(nodes.inners), forest_->pending};
  for (;;) {
    const auto reserved = reserve_run(run);
    if (!reserved && reserved.error().code == ErrorCode::kOutOfMemory) {
      return build_scattered(std::move(entries), options);
    }
    if (!reserved) return fail(reserved.error());
    if (*reserved) break;
  }
  build_run(run, std::move(entries), options);
  replace_root(run);
  forest_->runs.push_back(run);
  return {};
}

template Result<Version> Tree<2>::bulk_load(std::vector<Entry<2>>, const BulkLoadOptions&);
template Result<Version> Tree<3>::bulk_load(std::vector<Entry<3>>, const BulkLoadOptions&);
#define SILURUS_BULK_LOAD(D)                                                                   \
  template Status Tree<D>::bulk_load_batch(std::vector<Entry<D>>, const BulkLoadOptions&);     \
  template NodeCounts Tree<D>::nodes_of(std::uint64_t, const BulkLoadOptions&);                \
  template Result<bool> Tree<D>::reserve_run(const Run&);                                      \
  template void Tree<D>::build_run(const Run&, std::vector<Entry<D>>, const BulkLoadOptions&); \
  template void Tree<D>::put_node(NodeRef, const Node<D>&);                                    \
  template Status Tree<D>::adopt_run(const Run&);                                              \
  template void Tree<D>::release_run(const Run&)
SILURUS_BULK_LOAD(2);
SILURUS_BULK_LOAD(3);
#undef SILURUS_BULK_LOAD

}  // namespace silurus::rtree
