// SPDX-License-Identifier: Apache-2.0

#include "replication/replay.h"

#include <cstring>
#include <string>
#include <utility>

namespace silurus::replication {
namespace {

Status nonsense(Lsn lsn, const std::string& why) {
  return fail(ErrorCode::kProtocol, "the log's record " + std::to_string(lsn) +
                                        " does not fit the checkpoint (" + why +
                                        "): restore a backup");
}

}  // namespace

template <int D>
Status Replay<D>::take(const Record& record) {
  Step step{.lsn = record.header.lsn,
            .batch = batches_in_steps_,
            .type = record.header.type,
            .collection = selected_,
            .id = 0,
            .box = {},
            .to = {},
            .compaction = {},
            .record = {}};
  const bool takes_parts = step.type == RecordType::kInsert || step.type == RecordType::kUpdate ||
                           step.type == RecordType::kPart;
  if (parts_ && !takes_parts) return nonsense(step.lsn, "it follows a part of a record");
  switch (step.type) {
    case RecordType::kRestart:
      return {};
    case RecordType::kRequest:
      return end_batch(record);
    case RecordType::kSelect: {
      const auto payload = payload_as<SelectPayload>(record);
      if (!payload) return nonsense(step.lsn, "its length");
      selected_ = payload->number;
      return end_batch(record);
    }
    case RecordType::kCollection:
      ++records_;
      return obey(record);
    case RecordType::kPart:
      return take_part(record);
    case RecordType::kInsert:
    case RecordType::kErase: {
      const auto payload = payload_as<EntryPayload<D>>(record);
      if (!payload) return nonsense(step.lsn, "its length");
      step.id = payload->id;
      step.box = payload->box;
      break;
    }
    case RecordType::kUpdate: {
      const auto payload = payload_as<UpdatePayload<D>>(record);
      if (!payload) return nonsense(step.lsn, "its length");
      step.id = payload->id;
      step.box = payload->from;
      step.to = payload->to;
      break;
    }
    case RecordType::kCompact: {
      const auto payload = payload_as<CompactPayload>(record);
      if (!payload) return nonsense(step.lsn, "its length");
      step.compaction = *payload;
      break;
    }
    default:
      return fail(ErrorCode::kUnsupported, "the log's record " + std::to_string(step.lsn) +
                                               " has a type that this Silurus does not know");
  }
  step.record = std::exchange(parts_, std::nullopt);
  if (step.record) record_bytes_ += step.record->size();
  steps_.push_back(std::move(step));
  batch_has_steps_ = true;
  ++records_;
  return end_batch(record);
}

template <int D>
Status Replay<D>::take_part(const Record& record) {
  PartPayload part{};
  const std::size_t bytes = record.payload.size();
  if (bytes < sizeof part.count || bytes > sizeof part) {
    return nonsense(record.header.lsn, "its length");
  }
  std::memcpy(&part, record.payload.data(), bytes);
  if (part.count > PartPayload::kMostBytes || bytes != part_bytes(part.count)) {
    return nonsense(record.header.lsn, "its length");
  }
  if (!parts_) parts_.emplace();
  if (parts_->size() + part.count > rtree::kMostRecordBytes ||
      (record.header.flags & kBatchEnd) != 0) {
    return nonsense(record.header.lsn, "a record that cannot be");
  }
  parts_->insert(parts_->end(), part.bytes, part.bytes + part.count);
  ++records_;
  return {};
}

/// If the record is the last one of a batch that changes anything: that is one more version.
template <int D>
Status Replay<D>::end_batch(const Record& record) {
  if ((record.header.flags & kBatchEnd) == 0) return {};
  selected_ = 0;
  if (!std::exchange(batch_has_steps_, false)) return {};
  ++batches_;
  ++batches_in_steps_;
  const bool is_enough =
      steps_.size() >= kOperationsPerVersion || record_bytes_ >= kRecordBytesPerVersion;
  return !is_enough && !is_tight() ? Status{} : finish();
}

/// Whether the copies that a merged version makes, which are all there at once, might be too many:
/// then each batch is a version of its own, as it was when it was logged.
template <int D>
bool Replay<D>::is_tight() const {
  constexpr rtree::NodeCounts kNodesOfAnOperation = {4, 3};
  const rtree::TreeStats stats = first_.stats();
  return !stats.room.holds(stats.reserved + kNodesOfAnOperation * (2 * kOperationsPerVersion));
}

/// A batch of its own, and a version of its own.
template <int D>
Status Replay<D>::obey(const Record& record) {
  const auto order = payload_as<CollectionOrder>(record);
  if (!order || batch_has_steps_ || selected_ != 0 || (record.header.flags & kBatchEnd) == 0) {
    return nonsense(record.header.lsn, "its length or its place");
  }
  if (Status finished = finish(); !finished) return finished;
  Status begun = collections_.begin(*order);
  if (!begun && begun.error().code == ErrorCode::kOutOfMemory) {
    first_.reclaim_unread();
    begun = collections_.begin(*order);
  }
  if (!begun && begun.error().code == ErrorCode::kOutOfMemory) return begun;
  if (!begun) return nonsense(record.header.lsn, begun.error().message);
  first_.publish();
  for (auto& removed : collections_.commit().removed) rtree::Tree<D>::remove(std::move(removed));
  ++batches_;
  return {};
}

template <int D>
Status Replay<D>::finish() {
  if (steps_.empty()) return {};
  if (is_tight()) first_.reclaim_unread();
  // The batches' versions, one after the other, of which only the last one is made.
  const rtree::Version version = first_.next_version();
  first_.skip_to(version + batches_in_steps_ - 1);
  for (const Step& step : steps_) {
    first_.write_as_of(version + step.batch);
    if (Status applied = apply_again(step); !applied) return applied;
  }
  first_.write_as_of(0);
  first_.publish();
  steps_.clear();
  record_bytes_ = 0;
  batches_in_steps_ = 0;
  return {};
}

template <int D>
Status Replay<D>::apply_again(const Step& step) {
  using Room = typename rtree::Tree<D>::Room;
  const auto is_full = [](const Status& status) {
    return !status && status.error().code == ErrorCode::kOutOfMemory;
  };
  rtree::Tree<D>* tree = collections_.find(step.collection);
  if (tree == nullptr) {
    return nonsense(step.lsn, "there is no collection " + std::to_string(step.collection));
  }
  Status applied = apply(*tree, step, Room::kBudget);
  if (is_full(applied)) {
    first_.reclaim_unread();
    applied = apply(*tree, step, Room::kBudget);
  }
  // It was done once: so there is enough, if not as the tree's nodes lie now.
  if (is_full(applied)) applied = apply(*tree, step, Room::kAdmitted);
  if (applied || is_full(applied)) return applied;
  return nonsense(step.lsn, applied.error().message);
}

template <int D>
Status Replay<D>::apply(rtree::Tree<D>& tree, const Step& step,
                        typename rtree::Tree<D>::Room room) {
  using RecordBytes = typename rtree::Tree<D>::RecordBytes;
  switch (step.type) {
    case RecordType::kInsert:
      return tree.insert({.id = step.id, .box = step.box}, room,
                         step.record ? RecordBytes(*step.record) : RecordBytes());
    case RecordType::kErase:
      return tree.erase({.id = step.id, .box = step.box});
    case RecordType::kCompact: {
      const auto packed = tree.compact(
          step.compaction.cursor, static_cast<double>(step.compaction.fill_permyriad) / 10'000);
      return packed ? Status() : fail(packed.error());
    }
    default:
      return tree.update(step.id, step.box, step.to, room,
                         step.record ? std::optional<RecordBytes>(*step.record) : std::nullopt);
  }
}

template class Replay<2>;
template class Replay<3>;

}  // namespace silurus::replication
