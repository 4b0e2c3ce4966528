// SPDX-License-Identifier: Apache-2.0

#include "server/worker.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "server/limits.h"
#include "server/member_status.h"

namespace silurus::server {

template <int D>
Worker<D>::Worker(Team<D>& team, std::size_t index)
    : SessionHost<D>(team.served, sweep_, counters_),
      team_(team),
      index_(index),
      results_(kMaxSearchBatch),
      sweep_{.now = team.served.clock->now()},
      last_tick_(sweep_.now),
      collections_edition_(team.served.collections->edition()) {}

template <int D>
transport::Poller& Worker<D>::add_poller(std::unique_ptr<transport::Poller> poller) {
  return *pollers_.emplace_back(std::move(poller));
}

template <int D>
void Worker<D>::adopt(std::unique_ptr<transport::Connection> connection, std::size_t listener) {
  const std::uint64_t id = (std::uint64_t{index_} << 48) | ++next_session_;
  transport::Connection& adopted = *connection;
  auto session = std::make_unique<Session<D>>(*this, id, listener, std::move(connection));
  adopted.set_handler(session.get());
  sessions_.emplace(id, std::move(session));
  counters_.sessions.store(sessions_.size(), std::memory_order_relaxed);
  rules_edition_ = kNoEdition;  // it was let in by rules that may have been replaced since
}

template <int D>
void Worker<D>::drop_sessions() {
  ranges_.clear();
  nearests_.clear();
  touched_.clear();
  runnable_.clear();
  active_.clear();
  sessions_.clear();
}

template <int D>
Session<D>* Worker<D>::find(std::uint64_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

// --- the sweep

template <int D>
bool Worker<D>::sweep() {
  ++sweep_.number;
  const std::uint64_t handled_before = handled_;
  for (const auto& poller : pollers_) handled_ += poller->progress();
  bool any = handled_ != handled_before;
  any |= take_completions();
  if (build_ != nullptr) {
    any = true;
    begin_build();
  }
  if (outstanding_ != 0 || writer_needs_me_) any |= take_writer_turn();
  fresh_nearests_ = nearests_.size();
  if (!runnable_.empty()) any |= run_sessions();
  const std::size_t searches = run_searches();
  any |= searches != 0;
  flush_touched();
  if (!dead_.empty()) reap_dead();

  const Nanoseconds now = team_.served.clock->now();
  const Nanoseconds spent = now - sweep_.now;
  sweep_.now = now;
  if (any) {
    // Relaxed: a figure for heartbeats and statistics.
    counters_.busy_ns.store(counters_.busy_ns.load(std::memory_order_relaxed) + spent,
                            std::memory_order_relaxed);
    counters_.sweeps.add();
    if (searches != 0) {
      queued_ = static_cast<std::uint32_t>(searches);
      last_search_ = now;
      counters_.search_ns.add(static_cast<std::uint64_t>(std::max<Nanoseconds>(spent, 0)),
                              searches);
    }
  }
  if (!active_.empty() && now - last_tick_ >= team_.heartbeat) tick();
  if (team_.idle_timeout != 0 && now - last_idle_look_ >= team_.idle_timeout / kIdleLooks) {
    end_idle_sessions();
  }
  if (collections_edition_ != team_.served.collections->edition()) leave_what_is_gone();
  const access::RuleBook* const rules = team_.served.rules;
  if (rules != nullptr && rules->edition() != rules_edition_) end_sessions_without_role();
  return any || !runnable_.empty();
}

template <int D>
std::optional<Nanoseconds> Worker<D>::deadline() const {
  std::optional<Nanoseconds> at;
  if (!active_.empty()) at = last_tick_ + team_.heartbeat;
  if (team_.idle_timeout != 0 && !sessions_.empty()) {
    const Nanoseconds look = last_idle_look_ + team_.idle_timeout / kIdleLooks;
    at = at ? std::min(*at, look) : look;
  }
  if (writer_needs_me_) at = at ? std::min(*at, writer_again_at_) : writer_again_at_;
  return at;
}

// --- searches

template <int D>
void Worker<D>::search(Session<D>& session, std::uint32_t request_id, bool any_member,
                       const rtree::RangeQuery<D>& query) {
  note_searched(session.collection());
  ranges_.push_back({&session, request_id, any_member, query});
}

template <int D>
void Worker<D>::search(Session<D>& session, std::uint32_t request_id, bool any_member,
                       const rtree::NearestQuery<D>& query) {
  note_searched(session.collection());
  nearests_.push_back({&session, request_id, any_member, query});
}

template <int D>
void Worker<D>::note_searched(const Collection<D>& collection) {
  if (searched_ == nullptr) searched_ = &collection;
  has_other_searches_ |= searched_ != &collection;
}

template <int D>
std::size_t Worker<D>::run_searches() {
  const std::size_t count = ranges_.size() + nearests_.size();
  if (count == 0) return 0;
  // A search that is alone needs no clock: it is run in any case.
  const bool is_timed = count > 1 || sweep_.share < protocol::kMaxRequestsInFlight;
  if (is_timed) searches_begun_ = team_.served.clock->now();
  const Collection<D>& searched = *std::exchange(searched_, nullptr);
  if (std::exchange(has_other_searches_, false)) {
    run_searches_by_collection();
  } else {
    run_searches_of(searched);
  }
  if (sweep_.share < protocol::kMaxRequestsInFlight &&
      team_.served.clock->now() - searches_begun_ < kSearchTime / 2) {
    sweep_.share = std::min<std::size_t>(2 * sweep_.share, protocol::kMaxRequestsInFlight);
  }
  return count;
}

/// All of ranges_ and nearests_, which are of that collection.
template <int D>
void Worker<D>::run_searches_of(const Collection<D>& collection) {
  rtree::Snapshot<D> snapshot = collection.tree().snapshot();
  if (collection.goes()) return refuse_gone();
  if (!team_.served.check_lease(false)) {
    refuse_what_needs_the_primary(ranges_);
    refuse_what_needs_the_primary(nearests_);
  }
  if (!ranges_.empty()) run_ranges(snapshot);
  if (!nearests_.empty()) run_nearests(snapshot);
  if (!begun_.empty()) go_on_with_stopped(std::move(snapshot));
}

/// Searches of a collection that is gone.
template <int D>
void Worker<D>::refuse_gone() {
  for (const auto& one : std::exchange(ranges_, {})) one.session->refuse_gone(one.request_id);
  for (const auto& one : std::exchange(nearests_, {})) one.session->refuse_gone(one.request_id);
}

/// One collection after the other: each has a snapshot of its own.
template <int D>
void Worker<D>::run_searches_by_collection() {
  auto ranges = std::exchange(ranges_, {});
  auto nearests = std::exchange(nearests_, {});
  const std::size_t fresh = std::min(fresh_nearests_, nearests.size());
  std::vector<const Collection<D>*> collections;
  const auto note = [&](const auto& asked) {
    const Collection<D>* const one = &asked.session->collection();
    if (std::ranges::find(collections, one) == collections.end()) collections.push_back(one);
  };
  std::ranges::for_each(ranges, note);
  std::ranges::for_each(nearests, note);
  for (const Collection<D>* collection : collections) {
    const auto is_of_it = [&](const auto& asked) {
      return &asked.session->collection() == collection;
    };
    std::ranges::copy_if(ranges, std::back_inserter(ranges_), is_of_it);
    fresh_nearests_ = 0;
    for (std::size_t i = 0; i < nearests.size(); ++i) {
      if (!is_of_it(nearests[i])) continue;
      nearests_.push_back(nearests[i]);
      if (i < fresh) ++fresh_nearests_;
    }
    run_searches_of(*collection);
  }
}

/// Whether the rest is to wait for the next sweep. But one search of each session is run.
template <int D>
bool Worker<D>::is_out_of_time() {
  return sweep_.share > 1 && team_.served.clock->now() - searches_begun_ >= kSearchTime;
}

template <int D>
template <typename Query>
void Worker<D>::give_back(std::vector<Asked<Query>>& asked, std::size_t first, std::size_t last) {
  sweep_.share = 1;
  for (std::size_t i = last; i > first; --i) {
    const Asked<Query>& one = asked[i - 1];
    one.session->take_back(one.request_id, one.any_member, one.query);
  }
  // In the next sweep they come before those that were served in this one.
  for (std::size_t i = first; i < last; ++i) {
    Session<D>& session = *asked[i].session;
    if (!session.in_runnable || std::exchange(session.is_given_back, true)) continue;
    first_.push_back(&session);
  }
  std::erase_if(runnable_, [](const Session<D>* session) { return session->is_given_back; });
  put_first();
}

/// Puts what first_ has in front of all that is runnable.
template <int D>
void Worker<D>::put_first() {
  for (Session<D>* session : first_) session->is_given_back = false;
  runnable_.insert(runnable_.begin(), first_.begin(), first_.end());
  first_.clear();
}

template <int D>
template <typename Query>
void Worker<D>::refuse_what_needs_the_primary(std::vector<Asked<Query>>& asked) {
  std::erase_if(asked, [&](const Asked<Query>& one) {
    if (!one.any_member) one.session->refuse_read(one.request_id);
    return !one.any_member;
  });
}

/// Those that have just come have half of the time, so that sessions that ask little are not kept
/// waiting by those that ask much, and those that have waited have the rest: so none waits for
/// ever.
template <int D>
void Worker<D>::run_nearests(const rtree::Snapshot<D>& snapshot) {
  const std::size_t count = nearests_.size();
  const std::size_t fresh = std::min(fresh_nearests_, count);
  const std::size_t fresh_done =
      run_nearests(snapshot, 0, fresh, fresh == count ? kSearchTime : kSearchTime / 2);
  const std::size_t done = run_nearests(snapshot, fresh, count, kSearchTime);
  if (fresh_done != fresh) give_back(nearests_, fresh_done, fresh);
  if (done != count) give_back(nearests_, done, count);
  nearests_.clear();
}

/// Runs one at least, and others until the searches have taken that time; returns where it stopped.
template <int D>
std::size_t Worker<D>::run_nearests(const rtree::Snapshot<D>& snapshot, std::size_t first,
                                    std::size_t last, Nanoseconds time) {
  bool was_long = false;
  for (std::size_t i = first; i < last; ++i) {
    const bool look = was_long || (i - first) % kNearestBatch == 0;
    if (look && i != first && team_.served.clock->now() - searches_begun_ >= time) return i;
    was_long = !run_nearest(snapshot, nearests_[i]);
  }
  return last;
}

/// False: it has taken all nodes that a search may look at at once.
template <int D>
bool Worker<D>::run_nearest(const rtree::Snapshot<D>& snapshot,
                            const Asked<rtree::NearestQuery<D>>& asked) {
  if (asked.query.k > kInlineNeighbors) {
    asked.session->stream({asked.request_id, asked.query, asked.any_member, {}});
    return true;
  }
  // The query was checked when it was decoded.
  nearest_cursor_.start(asked.query, snapshot.root(), neighbors_);
  if (!snapshot.go_on(nearest_cursor_, kMaxNearestNodesAtOnce)) {
    stop<BegunNearest<D>>(asked, nearest_cursor_, neighbors_);
    return false;
  }
  asked.session->answer_nearest(asked.request_id, asked.any_member, asked.query, neighbors_,
                                snapshot.version());
  return true;
}

template <int D>
void Worker<D>::run_ranges(const rtree::Snapshot<D>& snapshot) {
  for (std::size_t first = 0; first < ranges_.size(); first += kMaxSearchBatch) {
    if (first != 0 && is_out_of_time()) {
      give_back(ranges_, first, ranges_.size());
      break;
    }
    run_ranges(snapshot, first, std::min<std::size_t>(ranges_.size() - first, kMaxSearchBatch));
  }
  ranges_.clear();
}

template <int D>
void Worker<D>::run_ranges(const rtree::Snapshot<D>& snapshot, std::size_t first,
                           std::size_t count) {
  if (count == 1) return run_range(snapshot, first);
  queries_.clear();
  for (std::size_t i = first; i < first + count; ++i) queries_.push_back(ranges_[i].query);
  stopped_.clear();
  // The queries were checked when they were decoded.
  const Status ok = snapshot.range_batch(queries_, std::span(results_).first(count),
                                         kMaxNodesAtOnce, kInlineResults + 1, stopped_);
  SILURUS_CHECK(ok.has_value());
  for (auto& one : stopped_) {
    auto& asked = ranges_[first + one.query];
    stop<BegunRange<D>>(asked, one.cursor, results_[one.query]);
    asked.session = nullptr;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto& asked = ranges_[first + i];
    if (asked.session == nullptr) continue;
    asked.session->answer_range(asked.request_id, asked.any_member, asked.query, results_[i],
                                snapshot.version());
  }
}

/// A search that is alone in its batch.
template <int D>
void Worker<D>::run_range(const rtree::Snapshot<D>& snapshot, std::size_t index) {
  const auto& asked = ranges_[index];
  const bool counts = asked.query.shape == rtree::ResultShape::kCount;
  range_cursor_.start(asked.query, snapshot.root(), results_[0]);
  if (!snapshot.go_on(range_cursor_, kMaxNodesAtOnce, counts ? UINT64_MAX : kInlineResults + 1)) {
    return stop<BegunRange<D>>(asked, range_cursor_, results_[0]);
  }
  asked.session->answer_range(asked.request_id, asked.any_member, asked.query, results_[0],
                              snapshot.version());
}

/// A search that is not at its end. The cursor and what it has found are taken away, or of no use
/// any more.
template <int D>
template <typename Of, typename Query>
void Worker<D>::stop(const Asked<Query>& asked, decltype(Of::cursor)& cursor,
                     decltype(Of::found)& found) {
  Search<D> search{asked.request_id, asked.query, asked.any_member, {}};
  if (!asked.session->may_begin_stream()) return asked.session->stream(std::move(search));
  begun_.push_back({asked.session, std::move(search),
                    Of{std::exchange(cursor, decltype(Of::cursor)()), std::exchange(found, {})}});
}

template <int D>
void Worker<D>::go_on_with_stopped(rtree::Snapshot<D> snapshot) {
  const auto pinned = std::make_shared<const rtree::Snapshot<D>>(std::move(snapshot));
  for (Stopped& one : begun_) {
    one.session->go_on(std::move(one.search), std::move(one.begun), pinned);
  }
  begun_.clear();
}

// --- writes and loads

template <int D>
std::unique_ptr<WriteJob<D>> Worker<D>::new_job() {
  if (free_jobs_.empty()) return std::make_unique<WriteJob<D>>();
  auto job = std::move(free_jobs_.back());
  free_jobs_.pop_back();
  job->error.reset();
  job->order.reset();
  job->compaction.reset();
  job->demand.reset();
  job->is_late = false;
  return job;
}

template <int D>
Status Worker<D>::submit(std::unique_ptr<WriteJob<D>> job) {
  job->owner = this;
  job->arrived = team_.served.clock->now();
  const std::size_t operations = job->operations.size();
  if (auto refused = team_.shard->writes().submit(std::move(job)); refused != nullptr) {
    refused->collection.reset();
    free_jobs_.push_back(std::move(refused));
    return fail(ErrorCode::kUnavailable, "too many writes are waiting: try again later");
  }
  ++outstanding_;
  counters_.write_operations.add(operations);
  return {};
}

template <int D>
void Worker<D>::complete(std::unique_ptr<WriteJob<D>> job) {
  if (written_.push(std::move(job)) && waker_) waker_();
}

template <int D>
void Worker<D>::complete(std::unique_ptr<LoadJob<D>> job) {
  if (built_.push(std::move(job)) && waker_) waker_();
}

template <int D>
void Worker<D>::complete(std::unique_ptr<TaskJob> job) {
  if (tasks_.push(std::move(job)) && waker_) waker_();
}

template <int D>
void Worker<D>::wake() const {
  if (waker_) waker_();
}

template <int D>
Status Worker<D>::submit(std::unique_ptr<TaskJob> job) {
  job->owner = this;
  return team_.shard->run_task(std::move(job));
}

template <int D>
void Worker<D>::submit(std::unique_ptr<LoadJob<D>> job) {
  job->owner = this;
  build_ = std::move(job);
}

template <int D>
bool Worker<D>::take_completions() {
  bool any = false;
  auto tasks = tasks_.take_all();
  while (const auto job = tasks.pop_front()) {
    any = true;
    audit(job->audit, job->text ? nullptr : &job->text.error());
    if (Session<D>* session = find(job->session)) session->answer_task(*job);
  }
  auto written = written_.take_all();
  while (auto job = written.pop_front()) {
    any = true;
    finish(std::move(job));
  }
  auto built = built_.take_all();
  while (const auto job = built.pop_front()) {
    any = true;
    // Writes may have queued up while the build had the writer's role.
    writer_needs_me_ = true;
    audit(job->audit, job->version ? nullptr : &job->version.error());
    if (Session<D>* session = find(job->session)) session->answer_load(*job);
  }
  return any;
}

template <int D>
bool Worker<D>::take_writer_turn() {
  const Nanoseconds now = team_.served.clock->now();
  WriteDriver<D>& writes = team_.shard->writes();
  // A lone client that only writes has none beside it to be kept waiting.
  const bool may_wait = sessions_.size() == 1 && now - last_search_ >= kSearchPause;
  if (may_wait && writes.waits_for_device()) {
    pace_.note_waiting(outstanding_, now);
    if (pace_.more_are_coming(now)) return true;
  }
  auto turn = writes.turn(now, may_wait);
  writer_needs_me_ = turn.must_return;
  writer_again_at_ = turn.again_at;
  if (turn.done.empty()) return turn.has_worked;
  std::size_t jobs = 0;
  for (; auto job = turn.done.pop_front(); ++jobs) {
    if (job->owner == this) {
      finish(std::move(job));
    } else {
      server::give_back(std::move(job));
    }
  }
  pace_.note_batch(jobs);
  return turn.has_worked;
}

/// Logs who had what done, and how it ended: what touches more than the entries.
template <int D>
void Worker<D>::audit(const std::string& what, const Error* error) {
  if (what.empty()) return;
  counters_.audited.add();
  log::info("audit: " + what + ": " + (error == nullptr ? "done" : printable(error->message)));
}

template <int D>
void Worker<D>::finish(std::unique_ptr<WriteJob<D>> job) {
  --outstanding_;
  counters_.failed_operations.add(job->failed.size());
  if (!job->audit.empty()) audit(job->audit, job->error ? &*job->error : nullptr);
  if (Session<D>* session = find(job->session)) session->answer_write(*job);
  counters_.write_ns.add(static_cast<std::uint64_t>(
      std::max<Nanoseconds>(team_.served.clock->now() - job->arrived, 0)));
  job->collection.reset();
  free_jobs_.push_back(std::move(job));
}

template <int D>
void Worker<D>::begin_build() {
  build_ = team_.shard->begin_load(std::move(build_));
  if (build_ != nullptr) writer_needs_me_ = true;  // for the batch under way
}

// --- sessions

template <int D>
void Worker<D>::look_after(Session<D>& session, typename SessionHost<D>::Need need) {
  switch (need) {
    case SessionHost<D>::Need::kFlush:
      return touched_.push_back(&session);
    case SessionHost<D>::Need::kRun:
      return runnable_.push_back(&session);
    case SessionHost<D>::Need::kHeartbeats:
      // The first one after a pause: let the interval begin now.
      if (active_.empty()) {
        last_tick_ = sweep_.now;
        team_busy_at_tick_ = team_busy();
      }
      return active_.push_back(&session);
    case SessionHost<D>::Need::kEnd:
      return dead_.push_back(session.id());
  }
}

template <int D>
std::string Worker<D>::text(protocol::MessageType type) {
  if (type == protocol::MessageType::kCluster) return team_.cluster();
  return team_.stats ? team_.stats() : "{}";
}

template <int D>
bool Worker<D>::run_sessions() {
  running_.swap(runnable_);
  const Nanoseconds begun = team_.served.clock->now();
  bool has_time = true;
  for (Session<D>* session : running_) {
    session->in_runnable = false;
    if (!session->runnable()) continue;
    const bool streams = session->streaming();
    const bool is_put_off = streams && !has_time;
    session->work(has_time);
    if (streams && has_time) has_time = team_.served.clock->now() - begun < kSlicesTime;
    if (!session->runnable()) continue;
    if (is_put_off && !std::exchange(session->in_runnable, true)) {
      first_.push_back(session);
    } else if (!std::exchange(session->in_runnable, true)) {
      runnable_.push_back(session);
    }
  }
  running_.clear();
  put_first();
  return true;
}

template <int D>
void Worker<D>::flush_touched() {
  for (Session<D>* session : touched_) {
    session->in_touched = false;
    session->flush();
  }
  touched_.clear();
}

template <int D>
void Worker<D>::reap_dead() {
  for (const std::uint64_t id : dead_) {
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) continue;
    Session<D>* session = found->second.get();
    std::erase(runnable_, session);
    std::erase(active_, session);
    const std::size_t listener = session->listener();
    sessions_.erase(found);
    if (team_.on_session_closed) team_.on_session_closed(listener);
  }
  dead_.clear();
  counters_.sessions.store(sessions_.size(), std::memory_order_relaxed);
}

// --- heartbeats

template <int D>
Nanoseconds Worker<D>::team_busy() const {
  Nanoseconds busy = 0;
  for (const auto& worker : team_.workers) {
    busy += worker->counters().busy_ns.load(std::memory_order_relaxed);
  }
  return busy;
}

template <int D>
void Worker<D>::tick() {
  const Nanoseconds elapsed = sweep_.now - last_tick_;
  const Nanoseconds busy = team_busy();
  const double share = static_cast<double>(busy - team_busy_at_tick_) /
                       (static_cast<double>(elapsed) *
                        static_cast<double>(std::max<std::size_t>(team_.workers.size(), 1)));
  team_busy_at_tick_ = busy;
  last_tick_ = sweep_.now;
  // The version is read after what is said of it.
  const MemberStatus* const member_status = team_.served.member_status;
  const Nanoseconds until = member_status == nullptr ? INT64_MAX : member_status->told_until();
  const std::uint64_t staleness_ns =
      member_status == nullptr ? 0 : member_status->staleness_ns(sweep_.now);
  const protocol::Heartbeat heartbeat{
      .sequence = ++heartbeats_,
      .version = team_.served.collections->default_one()->tree().snapshot().version(),
      .cpu_busy_permyriad = static_cast<std::uint32_t>(std::clamp(share, 0.0, 1.0) * 10'000),
      .queued = std::exchange(queued_, 0),
      // Outside of any group, it has the newest version for ever.
      .lease_ns = member_status == nullptr ? protocol::kNoEnd
                                           : static_cast<std::uint64_t>(std::max<Nanoseconds>(
                                                 until - team_.served.clock->now(), 0)),
      .staleness_ns = staleness_ns,
      .epoch = member_status == nullptr ? 0 : std::uint64_t{member_status->epoch()},
      .received = 0};  // each session's own
  std::erase_if(active_, [&](Session<D>* session) {
    session->in_active = session->tick(sweep_.now);
    if (session->in_active) session->write_heartbeat(heartbeat);
    return !session->in_active;
  });
  flush_touched();  // errors of streams that were given up
}

template <int D>
void Worker<D>::end_idle_sessions() {
  last_idle_look_ = sweep_.now;
  for (auto& [id, session] : sessions_) session->end_if_idle(sweep_.now, team_.idle_timeout);
}

/// One-sided reads ask no session: a client that has lost the right to read has to go.
template <int D>
void Worker<D>::end_sessions_without_role() {
  rules_edition_ = team_.served.rules->edition();
  for (auto& [id, session] : sessions_) session->end_if_not_authorized();
}

/// So that what is dropped is given back.
template <int D>
void Worker<D>::leave_what_is_gone() {
  collections_edition_ = team_.served.collections->edition();
  for (auto& [id, session] : sessions_) session->leave_if_gone();
  // This one has noticed, the others may be asleep.
  for (const auto& worker : team_.workers) {
    if (worker.get() != this) worker->wake();
  }
  flush_touched();
}

template <int D>
void Worker<D>::warn_of(const transport::Connection& connection, std::string_view message) {
  if (const auto line = limiter_.line(connection.owner(), message, sweep_.now)) log::warning(*line);
}

template class Worker<2>;
template class Worker<3>;

}  // namespace silurus::server
