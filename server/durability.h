// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/counters.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "replication/data_directory.h"
#include "replication/hybrid_clock.h"
#include "replication/record.h"
#include "replication/store.h"
#include "rtree/tree.h"
#include "server/checkpoints.h"
#include "server/durability_options.h"
#include "server/served_collections.h"

namespace silurus::server {

/// What a server says of its durability.
struct DurabilityStats {
  std::string path;
  bool sync = true;
  const char* medium = "";  ///< "pmem", "memory" or "disk"
  std::uint64_t log_capacity_bytes = 0;
  std::uint64_t log_used_bytes = 0;
  std::uint64_t log_end = 0;      ///< LSN
  std::uint64_t log_durable = 0;  ///< LSN
  std::uint64_t log_full_waits = 0;
  std::uint64_t log_join_waits = 0;  ///< waits of a primary for members that join
  std::uint64_t flushes = 0;
  CheckpointStats checkpoints;
  std::string failure;    ///< why nothing can be written any more, or empty
  std::string read_only;  ///< why nothing is written just now, `failure` included, or empty
  replication::RecoveryReport recovery;
};

/// Makes the writes of a server's collections durable: what its Combiner asks between applying a
/// batch and showing it, and the background thread that takes checkpoints. Functions "of the
/// writer" belong to the holder of the writer's role.
template <int D>
class Durability {
 public:
  struct Opened {
    std::unique_ptr<Durability> durability;
    replication::Collections<D> collections;
  };
  /// Recovers the collections from the data directory, or makes both.
  static Result<Opened> open(const DurabilityOptions& options, const replication::TreePlace& place);
  ~Durability() { stop(); }
  Durability(const Durability&) = delete;
  Durability& operator=(const Durability&) = delete;

  const DurabilityOptions& options() const { return options_; }
  /// Whether a flush takes too long for a thread that serves searches to wait for it.
  bool waits_for_device() const { return store_->waits_for_device(); }

  // --- of the writer
  /// Asks for room in the log for a batch of that number of records; whether there is. If not, a
  /// checkpoint is on its way.
  bool find_room(std::size_t records);
  /// Bytes of entries' records that one batch may write: so that a log that is empty has room.
  std::size_t most_record_bytes() const;
  /// After find_room() said no: why it is of no use to wait for a checkpoint, since they fail, and
  /// the writes are to be refused; nothing: one is on its way. From then on nothing has room until
  /// a checkpoint succeeds.
  std::optional<Error> refusal();
  /// Why nothing can be made durable any more; then nothing may be applied.
  const std::optional<Error>& failure() const { return failure_; }
  /// The operations and compactions that follow in the batch are of that collection's tree.
  void select(std::uint64_t number);
  /// Logs an operation that was applied to the batch. `record`: what it gave the entry as its
  /// record; none: it left that as it was.
  void record(const protocol::Operation<D>& operation,
              std::optional<std::span<const std::byte>> record = std::nullopt);
  void record(const replication::CompactPayload& compaction);
  void record(const replication::CollectionOrder& order);
  /// Makes the batch durable (or, if not sync, lets flush_if_due() do it later) and publishes it.
  /// After an error it is not published, and never will be. kNoSpace: the medium of the log has no
  /// room, the batch is taken back, and the next one may succeed.
  Result<rtree::Version> publish(ServedCollections<D>& collections);
  /// If not sync: flushes if it is time; returns when it will be (0: nothing is to be flushed).
  Nanoseconds flush_if_due(Nanoseconds now);
  /// Loads the empty tree of one of them and publishes it once its checkpoint is durable. kNoSpace:
  /// the medium has no room for it, and all is as before.
  Result<rtree::Version> load(ServedCollections<D>& collections, rtree::Tree<D>& tree,
                              std::vector<rtree::Entry<D>> entries,
                              const rtree::BulkLoadOptions& options);

  // --- any thread
  /// Begins to take checkpoints of them.
  void start(const ServedCollections<D>& collections);
  /// Ends that, with a last checkpoint so that the next start is quick. No writer works any more.
  void stop();
  DurabilityStats stats() const;
  /// Any thread. Of the version published last, or of the next one: never older than that of a
  /// version seen, since it is stored before the release of the root that a snapshot acquires.
  replication::Stamp stamp() const { return stamp_.load(std::memory_order_relaxed); }

 private:
  Durability(const DurabilityOptions& options, replication::DirectoryLock lock);

  void fail_for_good(const Error& error);
  /// Makes the log durable, and wakes a checkpoint that waits for it. False: it is dead (failure_).
  bool commit();
  Error take_back(ServedCollections<D>& collections, const Error& error);
  void note_log_obstacle(const std::string& text);
  void append(replication::RecordType type, std::span<const std::byte> payload);
  void append_parts(std::span<const std::byte> record);
  void note_selected();
  /// Basis of a checkpoint of the current version, if anything was written since the last one.
  Result<std::optional<CheckpointBasis<D>>> checkpoint_basis(std::stop_token stop);

  const DurabilityOptions options_;
  replication::DirectoryLock lock_;
  std::unique_ptr<replication::Store<D>> store_;
  replication::RecoveryReport recovery_;

  // The writer's.
  replication::HybridClock clock_;
  replication::Stamp batch_stamp_ = 0;  ///< 0: no batch has begun
  std::uint64_t selected_ = 0;          ///< collection whose operations follow, as the log has it
  std::uint64_t wanted_ = 0;            ///< collection whose operations follow, as select() has it
  bool has_log_obstacle_ = false;
  bool flush_pending_ = false;  ///< something is published that is not durable
  Nanoseconds last_flush_ = 0;
  std::optional<Error> failure_;

  /// What the current version is, in step with the trees' roots: a checkpoint needs both of one
  /// moment.
  mutable std::mutex published_mutex_;
  std::condition_variable_any flushed_;  ///< told when what was published is durable
  replication::LogPosition published_end_;
  std::atomic<replication::Stamp> stamp_{0};

  const ServedCollections<D>* collections_ = nullptr;
  bool started_ = false;
  std::unique_ptr<Checkpoints<D>> checkpoints_;

  // Any thread reads them.
  std::atomic<std::uint64_t> log_end_{0};
  Counter log_full_waits_;
  std::atomic<bool> refuses_{false};  ///< see refusal(); set by the writer
  mutable std::mutex failure_mutex_;
  std::string failure_text_;
  std::string log_obstacle_;  ///< why the last batch found no room on the log's medium, or empty
};

}  // namespace silurus::server
