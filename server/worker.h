// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/log_limiter.h"
#include "server/batch_pace.h"
#include "server/counters.h"
#include "server/limits.h"
#include "server/session.h"
#include "server/session_host.h"
#include "server/shard.h"
#include "transport/fabric.h"

namespace silurus::server {

class MemberStatus;

template <int D>
class Worker;

/// What all workers of a server know of each other and of it. Set up before they run.
template <int D>
struct Team {
  Shard<D>* shard = nullptr;
  Served<D> served;              ///< what the shard gives to sessions
  Nanoseconds heartbeat = 0;     ///< interval
  Nanoseconds idle_timeout = 0;  ///< for clients that send nothing; 0: none
  /// Text of statistics for a client; any thread.
  std::function<std::string()> stats;
  /// What kCluster is answered with. Called by any worker.
  std::function<std::string()> cluster;
  /// A session has ended; any thread. `listener` as given to Worker::adopt().
  std::function<void(std::size_t listener)> on_session_closed;
  std::vector<std::unique_ptr<Worker<D>>> workers;
};

/// One thread's part of a server: the sessions of its pollers, their searches, and its share of
/// the writing. Has no thread, clock or wait of its own: a thread, or a simulation, calls sweep()
/// whenever something may have happened and at deadline() at the latest. Everything but complete()
/// and counters() belongs to that thread.
template <int D>
class Worker final : public SessionHost<D>,
                     public JobOwner<WriteJob<D>>,
                     public JobOwner<LoadJob<D>>,
                     public JobOwner<TaskJob> {
 public:
  Worker(Team<D>& team, std::size_t index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // --- set-up
  transport::Poller& add_poller(std::unique_ptr<transport::Poller> poller);
  std::span<const std::unique_ptr<transport::Poller>> pollers() const { return pollers_; }
  /// What to do when another thread has something for this one: make it call sweep(). Any thread
  /// will call it.
  void set_waker(std::function<void()> waker) { waker_ = std::move(waker); }
  /// At the end, with no thread: closes all connections, and with them whatever they pin.
  void drop_sessions();
  /// Takes a connection of one of its pollers.
  void adopt(std::unique_ptr<transport::Connection> connection, std::size_t listener);

  // --- the thread
  /// One turn: what has arrived, searches, a batch of writes, a slice of each stream. Returns
  /// whether there was anything, or is more to do at once.
  bool sweep();
  /// To be called after sleeping, so that sleep isn't counted as work.
  void woke() { sweep_.now = team_.served.clock->now(); }
  /// Events that its pollers have handled in sweeps.
  std::uint64_t handled() const { return handled_; }
  /// When sweep() must be called though nothing arrives; nothing: never.
  std::optional<Nanoseconds> deadline() const;

  // --- any thread
  void complete(std::unique_ptr<WriteJob<D>> job) override;
  void complete(std::unique_ptr<LoadJob<D>> job) override;
  void complete(std::unique_ptr<TaskJob> job) override;
  /// Has sweep() called soon.
  void wake() const;
  using SessionHost<D>::counters;

  // --- from its sessions
  Shard<D>& shard() { return *team_.shard; }
  Nanoseconds now() const { return sweep_.now; }
  void search(Session<D>& session, std::uint32_t request_id, bool any_member,
              const rtree::RangeQuery<D>& query) override;
  void search(Session<D>& session, std::uint32_t request_id, bool any_member,
              const rtree::NearestQuery<D>& query) override;
  std::unique_ptr<WriteJob<D>> new_job() override;
  Status submit(std::unique_ptr<WriteJob<D>> job) override;
  Status submit(std::unique_ptr<TaskJob> job) override;
  void submit(std::unique_ptr<LoadJob<D>> job) override;
  void look_after(Session<D>& session, typename SessionHost<D>::Need need) override;
  std::string text(protocol::MessageType type) override;
  void warn_of(const transport::Connection& connection, std::string_view message) override;

 private:
  template <typename Query>
  struct Asked {
    Session<D>* session;
    std::uint32_t request_id;
    bool any_member;
    Query query;
  };
  struct Stopped {
    Session<D>* session;
    Search<D> search;
    Begun<D> begun;
  };

  std::size_t run_searches();
  bool is_out_of_time();
  template <typename Query>
  void refuse_what_needs_the_primary(std::vector<Asked<Query>>& asked);
  template <typename Query>
  void give_back(std::vector<Asked<Query>>& asked, std::size_t first, std::size_t last);
  void run_ranges(const rtree::Snapshot<D>& snapshot);
  void run_nearests(const rtree::Snapshot<D>& snapshot);
  std::size_t run_nearests(const rtree::Snapshot<D>& snapshot, std::size_t first, std::size_t last,
                           Nanoseconds time);
  bool run_nearest(const rtree::Snapshot<D>& snapshot, const Asked<rtree::NearestQuery<D>>& asked);
  void run_ranges(const rtree::Snapshot<D>& snapshot, std::size_t first, std::size_t count);
  void run_range(const rtree::Snapshot<D>& snapshot, std::size_t index);
  template <typename Of, typename Query>
  void stop(const Asked<Query>& asked, decltype(Of::cursor)& cursor, decltype(Of::found)& found);
  bool take_completions();
  bool take_writer_turn();
  void begin_build();
  void finish(std::unique_ptr<WriteJob<D>> job);
  bool run_sessions();
  void go_on_with_stopped(rtree::Snapshot<D> snapshot);
  void put_first();
  void flush_touched();
  void reap_dead();
  void tick();
  void end_idle_sessions();
  void end_sessions_without_role();
  void leave_what_is_gone();
  void note_searched(const Collection<D>& collection);
  void run_searches_of(const Collection<D>& collection);
  void run_searches_by_collection();
  void refuse_gone();
  void audit(const std::string& what, const Error* error);
  Nanoseconds team_busy() const;
  Session<D>* find(std::uint64_t id);

  Team<D>& team_;
  const std::size_t index_;
  std::vector<std::unique_ptr<transport::Poller>> pollers_;
  std::function<void()> waker_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session<D>>> sessions_;
  std::uint64_t next_session_ = 0;

  // Searches found in this sweep, and room for their results.
  std::vector<Asked<rtree::RangeQuery<D>>> ranges_;
  std::vector<Asked<rtree::NearestQuery<D>>> nearests_;
  bool has_other_searches_ = false;  ///< they are of several collections
  const Collection<D>* searched_ = nullptr;
  std::vector<rtree::RangeQuery<D>> queries_;
  std::vector<rtree::RangeResult<D>> results_;
  std::vector<rtree::StoppedSearch<D>> stopped_;
  std::vector<Stopped> begun_;  ///< in this sweep, to go on as streams
  rtree::RangeCursor<D> range_cursor_;
  rtree::NearestCursor<D> nearest_cursor_;
  rtree::NearestResult neighbors_;
  /// The first nearest searches have come in this sweep, the others have waited for it.
  std::size_t fresh_nearests_ = 0;
  Sweep sweep_;
  Nanoseconds searches_begun_ = 0;

  // Writing.
  std::vector<std::unique_ptr<WriteJob<D>>> free_jobs_;
  std::size_t outstanding_ = 0;   ///< jobs submitted and not back yet
  bool writer_needs_me_ = false;  ///< jobs are left that no other thread will see to
  Nanoseconds writer_again_at_ = 0;
  BatchPace pace_{kWriteGap};  ///< pace of the batches that this thread ran
  /// Waits until it can begin. There is one on a server at most, since a load holds the slot.
  std::unique_ptr<LoadJob<D>> build_;
  Handover<WriteJob<D>> written_;
  Handover<LoadJob<D>> built_;
  Handover<TaskJob> tasks_;

  std::vector<Session<D>*> touched_;
  std::vector<Session<D>*> runnable_;
  std::vector<Session<D>*> running_;  ///< runnable_ of the sweep before, while it is worked on
  std::vector<Session<D>*> first_;    ///< to be the first in runnable_
  std::vector<Session<D>*> active_;
  std::vector<std::uint64_t> dead_;

  // Time.
  Nanoseconds last_tick_;
  Nanoseconds last_idle_look_ = 0;
  static constexpr std::uint64_t kNoEdition = UINT64_MAX;
  std::uint64_t rules_edition_ = kNoEdition;  ///< whose roles all sessions have
  std::uint64_t collections_edition_;         ///< whose collections no session has that are gone
  Nanoseconds last_search_ = 0;
  Nanoseconds team_busy_at_tick_ = 0;
  std::uint64_t heartbeats_ = 0;
  std::uint64_t handled_ = 0;
  std::uint32_t queued_ = 0;  ///< searches found by the last sweep that found any
  log::LogLimiter limiter_;
  WorkerCounters counters_;
};

}  // namespace silurus::server
