// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "replication/checkpoint.h"
#include "replication/collections.h"
#include "replication/log.h"
#include "replication/superblock.h"
#include "rtree/tree.h"

// Everything durable of one tree: its log and its checkpoints; and recovery, which makes a tree of
// them: the last checkpoint, then the log behind it.

namespace silurus::replication {

struct RecoveryOptions {
  bool accept_damage = false;  ///< go on with a damaged log, and lose what lies behind the damage
  /// Whether the tree is brought to the log's end. If not, it stays as the checkpoint has it.
  bool replay = true;
  unsigned threads = 0;  ///< 0: all cores
  /// Told now and then what is being done ("nodes", "records") and how much of it is done.
  std::function<void(const char* what, std::uint64_t done)> progress = {};
};

/// What recovery found and did.
struct RecoveryReport {
  bool formatted = false;  ///< the store was new
  rtree::Version checkpoint_version = 0;
  std::uint64_t checkpoint_entries = 0;
  std::uint64_t checkpoint_nodes = 0;
  std::uint64_t checkpoint_bytes = 0;
  double checkpoint_seconds = 0;
  std::uint64_t records = 0;  ///< replayed
  std::uint64_t batches = 0;
  std::uint64_t log_bytes = 0;  ///< bytes of these records
  double replay_seconds = 0;
  std::uint64_t dropped_records = 0;  ///< records of a batch that a crash cut short
  Lsn proof_of_damage = 0;            ///< see Log::Tail
  rtree::Version version = 0;         ///< recovered
  std::uint64_t entries = 0;
};

/// "version 812 (10781311 entries): checkpoint of version 800 in 0.31 s, 12 batches ...".
std::string to_string(const RecoveryReport& report);

/// Writes an empty store over a blank volume, with a log that begins with `chain`.
template <int D>
Status format_store(Volume& volume, std::uint64_t id, std::uint64_t node_area_bytes,
                    std::uint64_t chain);

/// Where recovery puts the tree.
struct TreePlace {
  rtree::TreeOptions options;
  rtree::SlabSource& slabs;
  const Clock& clock;
};

/// The trees as read from a volume, of which nothing was written.
template <int D>
struct RecoveredTree {
  std::optional<Collections<D>> collections;
  Superblock superblock;
  RootRecord root;  ///< the checkpoint that it started from
  AreaMap map;
  Log::Tail tail;   ///< end of the log
  Stamp stamp = 0;  ///< stamp of the last version
  RecoveryReport report;
};

/// Reads the volume and builds the tree; what a server does when it starts, and what a check of a
/// store that isn't in use does. `where` of errors is volume.name.
template <int D>
Result<RecoveredTree<D>> recover(const Volume& volume, const TreePlace& place,
                                 const RecoveryOptions& options);

/// kUnsupported if a store that was opened knows of more than the default collection, or did so
/// once: its numbers must go on.
template <int D, typename Opened>
Status check_one_collection(const Opened& opened, const std::string& where) {
  if (opened.others.empty() && opened.catalogue == Catalogue(D)) return {};
  return fail(ErrorCode::kUnsupported,
              where + " holds several collections, which this Silurus cannot serve");
}

/// The durable half of a tree in service. The writer's thread has the log; checkpoint() may run on
/// another thread at the same time, one at a time.
template <int D>
class Store {
 public:
  struct Opened {
    std::unique_ptr<Store> store;
    std::unique_ptr<rtree::Tree<D>> tree;                 ///< the first of its forest,
    std::vector<std::unique_ptr<rtree::Tree<D>>> others;  ///< and the other ones,
    Catalogue catalogue = Catalogue(D);                   ///< and which collections they are
    RecoveryReport report;
    Stamp stamp = 0;
  };
  /// Recovers, and makes the store ready for writes. A blank volume must have been formatted.
  /// `stamp` and `nonce` go into the restart record; the stamp is raised above the last one's.
  static Result<Opened> open(Volume volume, const TreePlace& place, const RecoveryOptions& options,
                             Stamp stamp, std::uint64_t nonce);

  /// Opens the store of a member of a group, whose log is for the group to judge: the tree as of
  /// the last checkpoint, and the log behind that, with nothing added. kProtocol if the log is
  /// damaged.
  struct OpenedMember {
    std::unique_ptr<Store> store;
    std::unique_ptr<rtree::Tree<D>> tree;  ///< as in Opened
    std::vector<std::unique_ptr<rtree::Tree<D>>> others;
    Catalogue catalogue = Catalogue(D);
    RecoveryReport report;
    std::uint64_t id = 0;          ///< id of the store
    LogPosition applied;           ///< what the tree has of the log
    Stamp stamp = 0;               ///< stamp of that version
    std::vector<std::byte> extra;  ///< bytes that the checkpoint was given along
    /// Trees of bulk loads that the log behind the checkpoint speaks of (RecordType::kLoad), in
    /// their runs.
    std::vector<LoadPayload> loads;
  };
  static Result<OpenedMember> open_member(Volume volume, const TreePlace& place,
                                          const RecoveryOptions& options);

  Log& log() { return *log_; }
  const Log& log() const { return *log_; }
  const std::string& name() const { return volume_.name; }
  bool is_pmem() const { return is_pmem_; }
  bool waits_for_device() const { return waits_for_device_; }

  /// A checkpoint of a version (see Checkpointer::write), and then the log before
  /// `position` is given free, but for what keep_log() says.
  /// `adopted`: see Checkpointer::adopt_beside().
  Status checkpoint(const rtree::Tree<D>& tree, const StoredForest& forest, LogPosition position,
                    Stamp stamp, const std::stop_token& cancel = {},
                    std::span<const std::byte> extra = {},
                    const std::optional<rtree::Run>& adopted = {});
  /// Makes the nodes of a run durable beside the last checkpoint, while there is no checkpoint(),
  /// so that a record of the log can make them the tree: see Checkpointer::begin_beside().
  /// kNoSpace: no room, all is as before.
  Status begin_run(const rtree::Run& run) { return checkpointer_.begin_beside(run); }
  Status take_of_run(rtree::NodeRef ref, const rtree::Node<D>& node) {
    return checkpointer_.take(ref, node);
  }
  Status keep_run(const rtree::Run& run) { return checkpointer_.keep_beside(run); }
  /// See Checkpointer::make_room().
  Status make_room(const rtree::Tree<D>& tree, const StoredForest& forest) {
    return checkpointer_.make_room(tree, forest);
  }
  /// Bytes before a checkpoint that are kept for others to read, and those that are at most if they
  /// are held for other members (hold_log()). At set-up.
  void keep_log(std::uint64_t bytes, std::uint64_t held_bytes) {
    kept_bytes_ = bytes;
    held_bytes_ = held_bytes;
  }
  /// Any thread: the log from there on is held for a reader; kNobody: for none.
  static constexpr Lsn kNobody = UINT64_MAX;
  void hold_log(Lsn from) { held_lsn_.store(from, std::memory_order_relaxed); }  // a wish
  /// Any thread: the log before it is in the last checkpoint.
  Lsn last_checkpoint_lsn() const { return checkpoint_lsn_.load(std::memory_order_relaxed); }
  /// The checkpointer, for the thread that takes checkpoints.
  const Checkpointer<D>& checkpointer() const { return checkpointer_; }

 private:
  Store(Volume volume, const Superblock& superblock, const RootRecord& root, AreaMap map);
  Status restore_loads(const Log::Tail& tail, LogPosition from, const AreaMap& map,
                       OpenedMember& opened);

  Volume volume_;  ///< its log has moved into log_
  bool is_pmem_;
  bool waits_for_device_;
  Checkpointer<D> checkpointer_;
  std::unique_ptr<Log> log_;
  std::uint64_t kept_bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
  std::atomic<Lsn> held_lsn_{kNobody};
  std::atomic<Lsn> checkpoint_lsn_{0};
};

}  // namespace silurus::replication
