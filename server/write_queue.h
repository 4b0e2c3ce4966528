// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "replication/record.h"
#include "rtree/tree.h"
#include "server/job_list.h"
#include "server/limits.h"
#include "server/served_collections.h"

namespace silurus::server {

/// A step of a compaction on its way.
struct Compaction {
  explicit Compaction(const replication::CompactPayload& asked)
      : payload(asked), step{.next = asked.cursor, .is_short = true} {}
  replication::CompactPayload payload;
  rtree::CompactStep step;  ///< the outcome; at first that it has to wait
};

/// One write request on its way. Belongs to the worker that received it (which keeps it for reuse),
/// then to the queue and its driver from submit() on, then again to its worker.
template <int D>
struct WriteJob {
  WriteJob* next = nullptr;             ///< in the list that it is in just now
  JobOwner<WriteJob>* owner = nullptr;  ///< the worker, to which it is given back
  std::uint64_t session = 0;            ///< at the owner: whom to answer, if still there
  std::uint32_t request_id = 0;
  std::uint64_t fencing_token = 0;  ///< the connection's (AdmissionControl)
  Nanoseconds arrived = 0;
  CollectionPtr<D> collection = nullptr;  ///< that it changes; null: the default one
  /// Whose write it is, so that a group does it once; client 0: of no client.
  replication::RequestPayload request{};
  std::vector<protocol::Operation<D>> operations;
  std::vector<std::byte> records;  ///< those that operations bring, one behind the other
  std::optional<replication::AdmissionOrder> order;  ///< instead of operations
  std::optional<Compaction> compaction = {};         ///< instead of operations
  std::optional<CollectionDemand> demand = {};       ///< instead of operations
  /// Who asked for what, for the log, which also tells the outcome; empty: the log does not tell.
  std::string audit = {};
  /// In a group: whether the write came while a bulk load is under way, and is to be refused unless
  /// it repeats one that was done.
  bool is_late = false;
  // The outcome.
  std::vector<protocol::FailedOperation> failed;
  rtree::Version version = 0;  ///< in which the operations are visible
  std::optional<Error> error;  ///< why none of them was done, or none will ever be seen
};

/// Writes on their way from workers to the one driver that applies them (WriteDriver), in the order
/// of submission; bounded. Owns those that are not taken yet.
template <int D>
class WriteQueue {
 public:
  using Job = WriteJob<D>;
  struct Submission {
    std::unique_ptr<Job> refused;  ///< the job, if too many operations wait already
    bool is_first = false;         ///< no other one waits to be taken
  };

  // --- any thread
  Submission submit(std::unique_ptr<Job> job) {
    const std::uint64_t weight = weight_of(*job);
    // Sequentially consistent: pairs with pending(), see Combiner::turn().
    const std::uint64_t before = weight_.fetch_add(weight, std::memory_order_seq_cst);
    if (before + weight > kMaxQueuedOperations) {
      weight_.fetch_sub(weight, std::memory_order_relaxed);
      return {std::move(job), false};
    }
    return {nullptr, arrivals_.push(std::move(job))};
  }
  /// Whether jobs wait, or were taken and not counted off yet.
  bool pending() const { return weight_.load(std::memory_order_seq_cst) != 0; }

  // --- the driver
  /// What was submitted since the last call, oldest first.
  JobList<Job> take_all() { return arrivals_.take_all(); }
  /// Jobs of that weight are done, and about to be given back.
  void count_off(std::uint64_t weight) { weight_.fetch_sub(weight, std::memory_order_relaxed); }
  /// Operations, what their records count as, and one for the job itself.
  static std::uint64_t weight_of(const Job& job) {
    return job.operations.size() + job.records.size() / kRecordBytesOfAnOperation + 1;
  }

 private:
  Handover<Job> arrivals_;
  std::atomic<std::uint64_t> weight_{0};
};

}  // namespace silurus::server
