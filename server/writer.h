#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/counters.h"
#include "protocol/messages.h"
#include "replication/record.h"
#include "rtree/tree.h"
#include "server/gate.h"
#include "server/history.h"

namespace silurus::server {

template <int D>
class Durability;

template <int D>
class Worker;

/// A step of a compaction on its way.
struct Compaction {
  replication::CompactPayload payload;
  rtree::CompactStep step = {};  ///< the outcome
};

/// One write request on its way. Belongs to the worker that received it (which keeps it for reuse),
/// then to the writer from submit() on, then again to its worker.
template <int D>
struct WriteJob {
  WriteJob* next = nullptr;    ///< in the list that it is in just now
  Worker<D>* owner = nullptr;  ///< whom to give it back to; the writer doesn't look inside
  std::uint64_t session = 0;   ///< at the owner: whom to answer, if still there
  std::uint32_t request_id = 0;
  std::uint64_t ticket = 0;  ///< of the connection (Gate)
  Nanoseconds arrived = 0;
  /// Whose write it is, so that a group does it once; client 0: of nobody.
  replication::RequestPayload request{};
  std::vector<protocol::Operation<D>> operations;
  std::optional<replication::GatePayload> order;  ///< to the gate, instead of operations
  std::optional<Compaction> compaction = {};      ///< instead of operations
  /// Of a group: it came while a bulk load is under way, and is to be refused unless it repeats one
  /// that was done.
  bool is_late = false;
  // The outcome.
  std::vector<protocol::FailedOperation> failed;
  rtree::Version version = 0;  ///< in which the operations are visible
  std::optional<Error> error;  ///< why none of them was done, or none will ever be seen
};

/// Jobs handed from many threads to one, without locks: a stack (Treiber, 1986) that is emptied
/// in one exchange and turned around, so that they come out in the order in which they went in.
template <typename Job>
class Handover {
 public:
  /// Any thread. Returns whether it was empty.
  bool push(Job* job) {
    Job* head = head_.load(std::memory_order_relaxed);
    do {
      job->next = head;
      // Release: pairs with the acquire of take_all(), which then reads the job. Sequentially
      // consistent as well, for the argument at Writer::turn().
    } while (!head_.compare_exchange_weak(head, job, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }
  /// One thread at a time: everything, oldest first, linked by `next`.
  Job* take_all() {
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    // Acquire: pairs with the release of push().
    Job* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Job* oldest = nullptr;
    while (newest != nullptr) {
      Job* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    return oldest;
  }

 private:
  std::atomic<Job*> head_{nullptr};
};

/// The one writer of a tree, as a role that threads take on in turn instead of a thread of its own:
/// flat combining (Hendler, Incze, Shavit and Tzafrir, "Flat combining and the
/// synchronization-parallelism tradeoff", SPAA 2010; docs/decisions/0050). Whoever has submitted a
/// job calls turn(); the one who gets the role runs a batch for all.
///
/// Guarantees: jobs are applied in the order of submission, each whole in one version; a job is
/// given back once. Any thread may call any function, unless said otherwise.
///
///   writer.submit(job);
///   const auto turn = writer.turn(clock.now());
///   for (WriteJob<D>* done = turn.done; done != nullptr; ...)  // answer, or pass to its owner
template <int D>
class Writer {
 public:
  /// `durability`: nullptr if writes need not outlive the process.
  /// `gate`: turned by jobs that are orders; nullptr if everybody may always write. `slice`: of
  /// work in one turn.
  explicit Writer(rtree::Tree<D>& tree, Durability<D>* durability = nullptr,
                  History<D>* history = nullptr, Gate* gate = nullptr,
                  std::uint32_t slice = rtree::kSliceOfWork)
      : tree_(tree), durability_(durability), history_(history), gate_(gate), slice_(slice) {}
  Writer(const Writer&) = delete;

  /// Queues a job. False, and the job still the caller's, if too many operations wait already.
  bool submit(WriteJob<D>* job);

  struct Turn {
    WriteJob<D>* done = nullptr;  ///< list of jobs to answer, oldest first
    bool has_worked = false;      ///< on a batch, be it done or not
    /// This thread must call turn() again, at `again_at`: jobs are left and nobody else will.
    bool must_return = false;
    Nanoseconds again_at = 0;
    /// When run_turn() should be called though nothing was submitted; 0: never.
    Nanoseconds flush_at = 0;
  };
  /// Takes the role if it is free and runs at most one batch, or a slice of it, so that a reader
  /// that writes is not kept from its own sessions for long. Never waits. But if batches are left
  /// to a thread of their own, it is told, and that's all; unless `may_wait`: no client is kept
  /// waiting if this thread waits for the flush itself, which saves waking two threads.
  Turn turn(Nanoseconds now, bool may_wait = false);
  /// The same for that thread, which may wait for a flush.
  Turn run_turn(Nanoseconds now);
  /// Batches belong to a thread that `wake` makes call run_turn(). At set-up.
  void leave_to(std::function<void()> wake) { wake_ = std::move(wake); }
  /// Whether they do, because each waits for a device.
  bool waits_for_device() const { return wake_ != nullptr; }

  /// Jobs are somebody else's for good, who takes them with take(), and whom `wake` tells that
  /// there are some. Turns do nothing. At set-up.
  void hand_to(std::function<void()> wake) { hand_ = std::move(wake); }
  /// What was submitted since the last call, oldest first.
  WriteJob<D>* take() { return arrivals_.take_all(); }
  /// One of those is done.
  void count_off(const WriteJob<D>& job) {
    queued_operations_.fetch_sub(job.operations.size() + 1, std::memory_order_relaxed);
  }

  /// Of work on a batch in one turn; whom jobs were handed to keeps to it, too.
  std::uint32_t slice() const { return slice_; }
  /// Of the holder of the role, or of whom jobs were handed to; nullptr: there is none.
  Gate* gate() { return gate_; }

  /// Takes the role for something else than a batch (a bulk load); jobs wait meanwhile. Whoever
  /// took it calls release() and then turn(), or sees to it that some thread does; so does who was
  /// refused it.
  bool try_acquire();
  void release();

  /// Of the holder of the role, after it has published something: keeps the version for those who
  /// ask for it later.
  void remember();

  /// At the end, with no other thread: the jobs that will not be done any more.
  WriteJob<D>* abandon();

  /// Whether jobs wait that have not been given back yet.
  bool pending() const { return queued_operations_.load(std::memory_order_seq_cst) != 0; }
  /// Batches published, and times that one had to wait because too much was retired.
  std::uint64_t batches() const { return batches_.get(); }
  std::uint64_t delays() const { return delays_.get(); }

 private:
  /// The stages of one batch, run by the holder of the role. What must happen to a batch between
  /// being applied and being seen, the flush of the log, is the first half of publish(): until then
  /// no reader sees it, and nobody is answered before.
  void collect();
  /// Whether the batch might not fit into the memory budget now, but may once retired memory has
  /// had its grace period: then writers wait instead of being refused.
  bool should_wait_for_memory();
  /// Whether the log has room for the batch.
  bool has_room();
  /// Applies a slice of the batch; whether that was the rest of it.
  bool apply(Nanoseconds now);
  void begin(WriteJob<D>& job, Nanoseconds now);
  bool apply(WriteJob<D>& job, std::uint32_t& work);
  bool compact(WriteJob<D>& job, std::uint32_t& work);
  bool take_role();
  Result<rtree::Version> publish();
  WriteJob<D>* finish(const Result<rtree::Version>& version);
  /// Ends the batch without a version: its writes with that error, its orders as the gate says.
  WriteJob<D>* refuse(const Error& error, Nanoseconds now);
  WriteJob<D>* give_back();

  Status apply_operation(const protocol::Operation<D>& operation);
  /// Whether the job's operations are to be done.
  Status admit(const WriteJob<D>& job, Nanoseconds now);

  rtree::Tree<D>& tree_;
  Durability<D>* durability_;
  History<D>* history_;
  Gate* gate_;
  const std::uint32_t slice_;
  std::function<void()> wake_;
  std::function<void()> hand_;
  Handover<WriteJob<D>> arrivals_;
  std::atomic<std::uint64_t> queued_operations_{0};  ///< each job counts one more than it has
  std::atomic<bool> taken_{false};
  // Of the holder of the role.
  replication::HybridClock clock_;  ///< where there is no log to stamp versions
  Counter batches_;
  Counter delays_;
  std::deque<WriteJob<D>*> backlog_;
  std::vector<WriteJob<D>*> batch_;
  bool is_within_batch_ = false;  ///< some of it is applied, and not published
  std::size_t job_ = 0;           ///< the next one of the batch,
  bool job_has_begun_ = false;    ///< ... or of which operation_ is
  std::uint32_t operation_ = 0;
  Nanoseconds not_before_ = 0;  ///< too much is retired: no batch until then
};

}  // namespace silurus::server
