// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/result.h"
#include "replication/persistent_memory.h"
#include "replication/stored_forest.h"
#include "replication/superblock.h"
#include "rtree/tree.h"

// Checkpoints: the nodes of one version of the tree on persistent memory. A chunk of the arena has
// a place in each of two areas; the map says, a bit for each chunk, which of them holds what the
// last checkpoint has of it, which is the same one for all chunks of a node. The next checkpoint
// writes the nodes born since then into the other places, then the other map, then the other root.
// So whatever it writes, the last checkpoint stays whole until the new root is durable, and a
// checkpoint costs no more than what has changed.

namespace silurus::replication {

/// The memory of a store, by what lies in it.
struct Volume {
  std::string name;                            ///< for errors: "/data/silurus"
  std::unique_ptr<PersistentMemory> super;     ///< superblock, roots, maps
  std::unique_ptr<PersistentMemory> log;       ///< the ring
  std::unique_ptr<PersistentMemory> nodes[2];  ///< the areas
  /// What goes into checkpoints beside the tree, one after the other: of members of a group only.
  std::unique_ptr<PersistentMemory> extras[2];
};

/// The bits of a map: whether the first area holds the newest copy of a chunk, or the second (or
/// none).
class AreaMap {
 public:
  bool operator[](std::uint64_t chunk) const {
    return chunk / 64 < words_.size() && (words_[chunk / 64] >> (chunk % 64) & 1) != 0;
  }
  void set(std::uint64_t chunk, bool is_first) {
    const std::uint64_t bit = std::uint64_t{1} << (chunk % 64);
    words_[chunk / 64] = is_first ? words_[chunk / 64] | bit : words_[chunk / 64] & ~bit;
  }
  /// At least that many chunks; new ones are 0.
  void grow(std::uint64_t chunks) {
    if (words_.size() * 64 < chunks) words_.resize((chunks + 63) / 64);
  }
  std::uint64_t chunks() const { return words_.size() * 64; }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words_)); }
  std::uint64_t checksum() const;
  static AreaMap from_bytes(std::span<const std::byte> bytes);

 private:
  std::vector<std::uint64_t> words_;
};

/// The nodes of a checkpoint, for Tree::restore. Any thread.
template <int D>
class CheckpointNodes final : public rtree::StoredNodes<D> {
 public:
  /// The memories must outlive it.
  CheckpointNodes(const Volume& volume, AreaMap map)
      : areas_{volume.nodes[0]->bytes(), volume.nodes[1]->bytes()}, map_(std::move(map)) {}
  std::span<const std::byte> find(rtree::NodeRef ref) const override;

 private:
  std::span<const std::byte> areas_[2];
  AreaMap map_;
};

/// Nodes beside the checkpoint (Checkpointer::keep_beside), for Tree::restore_run. Any thread.
template <int D>
class StagedNodes final : public rtree::StoredNodes<D> {
 public:
  /// `volume`, `map`: must outlive it.
  StagedNodes(const Volume& volume, const AreaMap& map) : volume_(volume), map_(map) {}
  std::span<const std::byte> find(rtree::NodeRef ref) const override;

 private:
  const Volume& volume_;
  const AreaMap& map_;
};

/// The map of the checkpoint, verified.
Result<AreaMap> read_map(const Volume& volume, const Superblock& superblock,
                         const RootRecord& root);

/// What the checkpoint holds beside the tree, verified; nothing in the empty store.
Result<std::vector<std::byte>> read_extra(const Volume& volume, std::uint64_t store_id,
                                          const RootRecord& root);

struct CheckpointFigures {
  std::uint64_t nodes = 0;  ///< written
  std::uint64_t bytes = 0;
};

/// Writes the checkpoints of one store. One thread at a time; neither the tree's writer nor its
/// readers wait for it.
template <int D>
class Checkpointer {
 public:
  /// Goes on from `last`. The volume's super and nodes must outlive it and be written by no other
  /// else.
  Checkpointer(Volume& volume, const Superblock& superblock, const RootRecord& last, AreaMap map);

  /// Makes a version durable: all trees of `forest`, whose nodes `tree` has, being one of them, and
  /// snapshots hold, or a batch that is sealed and not published. `log`: the first record that is
  /// not in it; `stamp`: its time; `extra`: what goes with it, where the volume has room for that.
  /// After an error, or if a stop was requested (kUnavailable), the last checkpoint is still whole,
  /// and after kNoSpace the last one that recovery finds; another error of the medium itself is
  /// final.
  Status write(const rtree::Tree<D>& tree, const StoredForest& forest, LogPosition log, Stamp stamp,
               const std::stop_token& cancel = {}, std::span<const std::byte> extra = {});
  /// The same where a run, which is in that version or was in one before it, may lie beside the
  /// last checkpoint (keep_beside()): its nodes are not written again.
  void adopt_beside(const std::optional<rtree::Run>& run) { adopted_ = run; }

  /// Makes sure that the medium has room for what write() of the same version would write, and
  /// writes nothing. kNoSpace says how much is missing, and room that was taken for it is given
  /// back; kTooLarge: no medium would do.
  Status make_room(const rtree::Tree<D>& tree, const StoredForest& forest);

  /// The same of nodes that come one by one, from a tree that is elsewhere: begin(), take() for
  /// each of them, every chunk once, and finish() with the roots among them.
  void begin();
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node);
  /// Instead of begin() and finish(), for all nodes of a run: then they are durable beside the last
  /// checkpoint, at the places where the next one would put them (StagedNodes), and part of none.
  /// So they stay there until their chunks belong to others. begin_beside() makes room for them.
  Status begin_beside(const rtree::Run& run);
  Status keep_beside(const rtree::Run& run);
  /// Such a run was found there by recovery.
  void note_beside(const rtree::Run& run) { beside_.push_back(run); }
  Status finish(const StoredForest& forest, LogPosition log, Stamp stamp,
                std::span<const std::byte> extra);

  /// The last one that is durable.
  const RootRecord& last() const { return last_; }
  /// Figures of the last write().
  const CheckpointFigures& figures() const { return figures_; }

 private:
  template <typename Visit>
  Status visit_new(const rtree::Tree<D>& tree, const rtree::ForestRoots& roots,
                   Visit&& visit) const;
  Status write_nodes(const rtree::Tree<D>& tree, const rtree::ForestRoots& roots,
                     const std::stop_token& cancel);
  /// Where a chunk is written next.
  struct Place {
    int area;
    std::uint64_t offset;
  };
  Result<Place> place_of(std::uint32_t chunk, std::uint32_t chunks, std::uint64_t map_chunks) const;
  void note_moved(std::uint32_t chunk, std::uint32_t chunks);
  Status make_room(const rtree::Run& run);
  Status make_room(const std::vector<bool> (&extents)[2], std::uint64_t chunks,
                   std::uint64_t forest_bytes);
  void mark_extents(const Place& place, std::uint32_t chunks,
                    std::vector<bool> (&extents)[2]) const;
  bool lies_beside(rtree::NodeRef ref, const rtree::Node<D>& node) const;
  Status reserve_all(int area, const std::vector<bool>& extents, std::vector<std::uint64_t>& blank);
  Status look_for_room(int area, const std::vector<bool>& extents) const;
  std::uint64_t bytes_of(int area, std::uint64_t extent) const;
  Status drain_areas();
  Status drain(PersistentMemory& memory);
  Status write_map(std::uint64_t sequence);
  Status write_extra(std::uint64_t sequence, std::span<const std::byte> extra);
  Status reserve_root(std::uint64_t sequence, std::uint64_t forest_bytes);
  Status write_root(const RootRecord& record, std::span<const std::byte> forest);
  Status reserve(int area, std::uint64_t offset, std::uint64_t length);

  Volume& volume_;
  const Superblock superblock_;
  RootRecord last_;
  /// A node that the checkpoint under way has written into the other area.
  struct Moved {
    std::uint32_t chunk;
    std::uint32_t chunks;
    bool is_first;  ///< the area
  };
  AreaMap map_;  ///< areas of the last checkpoint
  std::vector<Moved> moved_;
  std::vector<rtree::Run> beside_;  ///< durable, and in no checkpoint when they were written
  std::optional<rtree::Run> adopted_;
  std::vector<bool> reserved_[2];  ///< extents of the areas
  std::uint64_t undrained_bytes_ = 0;
  std::optional<Error> broken_;  ///< the medium failed, and not for want of room: final
  CheckpointFigures figures_;
};

}  // namespace silurus::replication
