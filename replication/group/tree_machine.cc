// SPDX-License-Identifier: Apache-2.0

#include "replication/group/tree_machine.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/check.h"

namespace silurus::replication::group {
namespace {

Status nonsense(const Record& record, const std::string& why) {
  return fail(ErrorCode::kProtocol, "the group's record " + std::to_string(record.header.lsn) +
                                        " cannot be applied (" + why + ")");
}

}  // namespace

std::vector<std::byte> MachineState::encode() const {
  std::vector<std::byte> bytes(sizeof admission);
  std::memcpy(bytes.data(), &admission, sizeof admission);
  const std::vector<std::byte> table = requests.encode();
  bytes.insert(bytes.end(), table.begin(), table.end());
  return bytes;
}

Result<MachineState> MachineState::decode(std::span<const std::byte> bytes) {
  MachineState state;
  if (bytes.empty()) return state;
  if (bytes.size() >= sizeof state.admission)
    std::memcpy(&state.admission, bytes.data(), sizeof state.admission);
  if (bytes.size() < sizeof state.admission || !state.admission.is_sound()) {
    return fail(ErrorCode::kProtocol, "the admission state of a member is not one");
  }
  auto table = RequestTable::decode(bytes.subspan(sizeof state.admission));
  if (!table) return fail(table.error());
  state.requests = std::move(*table);
  return state;
}

template <int D>
TreeMachine<D>::TreeMachine(rtree::Tree<D>& tree, MachineState state, Stamp stamp,
                            std::function<void(const AppliedBatch&)> on_batch, std::uint32_t slice)
    : tree_(tree),
      state_(std::move(state)),
      stamp_(stamp),
      on_batch_(std::move(on_batch)),
      slice_(slice) {
  SILURUS_CHECK(slice >= rtree::kWorkOfAnOperation);
}

template <int D>
Result<LogPosition> TreeMachine<D>::apply(const Log& log, LogPosition from, Lsn commit) {
  LogPosition reached = from;
  LogReader reader(log.bytes(), at_.value_or(from));
  waits_for_memory_ = has_more_ = false;
  work_ = slice_;
  while (reader.position().lsn < commit) {
    at_ = reader.position();
    const auto record = reader.next();
    if (!record || reader.position().lsn > commit) break;
    has_more_ = !look_for(*record) || work_ < rtree::kWorkOfAnOperation;
    if (has_more_) return reached;
    work_ -= rtree::kWorkOfAnOperation;
    Status taken = take(*record);
    if (!taken && taken.error().code == ErrorCode::kOutOfMemory) {
      tree_.reclaim();
      taken = take(*record);
      if (!taken && taken.error().code == ErrorCode::kOutOfMemory &&
          tree_.stats().bytes_retired > 0) {
        waits_for_memory_ = true;
        return reached;
      }
    }
    if (!taken) return fail(taken.error());
    at_ = reader.position();
    if ((record->header.flags & kBatchEnd) == 0) continue;
    reached = reader.position();
    finish_batch(*record, reached);
  }
  return reached;
}

template <int D>
Status TreeMachine<D>::take(const Record& record) {
  switch (record.header.type) {
    case RecordType::kRestart:
      return {};
    case RecordType::kRequest: {
      const auto request = payload_as<RequestPayload>(record);
      if (!request) return nonsense(record, "its length");
      finish_request();
      AppliedRequest& applied = batch_.emplace_back();
      applied.request = *request;
      operation_ = 0;
      if (request->client == 0 || !state_.requests.is_done(request->client, request->sequence))
        return {};
      applied.is_repeated = true;
      const Outcome* const known = state_.requests.find(request->client, request->sequence);
      applied.is_known = known != nullptr;
      if (known != nullptr) applied.outcome = *known;
      return {};
    }
    case RecordType::kAdmission:
      order_ = payload_as<AdmissionOrder>(record);
      if (!order_) return nonsense(record, "its length");
      return take_order();
    case RecordType::kLoadOffer:
    case RecordType::kLoad:
      return take_load(record);
    default:
      return take_operation(record);
  }
}

/// What the order comes to is told with its batch.
template <int D>
Status TreeMachine<D>::take_order() {
  const auto next = transition(state_.admission, *order_);
  obeyed_ = next ? Status() : fail(next.error());
  if (next) state_.admission = *next;
  return {};
}

template <int D>
Status TreeMachine<D>::take_operation(const Record& record) {
  if (batch_.empty()) return nonsense(record, "an operation outside of a batch");
  AppliedRequest& request = batch_.back();
  if (!request.is_repeated) {
    Status changed = change(record);
    if (!changed) {
      const ErrorCode code = changed.error().code;
      const bool is_refused = record.header.type == RecordType::kRefused &&
                              payload_as<RefusedPayload>(record).has_value();
      if (!is_refused && code != ErrorCode::kNotFound) return changed;
      request.outcome.failed.push_back({operation_, static_cast<std::uint32_t>(code)});
    }
  }
  ++operation_;
  return {};
}

template <int D>
Status TreeMachine<D>::take_load(const Record& record) {
  load_ = payload_as<LoadPayload>(record);
  if (!load_ || runs_ == nullptr) return nonsense(record, "a bulk load");
  if (record.header.type == RecordType::kLoadOffer) return {};
  // A member that has the record has the nodes: it was not logged before.
  const Status adopted = runs_->adopt(*load_);
  return adopted ? adopted : nonsense(record, adopted.error().message);
}

/// Whether what the record is about has been looked for, so that it is taken at once.
template <int D>
bool TreeMachine<D>::look_for(const Record& record) {
  if (record.header.type == RecordType::kErase) {
    const auto payload = payload_as<EntryPayload<D>>(record);
    return !payload || tree_.look_for({payload->id, payload->box}, work_);
  }
  if (record.header.type == RecordType::kUpdate) {
    const auto payload = payload_as<UpdatePayload<D>>(record);
    return !payload || tree_.look_for({payload->id, payload->from}, work_);
  }
  if (record.header.type == RecordType::kCompact) {
    return work_ >= std::min(slice_, rtree::kMostWorkOfACompaction);
  }
  return true;
}

template <int D>
Status TreeMachine<D>::change(const Record& record) {
  using Room = typename rtree::Tree<D>::Room;
  // The primary has made sure that there is enough for all of the batch.
  const bool is_last = (record.header.flags & kBatchEnd) != 0;
  const Room room = is_last ? Room::kAdmittedLast : Room::kAdmitted;
  switch (record.header.type) {
    case RecordType::kInsert:
    case RecordType::kErase: {
      const auto payload = payload_as<EntryPayload<D>>(record);
      if (!payload) return nonsense(record, "its length");
      const rtree::Entry<D> entry{.id = payload->id, .box = payload->box};
      return record.header.type == RecordType::kInsert ? tree_.insert(entry, room)
                                                       : tree_.erase(entry);
    }
    case RecordType::kUpdate: {
      const auto payload = payload_as<UpdatePayload<D>>(record);
      if (!payload) return nonsense(record, "its length");
      return tree_.update(payload->id, payload->from, payload->to, room);
    }
    case RecordType::kCompact:
      return compact(record);
    case RecordType::kRefused: {
      const auto payload = payload_as<RefusedPayload>(record);
      if (!payload) return nonsense(record, "its length");
      return fail(static_cast<ErrorCode>(payload->code), "refused by the primary");
    }
    default:
      return fail(ErrorCode::kUnsupported, "the group's record " +
                                               std::to_string(record.header.lsn) +
                                               " has a type that this Silurus does not know");
  }
}

/// Changes no entry, so a member whose nodes are others, or whose memory is short, stays in step.
template <int D>
Status TreeMachine<D>::compact(const Record& record) {
  const auto payload = payload_as<CompactPayload>(record);
  if (!payload) return nonsense(record, "its length");
  const auto step =
      tree_.compact(payload->cursor, static_cast<double>(payload->fill_permyriad) / 10'000);
  if (!step) return fail(step.error());
  batch_.back().compacted = *step;
  work_ = 0;
  return {};
}

/// The next request of the batch may be the same one again.
template <int D>
void TreeMachine<D>::finish_request() {
  if (batch_.empty()) return;
  const AppliedRequest& last = batch_.back();
  if (last.request.client == 0 || last.is_repeated) return;
  Outcome outcome = last.outcome;
  outcome.version = tree_.next_version();
  state_.requests.note(last.request, std::move(outcome));
}

template <int D>
void TreeMachine<D>::finish_batch(const Record& record, LogPosition end) {
  const Stamp stamp = record.header.stamp;
  stamp_.store(stamp, std::memory_order_relaxed);  // before publish(): see stamp_
  finish_request();
  const rtree::Version next = tree_.next_version();
  const rtree::Version version = tree_.publish();
  for (AppliedRequest& applied : batch_) {
    if (applied.outcome.version == 0) applied.outcome.version = next;
    if (version == next || applied.outcome.version != next) continue;
    applied.outcome.version = version;  // nothing has changed: there is no next version
    state_.requests.correct(applied.request.client, applied.request.sequence, version);
  }
  if (runs_ != nullptr && version == next) runs_->drop_stale();
  const bool is_offer = record.header.type == RecordType::kLoadOffer;
  on_batch_({end, stamp, version, version == next, batch_, order_, obeyed_, load_, is_offer});
  batch_.clear();
  order_.reset();
  load_.reset();
}

template class TreeMachine<2>;
template class TreeMachine<3>;

}  // namespace silurus::replication::group
