// SPDX-License-Identifier: Apache-2.0

#include "replication/store.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "common/check.h"
#include "common/units.h"
#include "replication/replay.h"

namespace silurus::replication {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return static_cast<double>(SystemClock().now() - start_) / static_cast<double>(kSecond);
  }

 private:
  Nanoseconds start_ = SystemClock().now();
};

}  // namespace

std::string to_string(const RecoveryReport& report) {
  if (report.formatted) return "new and empty";
  char text[512];
  std::snprintf(
      text, sizeof text,
      "version %llu, %llu entries: checkpoint of version %llu (%llu nodes, %s) in %.2f s, "
      "%llu records of the log (%s) in %.2f s",
      static_cast<unsigned long long>(report.version),
      static_cast<unsigned long long>(report.entries),
      static_cast<unsigned long long>(report.checkpoint_version),
      static_cast<unsigned long long>(report.checkpoint_nodes),
      format_size(report.checkpoint_bytes).c_str(), report.checkpoint_seconds,
      static_cast<unsigned long long>(report.records), format_size(report.log_bytes).c_str(),
      report.replay_seconds);
  std::string line = text;
  if (report.dropped_records != 0) {
    line += "; dropped " + std::to_string(report.dropped_records) +
            " records of a batch that was cut short, and so never acknowledged";
  }
  if (report.proof_of_damage != 0) line += "; THE LOG IS DAMAGED and what lies behind is lost";
  return line;
}

template <int D>
Status format_store(Volume& volume, std::uint64_t id, std::uint64_t node_area_bytes,
                    std::uint64_t chain) {
  PersistentMemory& super = *volume.super;
  SILURUS_CHECK(is_blank(super.bytes().first(kMapsOffset)));
  if (Status room = super.reserve(0, kPageBytes); !room) return room;
  const Superblock superblock = make_superblock(D, rtree::kNodeFormat<D>, id, volume.log->size(),
                                                node_area_bytes, (super.size() - kMapsOffset) / 2);
  super.store(0, std::as_bytes(std::span(&superblock, 1)));
  super.flush(0, sizeof superblock);
  if (Status drained = super.drain(); !drained) return drained;
  const RootRecord empty = seal({.checksum = 0,
                                 .sequence = 1,
                                 .version = 0,
                                 .forest_bytes = 0,
                                 .forest_checksum = forest_checksum({}),
                                 .entries = 0,
                                 .chunks = 0,
                                 .map_checksum = AreaMap().checksum(),
                                 .log = {.lsn = 0, .chain = chain},
                                 .stamp = 0},
                                id);
  for (std::uint64_t copy = 0; copy < 2; ++copy) {
    const std::uint64_t offset = root_offset(empty.sequence, copy);
    if (Status room = super.reserve(offset, sizeof empty); !room) return room;
    super.store(offset, std::as_bytes(std::span(&empty, 1)));
    super.flush(offset, sizeof empty);
    if (Status drained = super.drain(); !drained) return drained;
  }
  return {};
}

namespace {

/// The trees of the checkpoint, or an empty one if there was none yet.
template <int D>
Result<Collections<D>> restore_collections(const Volume& volume, const TreePlace& place,
                                           const RecoveryOptions& options,
                                           const RecoveredTree<D>& recovered) {
  const RootRecord& root = recovered.root;
  if (root.version == 0) {
    auto tree = rtree::Tree<D>::create(place.options, place.slabs, place.clock);
    if (!tree) return fail(tree.error());
    return Collections<D>(std::move(*tree));
  }
  auto forest =
      StoredForest::decode(forest_of(volume.super->bytes(), root), root.version, root.entries);
  if (!forest) return fail(forest.error());
  for (const CollectionInfo& one : forest->catalogue.collections()) {
    if (one.dimensions != D) {
      return fail(ErrorCode::kProtocol,
                  "the collection " + one.name + " has other dimensions than the store");
    }
  }
  rtree::RestoreOptions restore{.threads = options.threads};
  if (options.progress) {
    restore.progress = [&](std::uint64_t nodes) { options.progress("nodes", nodes); };
  }
  auto trees =
      rtree::Tree<D>::restore(place.options, place.slabs, place.clock, forest->roots.trees,
                              root.version, CheckpointNodes<D>(volume, recovered.map), restore);
  if (!trees) return fail(trees.error());
  for (const auto& tree : *trees) {
    const CollectionInfo* const info = forest->catalogue.find(tree->number());
    if (info != nullptr && tree->has_records() != ((info->flags & kWithRecords) != 0)) {
      return fail(ErrorCode::kProtocol,
                  "the collection " + info->name + " was stored as one of another kind");
    }
  }
  return Collections<D>(std::move(*trees), std::move(forest->catalogue));
}

template <int D>
Status restore_checkpoint(const Volume& volume, const TreePlace& place,
                          const RecoveryOptions& options, RecoveredTree<D>& recovered) {
  const Stopwatch watch;
  const RootRecord& root = recovered.root;
  auto collections = restore_collections(volume, place, options, recovered);
  if (!collections) {
    return fail(collections.error().code,
                volume.name + ": " + collections.error().message +
                    (collections.error().code == ErrorCode::kProtocol ? ": restore a backup" : ""));
  }
  recovered.collections.emplace(std::move(*collections));
  const rtree::Tree<D>& first = recovered.collections->first();
  const bool is_the_one =
      recovered.collections->entries() == root.entries && first.next_version() == root.version + 1;
  if (root.version != 0 && !is_the_one) {
    return fail(ErrorCode::kProtocol, volume.name +
                                          " has a checkpoint that contradicts itself: "
                                          "restore a backup");
  }
  const rtree::TreeStats stats = first.stats();
  RecoveryReport& report = recovered.report;
  report.checkpoint_version = root.version;
  report.checkpoint_entries = root.entries;
  report.checkpoint_nodes = root.version == 0 ? 0 : stats.nodes;
  const std::uint64_t blocks = recovered.collections->trees().size() * rtree::kRootChunks<D>;
  report.checkpoint_bytes =
      root.version == 0 ? 0 : stats.bytes_used - blocks * rtree::kChunkBytes<D>;
  report.checkpoint_seconds = watch.seconds();
  return {};
}

template <int D>
Status replay_log(const Volume& volume, const RecoveryOptions& options,
                  RecoveredTree<D>& recovered) {
  const Stopwatch watch;
  const std::span<const std::byte> ring = volume.log->bytes();
  const Log::Tail tail = Log::find_tail(ring, recovered.root.log);
  RecoveryReport& report = recovered.report;
  report.proof_of_damage = tail.proof_of_damage;
  if (tail.proof_of_damage != 0 && !options.accept_damage) {
    return fail(ErrorCode::kProtocol, volume.name + ": " + damage_of(tail, recovered.root.log));
  }
  recovered.tail = tail;
  recovered.stamp = recovered.root.stamp;
  if (!options.replay) return {};
  LogReader reader(ring, recovered.root.log);
  Replay<D> replay(*recovered.collections);
  while (reader.position().lsn < tail.end.lsn) {
    const auto record = reader.next();
    SILURUS_CHECK(record);  // find_tail has seen it
    if (Status taken = replay.take(*record); !taken) {
      return fail(taken.error().code, volume.name + ": " + taken.error().message);
    }
    if (options.progress && replay.records() % 65536 == 0) {
      options.progress("records", replay.records());
    }
  }
  if (Status finished = replay.finish(); !finished) {
    return fail(finished.error().code, volume.name + ": " + finished.error().message);
  }
  recovered.stamp = std::max(recovered.root.stamp, tail.last_stamp);
  report.records = replay.records();
  report.batches = replay.batches();
  report.log_bytes = tail.end.lsn - recovered.root.log.lsn;
  report.dropped_records = tail.dropped_records;
  report.replay_seconds = watch.seconds();
  return {};
}

}  // namespace

template <int D>
Result<RecoveredTree<D>> recover(const Volume& volume, const TreePlace& place,
                                 const RecoveryOptions& options) {
  const std::span super = volume.super->bytes();
  auto superblock = read_superblock(super, D, rtree::kNodeFormat<D>, volume.name);
  if (!superblock) return fail(superblock.error());
  if (superblock->log_bytes != volume.log->size() ||
      super_bytes(superblock->map_bytes) > super.size()) {
    return fail(ErrorCode::kProtocol, volume.name +
                                          " has files of other sizes than when it was "
                                          "made: restore a backup");
  }
  auto root = newest_root(super, superblock->id, volume.name);
  if (!root) return fail(root.error());
  auto map = read_map(volume, *superblock, *root);
  if (!map) return fail(map.error());
  RecoveredTree<D> recovered;
  recovered.superblock = *superblock;
  recovered.root = *root;
  recovered.map = std::move(*map);
  if (Status done = restore_checkpoint(volume, place, options, recovered); !done) {
    return fail(done.error());
  }
  if (Status done = replay_log(volume, options, recovered); !done) return fail(done.error());
  recovered.report.version = recovered.collections->first().next_version() - 1;
  recovered.report.entries = recovered.collections->entries();
  return recovered;
}

template <int D>
Store<D>::Store(Volume volume, const Superblock& superblock, const RootRecord& root, AreaMap map)
    : volume_(std::move(volume)),
      is_pmem_(volume_.log->is_pmem()),
      waits_for_device_(volume_.log->waits_for_device()),
      checkpointer_(volume_, superblock, root, std::move(map)),
      checkpoint_lsn_(root.log.lsn) {}

namespace {

template <int D, typename Opened>
void give_trees(Collections<D>& from, Opened& to) {
  to.catalogue = from.catalogue();
  auto trees = from.release();
  to.tree = std::move(trees.front());
  trees.erase(trees.begin());
  to.others = std::move(trees);
}

/// All that is in the trees of a store that was just opened.
template <int D, typename Opened>
StoredForest forest_of(const Opened& opened) {
  StoredForest forest{.roots = {}, .catalogue = opened.catalogue};
  forest.roots.version = opened.tree->next_version() - 1;
  opened.tree->add_to(forest.roots, opened.tree->batch_root(), opened.tree->batch_index());
  for (const auto& tree : opened.others) {
    tree->add_to(forest.roots, tree->batch_root(), tree->batch_index());
  }
  return forest;
}

}  // namespace

template <int D>
Result<typename Store<D>::Opened> Store<D>::open(Volume volume, const TreePlace& place,
                                                 const RecoveryOptions& options, Stamp stamp,
                                                 std::uint64_t nonce) {
  auto recovered = recover<D>(volume, place, options);
  if (!recovered) return fail(recovered.error());
  Opened opened;
  opened.report = recovered->report;
  opened.stamp = std::max(stamp, recovered->stamp + 1);
  give_trees(*recovered->collections, opened);
  opened.store.reset(
      new Store(std::move(volume), recovered->superblock, recovered->root, recovered->map));
  Store& store = *opened.store;
  // A killed process may have left the newest root in the caches of a machine that still runs.
  PersistentMemory& super = *store.volume_.super;
  super.flush(0, kMapsOffset);
  if (Status drained = super.drain(); !drained) return fail(drained.error());
  LogPosition start = recovered->root.log;
  std::optional<Log::Tail> tail = recovered->tail;
  if (recovered->report.proof_of_damage != 0) {
    // What lies behind the damage must not be found again: go on a whole lap further.
    tail.reset();
    start = {recovered->tail.end.lsn + store.volume_.log->size(), nonce};
    Status made =
        store.checkpointer_.write(*opened.tree, forest_of<D>(opened), start, recovered->stamp);
    if (!made) return fail(made.error());
  }
  auto log = Log::open(std::move(store.volume_.log), start, tail);
  if (!log) return fail(log.error());
  store.log_ = std::move(*log);
  Status restarted = store.log_->append_restart(opened.stamp, 1, nonce);
  if (!restarted && restarted.error().code == ErrorCode::kTooLarge) {
    // Restarts alone have filled what is reserved for them.
    Status made =
        store.checkpoint(*opened.tree, forest_of<D>(opened), store.log_->end(), recovered->stamp);
    if (!made) return fail(made.error());
    restarted = store.log_->append_restart(opened.stamp, 1, nonce);
  }
  if (!restarted) return fail(restarted.error());
  return opened;
}

template <int D>
Result<typename Store<D>::OpenedMember> Store<D>::open_member(Volume volume, const TreePlace& place,
                                                              const RecoveryOptions& options) {
  RecoveryOptions as_it_is = options;
  as_it_is.replay = false;
  as_it_is.accept_damage = false;
  auto recovered = recover<D>(volume, place, as_it_is);
  if (!recovered) return fail(recovered.error());
  auto extra = read_extra(volume, recovered->superblock.id, recovered->root);
  if (!extra) return fail(extra.error());
  OpenedMember opened;
  give_trees(*recovered->collections, opened);
  opened.report = recovered->report;
  opened.id = recovered->superblock.id;
  opened.applied = recovered->root.log;
  opened.stamp = recovered->root.stamp;
  opened.extra = std::move(*extra);
  opened.store.reset(
      new Store(std::move(volume), recovered->superblock, recovered->root, recovered->map));
  Store& store = *opened.store;
  // As in open().
  PersistentMemory& super = *store.volume_.super;
  super.flush(0, kMapsOffset);
  if (Status drained = super.drain(); !drained) return fail(drained.error());
  auto log = Log::open(std::move(store.volume_.log), opened.applied, recovered->tail);
  if (!log) return fail(log.error());
  store.log_ = std::move(*log);
  Status restored = store.restore_loads(recovered->tail, opened.applied, recovered->map, opened);
  if (!restored) return fail(restored.error());
  return opened;
}

/// Nodes of bulk loads were durable before the record that speaks of them was logged; the tree gets
/// them when that record is applied.
template <int D>
Status Store<D>::restore_loads(const Log::Tail& tail, LogPosition from, const AreaMap& map,
                               OpenedMember& opened) {
  LogReader reader(log_->bytes(), from);
  while (reader.position().lsn < tail.end.lsn) {
    const auto record = reader.next();
    SILURUS_CHECK(record);  // find_tail has seen it
    const auto load =
        record->header.type == RecordType::kLoad ? payload_as<LoadPayload>(*record) : std::nullopt;
    if (!load) continue;
    const rtree::Run run = run_of(*load);
    for (;;) {
      const auto reserved = opened.tree->reserve_run(run);
      if (!reserved) return fail(reserved.error().code, name() + ": " + reserved.error().message);
      if (*reserved) break;
    }
    const StagedNodes<D> nodes(volume_, map);
    if (Status restored = opened.tree->restore_run(run, nodes, {}); !restored) {
      return fail(restored.error().code, name() + ": of a bulk load, " + restored.error().message);
    }
    checkpointer_.note_beside(run);
    opened.loads.push_back(*load);
  }
  return {};
}

template <int D>
Status Store<D>::checkpoint(const rtree::Tree<D>& tree, const StoredForest& forest,
                            LogPosition position, Stamp stamp, const std::stop_token& cancel,
                            std::span<const std::byte> extra,
                            const std::optional<rtree::Run>& adopted) {
  checkpointer_.adopt_beside(adopted);
  if (Status written = checkpointer_.write(tree, forest, position, stamp, cancel, extra);
      !written) {
    return written;
  }
  checkpoint_lsn_.store(position.lsn, std::memory_order_relaxed);  // a figure: orders nothing
  const auto before = [&](std::uint64_t bytes) {
    return position.lsn - std::min(position.lsn, bytes);
  };
  const Lsn held = held_lsn_.load(std::memory_order_relaxed);  // see hold_log()
  Lsn start = before(kept_bytes_);
  if (held < start && held >= before(held_bytes_)) start = held;
  log_->trim({.lsn = std::max(start, log_->start()), .chain = 0});
  return {};
}

template Status format_store<2>(Volume&, std::uint64_t, std::uint64_t, std::uint64_t);
template Status format_store<3>(Volume&, std::uint64_t, std::uint64_t, std::uint64_t);
template Result<RecoveredTree<2>> recover<2>(const Volume&, const TreePlace&,
                                             const RecoveryOptions&);
template Result<RecoveredTree<3>> recover<3>(const Volume&, const TreePlace&,
                                             const RecoveryOptions&);
template class Store<2>;
template class Store<3>;

}  // namespace silurus::replication
