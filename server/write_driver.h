// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "common/clock.h"
#include "replication/hybrid_clock.h"
#include "server/load.h"
#include "server/write_queue.h"

namespace silurus::server {

struct DurabilityStats;

/// What came of a worker's turn.
template <int D>
struct WriteTurn {
  JobList<WriteJob<D>> done;  ///< jobs to answer, or to pass to their owners; oldest first
  bool has_worked = false;    ///< on a batch, be it done or not
  /// This thread must take another turn, at `again_at`: jobs are left and no other thread will.
  bool must_return = false;
  Nanoseconds again_at = 0;
  /// When a turn is due though nothing was submitted; 0: never.
  Nanoseconds flush_at = 0;
};

/// Carries out what a server's clients write: takes jobs from its queue and gives each back once,
/// with its outcome. A server has one of three, from its construction to its end:
///
///   Combiner        workers apply batches, each as the writer in turn (docs/decisions/0050)
///   WriterThread    a Combiner whose batches wait for a device: a thread applies them (0072)
///   Membership      a group's log decides, and the group's thread applies (0086)
///
/// Owned by the shard. Any thread, unless said otherwise.
template <int D>
class WriteDriver {
 public:
  virtual ~WriteDriver() = default;

  /// Queues a job; returns it if too many operations wait already.
  [[nodiscard]] virtual std::unique_ptr<WriteJob<D>> submit(std::unique_ptr<WriteJob<D>> job) = 0;
  /// A worker that waits for jobs offers its thread. Never waits, unless `may_wait`: then no client
  /// is kept waiting if this thread waits for a flush.
  virtual WriteTurn<D> turn(Nanoseconds now, bool may_wait) = 0;
  /// Begins a bulk load, which ends by giving the job back to its owner; returns it if it cannot
  /// begin now: then it is to be offered again.
  [[nodiscard]] virtual std::unique_ptr<LoadJob<D>> load(std::unique_ptr<LoadJob<D>> job) = 0;

  /// Whether each batch of a worker's turn waits for a device.
  virtual bool waits_for_device() const { return false; }
  /// Batches published, and times that one had to wait because too much was retired.
  virtual std::uint64_t batches() const = 0;
  virtual std::uint64_t delays() const { return 0; }
  /// Stamp of the version published last; 0 where there is no log.
  virtual replication::Stamp stamp() const = 0;
  /// Nothing if writes need not outlive the process.
  virtual std::optional<DurabilityStats> durability_stats() const = 0;

  /// At the end, with no worker running but all of them there: gives back jobs under way and leaves
  /// in good order what is durable. Does nothing the second time.
  virtual void stop() = 0;
};

}  // namespace silurus::server
