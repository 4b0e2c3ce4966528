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
      gate_(*parts.writer.gate()),
      runs_(parts.tree, std::move(loads)),
      machine_(
          parts.tree, std::move(state), stamp,
          [this](const AppliedBatch& batch) { on_batch(batch); }, parts.writer.slice()),
      applied_(applied) {
  machine_.take_loads_from(runs_);
  parts_.store.log().admit_copied([this](const replication::Record& record) {
    if (record.header.type != RecordType::kLoad) return true;
    const auto load = replication::payload_as<replication::LoadPayload>(record);
    return load && runs_.is_whole(load->id);
  });
  gate_.follow(machine_.state().gate, 0);
  parts_.tree.set_retired(gate_.retired());
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
    const Error error = parts_.standing.not_primary();
    for (; !backlog_.empty(); backlog_.pop_front()) refuse(backlog_.front(), error);
  }
  if (machine_.waits_for_memory()) again_at_ = now + kMemoryRetry;
  parts_.standing.update(*member_, now);
  return done;
}

template <int D>
void Replica<D>::note_view(Nanoseconds now) {
  if (!leads() || member_->view().since != reign_) {
    lose_writes();
    reign_ = member_->view().since;
    is_short_ = false;
  }
  // Since when there are too few members, whichever views come and go meanwhile.
  const bool is_short = leads() && !member_->view().has_enough();
  if (is_short && !is_short_) short_since_ = now;
  is_short_ = is_short;
}

/// Of what is under way, the next primary knows what becomes of it.
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
  parts_.standing.give_up(error);
  lose_writes();
  take_arrivals();
  for (; !backlog_.empty(); backlog_.pop_front()) refuse(backlog_.front(), error);
}

template <int D>
void Replica<D>::take_arrivals() {
  for (WriteJob<D>* job = parts_.writer.take(); job != nullptr; job = job->next) {
    backlog_.push_back(job);
  }
}

// --- the primary

template <int D>
Status Replica<D>::log_batches(Nanoseconds now) {
  refuse_late();
  if (is_held_back_) return {};
  if (more_writes_are_coming(now)) {
    again_at_ = last_arrival_ + kGroupWriteGap;
    return {};
  }
  bool any = false;
  while (!backlog_.empty() && in_flight_.size() < kMaxBatchesInFlight && !waits_for_order() &&
         member_->may_write()) {
    WriteJob<D>* const next = backlog_.front();
    if (next->is_late) break;
    if (!member_->view().has_enough()) {
      if (has_writes_on_their_way()) break;  // one of them may be this one, which comes again
      // After a fail-over, a primary is alone until the others have joined it again.
      if (now - short_since_ < kMembersMayJoin) {
        again_at_ = short_since_ + kMembersMayJoin;
        break;
      }
      backlog_.pop_front();
      refuse_with_too_few_members(*next, now);
      continue;
    }
    if (!unproven_.empty() && is_done(*next)) break;  // it may be one of those, which comes again
    const bool has_lapsed = gate_.has_lapsed(now);
    if (!has_lapsed && (answer_from_table(*next) || refuse_by_gate(*next, now) || put_off(*next))) {
      backlog_.pop_front();
      continue;
    }
    const Nanoseconds wait = must_wait();
    if (is_log_full_ && obstacle_) {
      backlog_.pop_front();
      note_refusal(full_log(*obstacle_));
      refuse(next, {obstacle_->code, full_log(*obstacle_)});
      continue;
    }
    if (wait != 0) {
      again_at_ = now + wait;
      break;
    }
    if (Status logged = log_next(next, has_lapsed, now); !logged) {
      if (logged.error().code != ErrorCode::kNoSpace) return logged;
      continue;  // refused
    }
    note_refusal("");
    any = true;
  }
  return any ? member_->wrote() : Status{};
}

/// Refuses writes that came while a bulk load is under way; but one that comes again may have been
/// done, which the table says as soon as none is on its way.
template <int D>
void Replica<D>::refuse_late() {
  while (!backlog_.empty() && backlog_.front()->is_late && member_->may_write() &&
         !has_writes_on_their_way()) {
    WriteJob<D>* const job = backlog_.front();
    backlog_.pop_front();
    if (!answer_from_table(*job)) refuse(job, load_is_under_way());
  }
}

/// Logs what comes next in the backlog. kNoSpace: the medium has no room, nothing is logged, and
/// the jobs that it was for are refused.
template <int D>
Status Replica<D>::log_next(WriteJob<D>* next, bool has_lapsed, Nanoseconds now) {
  if (!has_lapsed && !next->order) return log_batch(now);
  if (!has_lapsed) {
    backlog_.pop_front();
    return log_order(*next->order, next);
  }
  Status logged = log_order({replication::GateAction::kLapse, gate_.ticket(), 0}, nullptr);
  if (!logged && logged.error().code == ErrorCode::kNoSpace) {
    backlog_.pop_front();
    refuse(next, logged.error());
  }
  return logged;
}

template <int D>
void Replica<D>::note_refusal(const std::string& why) {
  const std::lock_guard lock(refusal_mutex_);
  if (refusal_.empty() && !why.empty()) {
    log::error(member_->label() + ": writes are refused: " + why);
  }
  if (!refusal_.empty() && why.empty()) {
    log::info(member_->label() + ": writes are taken again");
  }
  refusal_ = why;
}

/// Whether clients that had a batch of writes answered are still sending the next ones: then one
/// flush does for all.
template <int D>
bool Replica<D>::more_writes_are_coming(Nanoseconds now) {
  if (backlog_.size() != last_backlog_) {
    last_backlog_ = backlog_.size();
    last_arrival_ = now;
  }
  return !backlog_.empty() && backlog_.size() < last_batch_ && now - last_arrival_ < kGroupWriteGap;
}

/// While the group has fewer members than a write has to be durable at. One that was done before is
/// answered as then if it surely was durable at enough. What belongs to other servers now is sent
/// there.
template <int D>
void Replica<D>::refuse_with_too_few_members(WriteJob<D>& job, Nanoseconds now) {
  const bool was_done = is_done(job);
  const bool is_durable = member_->acknowledged() >= applied_.lsn;
  if (was_done && is_durable && answer_from_table(job)) return;
  if (!was_done && refuse_by_gate(job, now)) return;
  refuse(&job, was_done ? too_few_copies()
                        : Error{ErrorCode::kUnavailable, too_few_members(member_->view())});
}

template <int D>
bool Replica<D>::has_writes_on_their_way() const {
  return !unproven_.empty() || !std::ranges::all_of(in_flight_, &Flight::is_order);
}

/// Whether the write comes again, and was committed.
template <int D>
bool Replica<D>::is_done(const WriteJob<D>& job) const {
  return job.request.client != 0 &&
         machine_.requests().is_done(job.request.client, job.request.sequence);
}

/// Answers a write that is done as it was answered then; returns whether it was.
template <int D>
bool Replica<D>::answer_from_table(WriteJob<D>& job) {
  if (!is_done(job)) return false;
  const auto& requests = machine_.requests();
  const auto* known = requests.find(job.request.client, job.request.sequence);
  if (known == nullptr) {
    refuse(&job, {ErrorCode::kConflict,
                  "write " + std::to_string(job.request.sequence) +
                      " was done, and its client said that it knows what came of it"});
    return true;
  }
  job.version = known->version;
  job.failed.clear();
  for (const auto& failure : known->failed) job.failed.push_back({failure.index, failure.code});
  job.error.reset();
  give_back(&job);
  return true;
}

/// A write that does not come from whom the gate lets in now. Of one that was done before, the
/// table has been asked.
template <int D>
bool Replica<D>::refuse_by_gate(WriteJob<D>& job, Nanoseconds now) {
  if (job.order) return false;
  const Status admitted = gate_.admit(job.ticket, now);
  if (!admitted) refuse(&job, admitted.error());
  return !admitted;
}

/// A step of a compaction that would take memory from those who write is answered, but not done.
template <int D>
bool Replica<D>::put_off(WriteJob<D>& job) {
  if (!job.compaction || !compaction_must_wait(parts_.tree)) return false;
  job.compaction->step = {.next = job.compaction->payload.cursor, .is_short = true};
  job.version = parts_.tree.next_version() - 1;
  job.error.reset();
  give_back(&job);
  return true;
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

template <int D>
Nanoseconds Replica<D>::must_wait() {
  std::uint64_t operations = 1;  // so that an order finds room, too
  rtree::NodeCounts asked = kNodesOfAnOperation;
  rtree::NodeCounts kept;
  const rtree::TreeStats before = parts_.tree.stats();
  for (const WriteJob<D>* job : backlog_) {
    operations += job->operations.size();
    for (const auto& one : job->operations) {
      kept = largest(kept, kept_nodes(before, one.kind));
      asked = asked + nodes_of(one.kind);
    }
    if (operations >= kMaxCombinedOperations) break;
  }
  const replication::Log& log = parts_.store.log();
  is_log_full_ = !log.has_room(operations * (replication::kMaxRecordBytes + kRequestBytes));
  if (is_log_full_) {
    log_full_waits_.add();
    return kFullLogWait;  // for a checkpoint, which is on its way
  }
  if (const Nanoseconds wait = wait_for_joiners(); wait > 0) {
    join_waits_.add();
    return wait;
  }
  taken_ = kNodesOfABatch + nodes_in_flight_;
  const rtree::NodeCounts wanted = taken_ + kept + asked;
  // What is retired may be free by now; while no batch is applied, nobody else looks.
  if (!before.room.holds(wanted)) parts_.tree.reclaim();
  const rtree::TreeStats stats = parts_.tree.stats();
  room_ = stats.room;
  kept_by_inserts_ = kept_nodes(stats, protocol::OperationKind::kInsert);
  kept_by_updates_ = kept_nodes(stats, protocol::OperationKind::kUpdate);
  return !room_.holds(wanted) && has_more_to_come(stats) ? kMemoryRetry : 0;
}

template <int D>
Status Replica<D>::log_order(const replication::GatePayload& order, WriteJob<D>* job) {
  begin_batch();
  append(RecordType::kGate, order);
  Flight flight{.end = {}, .jobs = {}, .operations = 0, .is_order = true};
  if (job != nullptr) flight.jobs.push_back(job);
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
    WriteJob<D>* job = backlog_.front();
    if (!flight.jobs.empty() &&
        (flight.operations + job->operations.size() > kMaxCombinedOperations || job->order ||
         job->compaction || job->is_late || !gate_.admit(job->ticket, now))) {
      break;
    }
    log_job(*job);
    flight.jobs.push_back(job);
    flight.operations += job->operations.size();
    backlog_.pop_front();
  }
  last_batch_ = flight.jobs.size();
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
    for (WriteJob<D>* job : flight.jobs) {
      refuse(job, is_taken_back ? settled.error() : lost_place());
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
void Replica<D>::log_job(const WriteJob<D>& job) {
  append(RecordType::kRequest, job.request);
  if (job.compaction) append(RecordType::kCompact, job.compaction->payload);
  for (const auto& operation : job.operations) log_operation(operation);
}

template <int D>
void Replica<D>::log_operation(const protocol::Operation<D>& operation) {
  Status good = protocol::check_operation<D>(operation);
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
  SILURUS_CHECK(fits);  // must_wait() said so
}

// --- any member

template <int D>
void Replica<D>::on_batch(const AppliedBatch& batch) {
  applied_ = batch.end;
  if (batch.order && batch.turned) on_order(batch);
  if (batch.load) on_load(batch);
  if (batch.has_changed) parts_.history.add(parts_.tree, batch.stamp);
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

/// All members turn their gates; the lease of a freeze counts on each one's own clock, for whoever
/// leads when it is over.
template <int D>
void Replica<D>::on_order(const AppliedBatch& batch) {
  gate_.follow(machine_.state().gate, now_ + static_cast<Nanoseconds>(batch.order->freeze_ns));
  parts_.tree.set_retired(gate_.retired());
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
    for (WriteJob<D>* job : flight.jobs) {
      job->version = batch.version;
      job->error.reset();
      if (!batch.turned) job->error = batch.turned.error();
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
void Replica<D>::take_outcome(WriteJob<D>& job, const replication::group::AppliedRequest& applied) {
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
  for (WriteJob<D>* job : unproven.jobs) {
    if (error) job->error = error;
    give_back(job);
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
  for (WriteJob<D>* job : flight.jobs) refuse(job, lost_place());
  if (flight.ended) flight.ended(fail(lost_place()));
}

template <int D>
void Replica<D>::give_back(WriteJob<D>* job) {
  parts_.writer.count_off(*job);
  parts_.give_back(job);
}

template <int D>
void Replica<D>::refuse(WriteJob<D>* job, const Error& error) {
  job->failed.clear();
  job->error = error;
  give_back(job);
}

// --- checkpoints

template <int D>
bool Replica<D>::wants_checkpoint() const {
  const replication::Log& log = parts_.store.log();
  if (!adopted_.empty()) return true;
  return log.end().lsn - parts_.store.last_checkpoint_lsn() > log.capacity() / kKeptLogShare;
}

template <int D>
Result<replication::group::HeldTree<D>> Replica<D>::hold() const {
  using replication::group::Role;
  const Role role = member_->role();
  if ((role != Role::kPrimary && role != Role::kBackup) || machine_.is_within_batch()) {
    return fail(ErrorCode::kUnavailable, "this member is " + std::string(to_string(role)) +
                                             " and cannot be copied just now");
  }
  return replication::group::HeldTree<D>{.tree = parts_.tree.snapshot(),
                                         .log = applied_,
                                         .stamp = machine_.stamp(),
                                         .epoch = member_->epoch(),
                                         .extra = machine_.state().encode()};
}

template <int D>
Result<replication::group::HeldTree<D>> Replica<D>::hold_load(std::uint64_t id) const {
  if (!runs_.has(id)) return fail(ErrorCode::kUnavailable, "there is no such bulk load here");
  return replication::group::HeldTree<D>{.tree = std::nullopt,
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
  CheckpointBasis<D> basis{parts_.tree.snapshot(), applied_, machine_.stamp(),
                           machine_.state().encode()};
  if (!adopted_.empty()) basis.adopted = adopted_.back().run;
  return basis;
}

template class Replica<2>;
template class Replica<3>;

}  // namespace silurus::server
