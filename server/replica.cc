// SPDX-License-Identifier: Apache-2.0

#include "server/replica.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "protocol/decode.h"
#include "server/join_pace.h"
#include "server/limits.h"
#include "server/load.h"
#include "server/room.h"

namespace silurus::server {

using replication::RecordType;
using replication::group::AppliedBatch;

namespace {

/// Bytes that a write takes of the log beside its operations.
constexpr std::uint64_t kRequestBytes =
    sizeof(replication::RecordHeader) + sizeof(replication::RequestPayload);

/// Batches that a primary may send before it looks at its fabric again go out as one burst.
static_assert(kMaxBatchesInFlight * kMaxCombinedOperations *
                  (kRequestBytes + sizeof(replication::RecordHeader) +
                   sizeof(replication::UpdatePayload<3>)) <=
              transport::kMulticastBurstBytes);

Error lost_place() {
  return {ErrorCode::kConnectionLost,
          "this member lost its place as primary while the write was under way: ask the next "
          "primary, with the same number"};
}

}  // namespace

Error too_few_copies() {
  return {ErrorCode::kInDoubt,
          "the write is done, but its group lost members before it was known to be durable at as "
          "many as it needs (--min-members): it may be lost with those that are left"};
}

template <int D>
Replica<D>::Replica(const Parts& parts, replication::group::MachineState state,
                    replication::Stamp stamp, replication::LogPosition applied,
                    std::vector<replication::LoadPayload> loads)
    : parts_(parts),
      runs_(parts.tree, std::move(loads)),
      machine_(
          parts.tree, std::move(state), stamp,
          [this](const AppliedBatch& batch) { on_batch(batch); }, parts.slice),
      applied_(applied) {
  machine_.take_loads_from(runs_);
  parts_.store.log().admit_copied([this](const replication::Record& record) {
    if (record.header.type != RecordType::kLoad) return true;
    const auto load = replication::payload_as<replication::LoadPayload>(record);
    return load && runs_.is_whole(load->id);
  });
  parts_.admission.follow(machine_.state().admission, 0);
  parts_.tree.set_retired(parts_.admission.retired());
  const std::uint64_t log_bytes = parts_.store.log().capacity();
  parts_.store.keep_log(log_bytes / kKeptLogShare, room_for_joiners(log_bytes));
}

template <int D>
bool Replica<D>::leads() const {
  return member_->role() == replication::group::Role::kPrimary;
}

template <int D>
Status Replica<D>::step(Nanoseconds now) {
  now_ = now;
  again_at_.reset();
  take_arrivals();
  while (!adopted_.empty() && adopted_.front().end <= parts_.store.last_checkpoint_lsn()) {
    adopted_.pop_front();
  }
  note_view(now);
  answer_proven(now);
  Status done;
  if (leads()) {
    done = log_batches(now);
  } else if (!backlog_.empty()) {
    const Error error = parts_.member_status.not_primary();
    while (!backlog_.empty()) refuse(take_next(), error);
  }
  if (machine_.waits_for_memory()) again_at_ = now + kMemoryRetry;
  parts_.member_status.update(*member_, now);
  return done;
}

template <int D>
void Replica<D>::note_view(Nanoseconds now) {
  if (!leads() || member_->view().since != term_) {
    lose_writes();
    term_ = member_->view().since;
    is_short_ = false;
  }
  // Since when there are too few members, whichever views come and go meanwhile.
  const bool is_short = leads() && !member_->view().has_enough();
  if (is_short && !is_short_) short_since_ = now;
  is_short_ = is_short;
}

/// Loses the writes under way: the next primary knows what becomes of them.
template <int D>
void Replica<D>::lose_writes() {
  for (Unproven& unproven : unproven_) answer(unproven, lost_place());
  unproven_.clear();
  for (Flight& flight : in_flight_) lose(flight);
  in_flight_.clear();
  nodes_in_flight_ = {};
}

template <int D>
void Replica<D>::give_up(const Error& error) {
  parts_.member_status.give_up(error);
  lose_writes();
  take_arrivals();
  while (!backlog_.empty()) refuse(take_next(), error);
}

template <int D>
void Replica<D>::take_arrivals() {
  auto arrivals = parts_.queue.take_all();
  while (auto job = arrivals.pop_front()) backlog_.push_back(std::move(job));
}

template <int D>
std::unique_ptr<WriteJob<D>> Replica<D>::take_next() {
  auto job = std::move(backlog_.front());
  backlog_.pop_front();
  return job;
}

// --- the primary

template <int D>
Status Replica<D>::log_batches(Nanoseconds now) {
  end_late_jobs();
  if (is_held_back_) return {};
  pace_.note_waiting(backlog_.size(), now);
  if (!backlog_.empty() && pace_.more_are_coming(now)) {
    again_at_ = pace_.gap_ends();
    return {};
  }
  bool any = false;
  while (!backlog_.empty() && in_flight_.size() < kMaxBatchesInFlight && !waits_for_order() &&
         member_->may_write()) {
    const Job& next = *backlog_.front();
    if (next.is_late) break;
    if (!member_->view().has_enough()) {
      if (has_writes_on_their_way()) break;  // one of them may be this one, which comes again
      // After a fail-over, a primary is alone until the others have joined it again.
      if (now - short_since_ < kMembersMayJoin) {
        again_at_ = short_since_ + kMembersMayJoin;
        break;
      }
      end(take_next(), outcome_without_members(next, now));
      continue;
    }
    if (!unproven_.empty() && is_done(next)) break;  // it may be one of those, which comes again
    const bool has_lapsed = parts_.admission.has_lapsed(now);
    if (auto outcome = has_lapsed ? std::nullopt : outcome_without_log(next, now)) {
      end(take_next(), std::move(*outcome));
      continue;
    }
    const Obstacle obstacle = prepare_batch();
    if (obstacle.is_log_full && obstacle_) {
      note_refusal(full_log(*obstacle_));
      refuse(take_next(), {obstacle_->code, full_log(*obstacle_)});
      continue;
    }
    if (obstacle.wait != 0) {
      again_at_ = now + obstacle.wait;
      break;
    }
    if (Status logged = log_next(has_lapsed, now); !logged) {
      if (logged.error().code != ErrorCode::kNoSpace) return logged;
      continue;  // refused
    }
    note_refusal("");
    any = true;
  }
  return any ? member_->wrote() : Status{};
}

/// Ends writes that came while a bulk load is under way; but one that comes again may have been
/// done, which the table says as soon as none is on its way.
template <int D>
void Replica<D>::end_late_jobs() {
  while (!backlog_.empty() && backlog_.front()->is_late && member_->may_write() &&
         !has_writes_on_their_way()) {
    auto job = take_next();
    auto known = known_outcome(*job);
    end(std::move(job), known ? std::move(*known) : Outcome{.error = load_is_under_way()});
  }
}

/// Logs what comes next in the backlog. kNoSpace: the medium has no room, nothing is logged, and
/// the jobs that it was for are refused.
template <int D>
Status Replica<D>::log_next(bool has_lapsed, Nanoseconds now) {
  if (has_lapsed) {
    Status logged = log_order(
        {replication::AdmissionAction::kLapse, parts_.admission.fencing_token(), 0}, nullptr);
    if (!logged && logged.error().code == ErrorCode::kNoSpace) refuse(take_next(), logged.error());
    return logged;
  }
  if (!backlog_.front()->order) return log_batch(now);
  auto job = take_next();
  const replication::AdmissionOrder order = *job->order;
  return log_order(order, std::move(job));
}

template <int D>
void Replica<D>::note_refusal(const std::string& why) {
  const std::lock_guard lock(refusal_mutex_);
  if (refusal_.empty() && !why.empty()) {
    log::error(member_->label() + ": writes are refused: " + why);
  }
  if (!refusal_.empty() && why.empty()) {
    log::info(member_->label() + ": writes are taken again, which were refused: " + refusal_);
  }
  refusal_ = why;
}

/// While the group has fewer members than a write has to be durable at. One that was done before is
/// answered as then if it surely was durable at enough. What belongs to other servers now is sent
/// there.
template <int D>
typename Replica<D>::Outcome Replica<D>::outcome_without_members(const Job& job,
                                                                 Nanoseconds now) const {
  if (auto known = known_outcome(job)) {
    const bool is_durable = member_->acknowledged() >= applied_.lsn;
    return is_durable ? std::move(*known) : Outcome{.error = too_few_copies()};
  }
  if (auto turned_away = outcome_by_admission(job, now)) return std::move(*turned_away);
  return {.error = Error{ErrorCode::kUnavailable, too_few_members(member_->view())}};
}

template <int D>
bool Replica<D>::has_writes_on_their_way() const {
  return !unproven_.empty() || !std::ranges::all_of(in_flight_, &Flight::is_order);
}

/// Whether the write comes again, and was committed.
template <int D>
bool Replica<D>::is_done(const Job& job) const {
  return job.request.client != 0 &&
         machine_.requests().is_done(job.request.client, job.request.sequence);
}

/// How a write that is done was answered then.
template <int D>
std::optional<typename Replica<D>::Outcome> Replica<D>::known_outcome(const Job& job) const {
  if (!is_done(job)) return std::nullopt;
  const auto* known = machine_.requests().find(job.request.client, job.request.sequence);
  if (known == nullptr) {
    return Outcome{.error = Error{ErrorCode::kConflict,
                                  "write " + std::to_string(job.request.sequence) +
                                      " was done, and its client said that it knows what came "
                                      "of it"}};
  }
  Outcome outcome{.version = known->version};
  for (const auto& failure : known->failed) {
    outcome.failed.push_back({failure.index, failure.code});
  }
  return outcome;
}

/// How a write ends that is not admitted now. Of one that was done
/// before, the table has been asked.
template <int D>
std::optional<typename Replica<D>::Outcome> Replica<D>::outcome_by_admission(
    const Job& job, Nanoseconds now) const {
  if (job.order) return std::nullopt;
  const Status admitted = parts_.admission.admit(job.fencing_token, now);
  if (admitted) return std::nullopt;
  return Outcome{.error = admitted.error()};
}

/// How a job ends that is not to be logged, or nothing.
template <int D>
std::optional<typename Replica<D>::Outcome> Replica<D>::outcome_without_log(const Job& job,
                                                                            Nanoseconds now) const {
  if (auto known = known_outcome(job)) return known;
  if (auto turned_away = outcome_by_admission(job, now)) return turned_away;
  // A step that would take memory from those that write is answered, but not done.
  if (!job.compaction || make_room_for_compaction(parts_.tree)) return std::nullopt;
  return Outcome{.version = parts_.tree.next_version() - 1};
}

/// How long the next batch has to wait behind the last one, so that no member that joins loses the
/// log that it needs.
template <int D>
Nanoseconds Replica<D>::wait_for_joiners() const {
  const auto joiners = member_->joiners();
  if (joiners.empty() || batch_bytes_ == 0) return 0;
  const replication::Log& log = parts_.store.log();
  const double rate = rate_for_joiners(
      joiners,
      {.log_bytes = log.capacity(), .log_end = log.end().lsn, .nodes = parts_.tree.stats().nodes});
  const double pause = static_cast<double>(batch_bytes_) / rate * static_cast<double>(kSecond);
  const auto longest = static_cast<double>(kLongestJoinWait);
  return batched_at_ + static_cast<Nanoseconds>(std::min(pause, longest)) - now_;
}

/// Looks at what the next batch needs of the log, of members that join, and of the memory, in this
/// order.
template <int D>
typename Replica<D>::Obstacle Replica<D>::prepare_batch() {
  std::uint64_t operations = 1;  // so that an order finds room, too
  rtree::NodeCounts asked = kNodesOfAnOperation;
  rtree::NodeCounts kept;
  const rtree::TreeStats before = parts_.tree.stats();
  for (const auto& job : backlog_) {
    operations += job->operations.size();
    for (const auto& one : job->operations) {
      kept = largest(kept, kept_nodes(before, one.kind));
      asked = asked + nodes_of(one.kind);
    }
    if (operations >= kMaxCombinedOperations) break;
  }
  const replication::Log& log = parts_.store.log();
  if (!log.has_room(operations * (replication::kMaxRecordBytes + kRequestBytes))) {
    log_full_waits_.add();
    return {.wait = kFullLogWait, .is_log_full = true};  // for a checkpoint, which is on its way
  }
  if (const Nanoseconds wait = wait_for_joiners(); wait > 0) {
    join_waits_.add();
    return {.wait = wait};
  }
  taken_ = kNodesOfABatch + nodes_in_flight_;
  const rtree::NodeCounts wanted = taken_ + kept + asked;
  // What is retired may be free by now; while no batch is applied, no other code looks.
  if (!before.room.holds(wanted)) parts_.tree.reclaim();
  const rtree::TreeStats stats = parts_.tree.stats();
  room_ = stats.room;
  kept_by_inserts_ = kept_nodes(stats, protocol::OperationKind::kInsert);
  kept_by_updates_ = kept_nodes(stats, protocol::OperationKind::kUpdate);
  return {.wait = !room_.holds(wanted) && has_more_to_come(stats) ? kMemoryRetry : 0};
}

template <int D>
Status Replica<D>::log_order(const replication::AdmissionOrder& order, std::unique_ptr<Job> job) {
  begin_batch();
  append(RecordType::kAdmission, order);
  Flight flight{.end = {}, .jobs = {}, .operations = 0, .is_order = true};
  if (job != nullptr) flight.jobs.push_back(std::move(job));
  return end_batch(std::move(flight));
}

template <int D>
bool Replica<D>::may_log_load() const {
  return leads() && member_->may_write() && in_flight_.empty() &&
         parts_.store.log().has_room(replication::kMaxRecordBytes);
}

template <int D>
Status Replica<D>::log_load(RecordType type, const replication::LoadPayload& load, Ended ended) {
  begin_batch();
  append(type, load);
  Status logged = end_batch(
      {.end = {}, .jobs = {}, .operations = 0, .is_order = true, .ended = std::move(ended)});
  return logged ? member_->wrote() : logged;
}

template <int D>
Status Replica<D>::log_batch(Nanoseconds now) {
  begin_batch();
  Flight flight;
  while (!backlog_.empty()) {
    const Job& job = *backlog_.front();
    if (!flight.jobs.empty() &&
        (flight.operations + job.operations.size() > kMaxCombinedOperations || job.order ||
         job.compaction || job.is_late || !parts_.admission.admit(job.fencing_token, now))) {
      break;
    }
    log_job(job);
    flight.operations += job.operations.size();
    flight.jobs.push_back(take_next());
  }
  pace_.note_batch(flight.jobs.size());
  flight.nodes = batch_nodes_;
  return end_batch(std::move(flight));
}

template <int D>
void Replica<D>::begin_batch() {
  batch_nodes_ = {};
  clock_.observe(machine_.stamp());
  batch_stamp_ = clock_.next(parts_.history.unix_ns());
}

template <int D>
Status Replica<D>::end_batch(Flight flight) {
  const replication::Lsn before_batch = parts_.store.log().end().lsn;
  parts_.store.log().end_batch();
  if (Status settled = parts_.store.log().settle_batch(); !settled) {
    const bool is_taken_back = settled.error().code == ErrorCode::kNoSpace;
    if (is_taken_back) note_refusal(settled.error().message + "; then writing goes on by itself");
    for (auto& job : flight.jobs) {
      refuse(std::move(job), is_taken_back ? settled.error() : lost_place());
    }
    return settled;
  }
  flight.end = parts_.store.log().end();
  batched_at_ = now_;
  batch_bytes_ = flight.end.lsn - before_batch;
  nodes_in_flight_ = nodes_in_flight_ + flight.nodes;
  in_flight_.push_back(std::move(flight));
  batches_.add();
  return {};
}

template <int D>
void Replica<D>::log_job(const Job& job) {
  append(RecordType::kRequest, job.request);
  if (job.compaction) append(RecordType::kCompact, job.compaction->payload);
  for (const auto& operation : job.operations) log_operation(operation);
}

template <int D>
void Replica<D>::log_operation(const protocol::Operation<D>& operation) {
  Status good = protocol::check_operation<D>(operation);
  if (good && is_by_id(operation.kind)) {
    good = fail(ErrorCode::kUnsupported, "a group has no keyed collections yet");
  }
  const bool is_erasure = good && operation.kind == protocol::OperationKind::kErase;
  if (good && !is_erasure) {
    const bool is_update = operation.kind == protocol::OperationKind::kUpdate;
    const rtree::NodeCounts kept = is_update ? kept_by_updates_ : kept_by_inserts_;
    const rtree::NodeCounts with_this = taken_ + nodes_of(operation.kind);
    if (!room_.holds(with_this + kept)) {
      good = fail(ErrorCode::kOutOfMemory, "the tree is full");
    } else {
      taken_ = with_this;
    }
  }
  if (!good) {
    const auto code = static_cast<std::uint64_t>(good.error().code);
    return append(RecordType::kRefused, replication::RefusedPayload{code});
  }
  batch_nodes_ = batch_nodes_ + nodes_of(operation.kind);
  if (operation.kind == protocol::OperationKind::kUpdate) {
    return append(RecordType::kUpdate,
                  replication::UpdatePayload<D>{operation.id, operation.box, operation.to});
  }
  append(is_erasure ? RecordType::kErase : RecordType::kInsert,
         replication::EntryPayload<D>{operation.id, operation.box});
}

template <int D>
template <typename Payload>
void Replica<D>::append(RecordType type, const Payload& payload) {
  const bool fits = parts_.store.log().append({.checksum = 0,
                                               .lsn = 0,
                                               .stamp = batch_stamp_,
                                               .epoch = member_->epoch(),
                                               .length = 0,
                                               .type = type,
                                               .flags = 0},
                                              std::as_bytes(std::span(&payload, 1)));
  SILURUS_CHECK(fits);  // prepare_batch() said so
}

// --- any member

template <int D>
void Replica<D>::on_batch(const AppliedBatch& batch) {
  applied_ = batch.end;
  if (batch.order && batch.obeyed) on_order(batch);
  if (batch.load) on_load(batch);
  if (batch.has_changed) {
    History<D>* const history = &parts_.history;
    history->add(parts_.tree, batch.stamp);
    History<D>::limit({&history, 1}, parts_.tree.stats().bytes_held);
  }
  while (!in_flight_.empty() && in_flight_.front().end.lsn <= batch.end.lsn) {
    Flight& flight = in_flight_.front();
    nodes_in_flight_ = nodes_in_flight_ - flight.nodes;
    // What lies at our place of the log may be another primary's.
    if (flight.end == batch.end) {
      finish(flight, batch);
    } else {
      lose(flight);
    }
    in_flight_.pop_front();
  }
}

/// All members obey; the lease of a freeze counts on each one's own clock, for the one
/// that leads when it is over.
template <int D>
void Replica<D>::on_order(const AppliedBatch& batch) {
  parts_.admission.follow(machine_.state().admission,
                          now_ + static_cast<Nanoseconds>(batch.order->freeze_ns));
  parts_.tree.set_retired(parts_.admission.retired());
}

template <int D>
void Replica<D>::on_load(const AppliedBatch& batch) {
  if (batch.is_offer) {
    if (on_offer_) on_offer_(*batch.load);
    return;
  }
  adopted_.push_back({replication::run_of(*batch.load), batch.end.lsn, parts_.tree.snapshot()});
}

template <int D>
void Replica<D>::finish(Flight& flight, const AppliedBatch& batch) {
  if (flight.is_order) {
    for (const auto& job : flight.jobs) {
      job->version = batch.version;
      job->error.reset();
      if (!batch.obeyed) job->error = batch.obeyed.error();
    }
  } else {
    SILURUS_CHECK(flight.jobs.size() == batch.requests.size());
    for (std::size_t i = 0; i < flight.jobs.size(); ++i) {
      take_outcome(*flight.jobs[i], batch.requests[i]);
    }
  }
  unproven_.push_back(
      {batch.end.lsn, std::move(flight.jobs), std::move(flight.ended), batch.version});
}

/// Writes down what an applied request came to.
template <int D>
void Replica<D>::take_outcome(Job& job, const replication::group::AppliedRequest& applied) {
  job.version = applied.outcome.version;
  job.failed.clear();
  for (const auto& failure : applied.outcome.failed) {
    job.failed.push_back({failure.index, failure.code});
  }
  job.error.reset();
  if (job.compaction && applied.compacted) job.compaction->step = *applied.compacted;
  if (!applied.is_known) {
    job.error = Error{ErrorCode::kConflict, "its client said that it knows what came of it"};
  }
}

/// Answers what is durable at enough members. What the view has too few for waits for others to
/// join it, as writes that come now do, and is in doubt afterwards.
template <int D>
void Replica<D>::answer_proven(Nanoseconds now) {
  while (!unproven_.empty()) {
    const bool is_proven = unproven_.front().end <= member_->acknowledged();
    if (!is_proven && member_->view().has_enough()) return;  // the members are about to have it
    if (!is_proven && now - short_since_ < kMembersMayJoin) {
      again_at_ = short_since_ + kMembersMayJoin;
      return;
    }
    answer(unproven_.front(), is_proven ? std::optional<Error>() : too_few_copies());
    unproven_.pop_front();
  }
}

template <int D>
void Replica<D>::answer(Unproven& unproven, const std::optional<Error>& error) {
  for (auto& job : unproven.jobs) {
    if (error) job->error = error;
    give_back(std::move(job));
  }
  if (!unproven.ended) return;
  if (error) {
    unproven.ended(fail(*error));
  } else {
    unproven.ended(unproven.version);
  }
}

template <int D>
void Replica<D>::lose(Flight& flight) {
  for (auto& job : flight.jobs) refuse(std::move(job), lost_place());
  if (flight.ended) flight.ended(fail(lost_place()));
}

template <int D>
void Replica<D>::give_back(std::unique_ptr<Job> job) {
  parts_.queue.count_off(parts_.queue.weight_of(*job));
  server::give_back(std::move(job));
}

/// Gives back a job that was not logged.
template <int D>
void Replica<D>::end(std::unique_ptr<Job> job, Outcome outcome) {
  job->version = outcome.version;
  job->failed = std::move(outcome.failed);
  job->error = std::move(outcome.error);
  give_back(std::move(job));
}

template <int D>
void Replica<D>::refuse(std::unique_ptr<Job> job, const Error& error) {
  end(std::move(job), {.error = error});
}

// --- checkpoints

template <int D>
bool Replica<D>::wants_checkpoint() const {
  const replication::Log& log = parts_.store.log();
  if (!adopted_.empty()) return true;
  return log.end().lsn - parts_.store.last_checkpoint_lsn() > log.capacity() / kKeptLogShare;
}

template <int D>
Result<replication::PinnedTree<D>> Replica<D>::hold() const {
  using replication::group::Role;
  const Role role = member_->role();
  if ((role != Role::kPrimary && role != Role::kBackup) || machine_.is_within_batch()) {
    return fail(ErrorCode::kUnavailable, "this member is " + std::string(to_string(role)) +
                                             " and cannot be copied just now");
  }
  return replication::PinnedTree<D>{.tree = parts_.tree.snapshot(),
                                    .log = applied_,
                                    .stamp = machine_.stamp(),
                                    .epoch = member_->epoch(),
                                    .extra = machine_.state().encode()};
}

template <int D>
Result<replication::PinnedTree<D>> Replica<D>::hold_load(std::uint64_t id) const {
  if (!runs_.has(id)) return fail(ErrorCode::kUnavailable, "there is no such bulk load here");
  return replication::PinnedTree<D>{.tree = std::nullopt,
                                    .log = {},
                                    .stamp = 0,
                                    .epoch = member_->epoch(),
                                    .extra = {},
                                    .around = &parts_.tree,
                                    .load_root = runs_.root(id)};
}

template <int D>
std::optional<CheckpointBasis<D>> Replica<D>::checkpoint_basis() {
  if (machine_.is_within_batch() || applied_.lsn <= parts_.store.last_checkpoint_lsn()) return {};
  CheckpointBasis<D> basis{replication::Collections<D>::hold_only(parts_.tree), applied_,
                           machine_.stamp(), machine_.state().encode()};
  if (!adopted_.empty()) basis.adopted = adopted_.back().run;
  return basis;
}

template class Replica<2>;
template class Replica<3>;

}  // namespace silurus::server
