// SPDX-License-Identifier: Apache-2.0

#include "replication/checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "common/check.h"
#include "common/units.h"
#include "rtree/records.h"

namespace silurus::replication {
namespace {

/// Bytes of the pieces in which room on the medium is reserved.
constexpr std::uint64_t kExtentBytes = std::uint64_t{4} << 20;
/// Written before the medium must have it, so that a checkpoint is a steady load and not a burst.
constexpr std::uint64_t kDrainBytes = std::uint64_t{8} << 20;
/// Nodes between two looks at `cancel`.
constexpr std::uint64_t kNodesPerLook = 256;

/// Begins an extra; its bytes follow.
struct ExtraHeader {
  std::uint64_t checksum;  ///< XXH3-64 of the rest and the bytes, seeded with the store's id
  std::uint64_t sequence;  ///< number of the checkpoint
  std::uint64_t bytes;
};

std::uint64_t checksum_of(const ExtraHeader& header, std::span<const std::byte> bytes,
                          std::uint64_t store_id) {
  constexpr std::size_t kSkipped = sizeof header.checksum;
  const std::uint64_t of_bytes = XXH3_64bits_withSeed(bytes.data(), bytes.size(), store_id);
  return XXH3_64bits_withSeed(reinterpret_cast<const char*>(&header) + kSkipped,
                              sizeof header - kSkipped, of_bytes);
}

}  // namespace

Result<std::vector<std::byte>> read_extra(const Volume& volume, std::uint64_t store_id,
                                          const RootRecord& root) {
  if (root.version == 0) return std::vector<std::byte>();
  const std::span from = volume.extras[root.sequence % 2]->bytes();
  ExtraHeader header{};
  if (from.size() >= sizeof header) std::memcpy(&header, from.data(), sizeof header);
  if (header.sequence != root.sequence || header.bytes > from.size() - sizeof header ||
      header.checksum != checksum_of(header, from.subspan(sizeof header, header.bytes), store_id)) {
    return fail(ErrorCode::kProtocol,
                volume.name + " has a checkpoint whose table of writes is damaged");
  }
  const std::span bytes = from.subspan(sizeof header, header.bytes);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

std::uint64_t AreaMap::checksum() const { return XXH3_64bits(bytes().data(), bytes().size()); }

AreaMap AreaMap::from_bytes(std::span<const std::byte> bytes) {
  AreaMap map;
  map.words_.resize(bytes.size() / sizeof(std::uint64_t));
  if (!bytes.empty()) std::memcpy(map.words_.data(), bytes.data(), bytes.size());
  return map;
}

namespace {

/// What an area has from a chunk on, up to the largest node.
template <int D>
std::span<const std::byte> bytes_in(std::span<const std::byte> area, std::uint32_t chunk) {
  const std::uint64_t offset = std::uint64_t{chunk} * rtree::kChunkBytes<D>;
  if (offset >= area.size()) return {};
  const std::span rest = area.subspan(offset);
  return rest.first(std::min(rest.size(), sizeof(rtree::Node<D>)));
}

}  // namespace

template <int D>
std::span<const std::byte> CheckpointNodes<D>::find(rtree::NodeRef ref) const {
  return bytes_in<D>(areas_[map_[ref.chunk()] ? 0 : 1], ref.chunk());
}

template <int D>
std::span<const std::byte> StagedNodes<D>::find(rtree::NodeRef ref) const {
  const int area = map_[ref.chunk()] ? 1 : 0;  // see place_of()
  return bytes_in<D>(volume_.nodes[area]->bytes(), ref.chunk());
}

Result<AreaMap> read_map(const Volume& volume, const Superblock& superblock,
                         const RootRecord& root) {
  const std::uint64_t bytes = root.chunks / 8;
  if (root.chunks % 64 != 0 || bytes > superblock.map_bytes) {
    return fail(ErrorCode::kProtocol, volume.name + " has a checkpoint with a map of " +
                                          std::to_string(bytes) + " bytes: restore a backup");
  }
  AreaMap map = AreaMap::from_bytes(
      volume.super->bytes().subspan(map_offset(root.sequence, superblock.map_bytes), bytes));
  if (map.checksum() != root.map_checksum) {
    return fail(ErrorCode::kProtocol,
                volume.name + " has a checkpoint whose map is damaged: restore a backup");
  }
  return map;
}

template <int D>
Checkpointer<D>::Checkpointer(Volume& volume, const Superblock& superblock, const RootRecord& last,
                              AreaMap map)
    : volume_(volume), superblock_(superblock), last_(last), map_(std::move(map)) {}

template <int D>
Status Checkpointer<D>::write(const rtree::Tree<D>& tree, const StoredForest& forest,
                              LogPosition log, Stamp stamp, const std::stop_token& cancel,
                              std::span<const std::byte> extra) {
  begin();
  if (Status written = write_nodes(tree, forest.roots, cancel); !written) return written;
  return finish(forest, log, stamp, extra);
}

template <int D>
void Checkpointer<D>::begin() {
  figures_ = {};
  moved_.clear();
}

template <int D>
Status Checkpointer<D>::finish(const StoredForest& forest, LogPosition log, Stamp stamp,
                               std::span<const std::byte> extra) {
  if (Status drained = drain_areas(); !drained) return drained;
  const AreaMap before = map_;
  for (const Moved& moved : moved_) {
    for (std::uint32_t i = 0; i < moved.chunks; ++i) map_.set(moved.chunk + i, moved.is_first);
  }
  const std::vector<std::byte> of_forest = forest.encode();
  SILURUS_CHECK(of_forest.size() <= StoredForest::kMostBytes);
  const RootRecord record = seal({.checksum = 0,
                                  .sequence = last_.sequence + 1,
                                  .version = forest.roots.version,
                                  .forest_bytes = of_forest.size(),
                                  .forest_checksum = forest_checksum(of_forest),
                                  .entries = forest.roots.entries,
                                  .chunks = map_.chunks(),
                                  .map_checksum = map_.checksum(),
                                  .log = log,
                                  .stamp = stamp},
                                 superblock_.id);
  Status switched = write_map(record.sequence);
  if (switched && volume_.extras[0] != nullptr) switched = write_extra(record.sequence, extra);
  if (switched) switched = write_root(record, of_forest);
  if (!switched) {
    map_ = before;
    return switched;
  }
  last_ = record;
  if (adopted_) std::erase(beside_, *std::exchange(adopted_, std::nullopt));  // in it now
  return {};
}

/// Calls visit(ref, node) for the nodes that the last checkpoint does not have, until one fails.
template <int D>
template <typename Visit>
Status Checkpointer<D>::visit_new(const rtree::Tree<D>& tree, const rtree::ForestRoots& roots,
                                  Visit&& visit) const {
  constexpr rtree::Version kMask = (rtree::Version{1} << rtree::NodeRef::kBirthBits) - 1;
  const rtree::Version version = roots.version;
  SILURUS_CHECK(version >= last_.version);
  // A reference holds the low bits of a birth that is at most `version`.
  const rtree::Version new_versions = version - last_.version;
  const auto is_new = [&](rtree::NodeRef ref) {
    return ((version - ref.birth()) & kMask) < new_versions;
  };
  std::vector<rtree::NodeRef> to_visit;
  for (const rtree::StoredTree& stored : roots.trees) {
    if (is_new(stored.root)) to_visit.push_back(stored.root);
    if (stored.index && is_new(stored.index)) to_visit.push_back(stored.index);
  }
  while (!to_visit.empty()) {
    const rtree::NodeRef ref = to_visit.back();
    to_visit.pop_back();
    const rtree::Node<D>& node = tree.batch_node(ref);
    if (Status visited = visit(ref, node); !visited) return visited;
    // What lies below an old node is old: a change of a node copies all nodes above it.
    const auto others = static_cast<std::ptrdiff_t>(to_visit.size());
    rtree::for_each_child(node, [&](rtree::WantedNode child) {
      if (is_new(child.ref)) to_visit.push_back(child.ref);
    });
    std::reverse(to_visit.begin() + others, to_visit.end());  // the first one is visited next
  }
  return {};
}

template <int D>
Status Checkpointer<D>::write_nodes(const rtree::Tree<D>& tree, const rtree::ForestRoots& roots,
                                    const std::stop_token& cancel) {
  return visit_new(tree, roots, [&](rtree::NodeRef ref, const rtree::Node<D>& node) -> Status {
    if (lies_beside(ref, node)) {
      note_moved(ref.chunk(), rtree::chunks_of<D>(node.level()));
      return {};
    }
    if (Status written = take(ref, node); !written) return written;
    if (figures_.nodes % kNodesPerLook == 0 && cancel.stop_requested()) {
      return fail(ErrorCode::kUnavailable, "the checkpoint was cancelled");
    }
    return {};
  });
}

/// The other area than that of a node's first chunk: the last checkpoint has nothing of any of its
/// chunks there (docs/decisions/0132). kTooLarge if there is no such place, or no such bit in the
/// map.
template <int D>
Result<typename Checkpointer<D>::Place> Checkpointer<D>::place_of(std::uint32_t chunk,
                                                                  std::uint32_t chunks,
                                                                  std::uint64_t map_chunks) const {
  const int area = map_[chunk] ? 1 : 0;
  const std::uint64_t offset = std::uint64_t{chunk} * rtree::kChunkBytes<D>;
  const std::uint64_t bytes = std::uint64_t{chunks} * rtree::kChunkBytes<D>;
  if (offset + bytes > volume_.nodes[area]->size()) {
    return fail(ErrorCode::kTooLarge, volume_.name + " has no place for node " +
                                          std::to_string(chunk) +
                                          ": the tree is larger than the device");
  }
  if (std::max<std::uint64_t>(map_chunks, std::uint64_t{chunk} + chunks) >
      superblock_.map_bytes * 8) {
    return fail(ErrorCode::kTooLarge, volume_.name + " has a map too small for this tree");
  }
  return Place{area, offset};
}

/// The node is where place_of() says, or will be.
template <int D>
void Checkpointer<D>::note_moved(std::uint32_t chunk, std::uint32_t chunks) {
  map_.grow(std::uint64_t{chunk} + chunks);
  moved_.push_back({chunk, chunks, !map_[chunk]});
}

template <int D>
Status Checkpointer<D>::take(rtree::NodeRef ref, const rtree::Node<D>& node) {
  if (broken_) return fail(*broken_);
  const std::uint32_t chunk = ref.chunk();
  const std::uint32_t chunks = rtree::chunks_of<D>(node.level());
  const auto place = place_of(chunk, chunks, map_.chunks());
  if (!place) return fail(place.error());
  const auto [area, offset] = *place;
  const std::size_t size = rtree::node_bytes<D>(node.level());
  if (Status room = reserve(area, offset, size); !room) return room;
  const rtree::Node<D>* written = &node;
  std::optional<rtree::Node<D>> sealed;
  if (node.header.checksum == 0) {  // a tree without checksums
    sealed.emplace();
    rtree::copy_node(*sealed, node);
    sealed->header.checksum = rtree::node_checksum(*sealed);
    written = &*sealed;
  }
  volume_.nodes[area]->store(offset, {reinterpret_cast<const std::byte*>(written), size});
  volume_.nodes[area]->flush(offset, size);
  note_moved(chunk, chunks);
  ++figures_.nodes;
  figures_.bytes += size;
  undrained_bytes_ += size;
  return undrained_bytes_ < kDrainBytes ? Status{} : drain_areas();
}

template <int D>
Status Checkpointer<D>::begin_beside(const rtree::Run& run) {
  // What lies in runs that are not needed any more is overwritten.
  std::erase_if(beside_, [&](const rtree::Run& other) {
    return other.first < run.first + run.chunks && run.first < other.first + other.chunks;
  });
  begin();
  return make_room(run);
}

template <int D>
Status Checkpointer<D>::keep_beside(const rtree::Run& run) {
  moved_.clear();
  if (Status drained = drain_areas(); !drained) return drained;
  beside_.push_back(run);
  return {};
}

/// Whether the node is where take() would put it, durably.
template <int D>
bool Checkpointer<D>::lies_beside(rtree::NodeRef ref, const rtree::Node<D>& node) const {
  return adopted_ && adopted_->has(ref, rtree::chunks_of<D>(node.level())) &&
         std::ranges::find(beside_, *adopted_) != beside_.end();
}

template <int D>
Status Checkpointer<D>::drain_areas() {
  undrained_bytes_ = 0;
  for (const auto& area : volume_.nodes) {
    if (Status drained = drain(*area); !drained) return drained;
  }
  return {};
}

template <int D>
Status Checkpointer<D>::drain(PersistentMemory& memory) {
  Status drained = memory.drain();
  // For want of room: what was written now is written again by the next one, and nothing else.
  if (!drained && drained.error().code != ErrorCode::kNoSpace) broken_ = drained.error();
  return drained;
}

template <int D>
Status Checkpointer<D>::write_map(std::uint64_t sequence) {
  const std::uint64_t offset = map_offset(sequence, superblock_.map_bytes);
  PersistentMemory& super = *volume_.super;
  if (Status room = super.reserve(offset, map_.bytes().size()); !room) return room;
  super.store(offset, map_.bytes());
  super.flush(offset, map_.bytes().size());
  return drain(super);
}

template <int D>
Status Checkpointer<D>::write_extra(std::uint64_t sequence, std::span<const std::byte> extra) {
  PersistentMemory& memory = *volume_.extras[sequence % 2];
  ExtraHeader header{.checksum = 0, .sequence = sequence, .bytes = extra.size()};
  header.checksum = checksum_of(header, extra, superblock_.id);
  const std::uint64_t bytes = sizeof header + extra.size();
  if (bytes > memory.size()) {
    return fail(ErrorCode::kTooLarge, volume_.name + " has no room for the table of writes");
  }
  if (Status room = memory.reserve(0, bytes); !room) return room;
  memory.store(0, std::as_bytes(std::span(&header, 1)));
  memory.store(sizeof header, extra);
  memory.flush(0, bytes);
  return drain(memory);
}

template <int D>
Status Checkpointer<D>::reserve_root(std::uint64_t sequence, std::uint64_t forest_bytes) {
  Status room;
  for (std::uint64_t copy = 0; copy < 2 && room; ++copy) {
    room = volume_.super->reserve(root_offset(sequence, copy), sizeof(RootRecord) + forest_bytes);
  }
  return room;
}

template <int D>
Status Checkpointer<D>::write_root(const RootRecord& record, std::span<const std::byte> forest) {
  PersistentMemory& super = *volume_.super;
  const std::uint64_t bytes = sizeof record + forest.size();
  if (Status room = reserve_root(record.sequence, forest.size()); !room) return room;
  for (std::uint64_t copy = 0; copy < 2; ++copy) {
    const std::uint64_t offset = root_offset(record.sequence, copy);
    super.store(offset, std::as_bytes(std::span(&record, 1)));
    super.store(offset + sizeof record, forest);
    if (copy == 0) {
      // A root that is not even stored leads to nothing.
      if (Status stored = super.check_stores(); !stored) return stored;
    }
    super.flush(offset, bytes);
    if (Status drained = super.drain(); !drained) {
      // Perhaps the new root is durable, perhaps not: neither checkpoint may be overwritten now.
      broken_ = drained.error();
      if (broken_->code == ErrorCode::kNoSpace) broken_->code = ErrorCode::kIo;
      return fail(*broken_);
    }
  }
  return {};
}

template <int D>
std::uint64_t Checkpointer<D>::bytes_of(int area, std::uint64_t extent) const {
  return std::min(kExtentBytes, volume_.nodes[area]->size() - extent * kExtentBytes);
}

template <int D>
Status Checkpointer<D>::reserve(int area, std::uint64_t offset, std::uint64_t length) {
  std::vector<bool>& reserved = reserved_[area];
  for (std::uint64_t extent = offset / kExtentBytes; extent * kExtentBytes < offset + length;
       ++extent) {
    if (reserved.size() <= extent) reserved.resize(extent + 1);
    if (reserved[extent]) continue;
    const Status room = volume_.nodes[area]->reserve(extent * kExtentBytes, bytes_of(area, extent));
    if (!room) return room;
    reserved[extent] = true;
  }
  return {};
}

// --- room for a checkpoint, before it is written

template <int D>
Status Checkpointer<D>::make_room(const rtree::Tree<D>& tree, const StoredForest& forest) {
  if (broken_) return fail(*broken_);
  std::vector<bool> extents[2];
  std::uint64_t chunks = map_.chunks();
  const Status found =
      visit_new(tree, forest.roots, [&](rtree::NodeRef ref, const auto& node) -> Status {
        const std::uint32_t of_node = rtree::chunks_of<D>(node.level());
        const auto place = place_of(ref.chunk(), of_node, chunks);
        if (!place) return fail(place.error());
        chunks = std::max<std::uint64_t>(chunks, std::uint64_t{ref.chunk()} + of_node);
        mark_extents(*place, of_node, extents);
        return {};
      });
  return found ? make_room(extents, chunks, forest.encode().size()) : found;
}

template <int D>
Status Checkpointer<D>::make_room(const rtree::Run& run) {
  if (broken_) return fail(*broken_);
  std::vector<bool> extents[2];
  const std::uint64_t end = std::uint64_t{run.first} + run.chunks;
  const std::uint64_t chunks = std::max<std::uint64_t>(map_.chunks(), end);
  const rtree::RunLayout layout(run, rtree::kChunkShape<D>);
  for (std::uint64_t i = 0; i < layout.nodes(); ++i) {
    const std::uint32_t of_node = rtree::chunks_of<D>(i < run.inners ? 1 : 0);
    const auto place = place_of(layout.node(i), of_node, chunks);
    if (!place) return fail(place.error());
    mark_extents(*place, of_node, extents);
  }
  return make_room(extents, chunks, last_.forest_bytes);
}

template <int D>
void Checkpointer<D>::mark_extents(const Place& place, std::uint32_t chunks,
                                   std::vector<bool> (&extents)[2]) const {
  const std::uint64_t bytes = std::uint64_t{chunks} * rtree::kChunkBytes<D>;
  const std::uint64_t last = (place.offset + bytes - 1) / kExtentBytes;
  std::vector<bool>& of_area = extents[place.area];
  if (of_area.size() <= last) of_area.resize(last + 1);
  for (std::uint64_t extent = place.offset / kExtentBytes; extent <= last; ++extent) {
    of_area[extent] = true;
  }
}

/// Makes room in these extents of the areas, for a map of that number of chunks, and for a root
/// with that number of bytes behind it.
template <int D>
Status Checkpointer<D>::make_room(const std::vector<bool> (&extents)[2], std::uint64_t chunks,
                                  std::uint64_t forest_bytes) {
  for (int area = 0; area < 2; ++area) {
    if (Status room = look_for_room(area, extents[area]); !room) return room;
  }
  std::vector<std::uint64_t> blank[2];
  Status room = volume_.super->reserve(map_offset(last_.sequence + 1, superblock_.map_bytes),
                                       (chunks + 63) / 64 * 8);
  if (room) room = reserve_root(last_.sequence + 1, forest_bytes);
  for (int area = 0; area < 2 && room; ++area) {
    room = reserve_all(area, extents[area], blank[area]);
  }
  for (int area = 0; area < 2 && !room; ++area) {
    for (const std::uint64_t extent : blank[area]) {
      volume_.nodes[area]->release(extent * kExtentBytes, bytes_of(area, extent));
      reserved_[area][extent] = false;
    }
  }
  return room;
}

/// Whether the medium can have room for these extents of an area: a look, which takes nothing.
template <int D>
Status Checkpointer<D>::look_for_room(int area, const std::vector<bool>& extents) const {
  const PersistentMemory& memory = *volume_.nodes[area];
  const std::vector<bool>& reserved = reserved_[area];
  std::uint64_t wanted = 0;
  for (std::uint64_t extent = 0; extent < std::max(extents.size(), reserved.size()); ++extent) {
    const bool is_wanted = (extent < extents.size() && extents[extent]) ||
                           (extent < reserved.size() && reserved[extent]);
    if (is_wanted) wanted += bytes_of(area, extent);
  }
  const std::uint64_t there = memory.reserved_bytes();
  const std::uint64_t missing = wanted > there ? wanted - there : 0;
  const std::uint64_t free = memory.free_bytes();
  if (missing <= free) return {};
  return fail(ErrorCode::kNoSpace, volume_.name + " needs " + format_size(missing) +
                                       " more for the tree, and its disk has " + format_size(free) +
                                       " free: make room on the disk of " + volume_.name + " (df " +
                                       volume_.name + ")");
}

/// `blank`: extents that were reserved by this and hold no data.
template <int D>
Status Checkpointer<D>::reserve_all(int area, const std::vector<bool>& extents,
                                    std::vector<std::uint64_t>& blank) {
  for (std::uint64_t extent = 0; extent < extents.size(); ++extent) {
    if (!extents[extent]) continue;
    if (extent < reserved_[area].size() && reserved_[area][extent]) continue;
    const std::uint64_t begin = extent * kExtentBytes;
    const std::uint64_t bytes = bytes_of(area, extent);
    const bool is_blank = !volume_.nodes[area]->holds_data(begin, bytes);
    const Status room = reserve(area, begin, bytes);
    if (is_blank && reserved_[area].size() > extent) blank.push_back(extent);
    if (!room) return room;
  }
  return {};
}

template class StagedNodes<2>;
template class StagedNodes<3>;
template class CheckpointNodes<2>;
template class CheckpointNodes<3>;
template class Checkpointer<2>;
template class Checkpointer<3>;

}  // namespace silurus::replication
