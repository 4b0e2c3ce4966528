#include "replication/replay.h"

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
            .type = record.header.type,
            .id = 0,
            .box = {},
            .to = {},
            .compaction = {}};
  switch (step.type) {
    case RecordType::kRestart:
      return {};
    case RecordType::kRequest:
      return end_batch(record);
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
  steps_.push_back(step);
  batch_has_steps_ = true;
  ++records_;
  return end_batch(record);
}

/// If the record is the last one of a batch that changes anything: that is one more version.
template <int D>
Status Replay<D>::end_batch(const Record& record) {
  if ((record.header.flags & kBatchEnd) == 0 || !std::exchange(batch_has_steps_, false)) return {};
  ++batches_;
  ++batches_in_steps_;
  return steps_.size() < kOperationsPerVersion && !is_tight() ? Status{} : finish();
}

/// Whether the copies that a merged version makes, which are all there at once, might be too many:
/// then each batch is a version of its own, as it was when it was logged.
template <int D>
bool Replay<D>::is_tight() const {
  constexpr rtree::NodeCounts kNodesOfAnOperation = {4, 3};
  const rtree::TreeStats stats = tree_.stats();
  return !stats.room.holds(stats.reserved + kNodesOfAnOperation * (2 * kOperationsPerVersion));
}

template <int D>
Status Replay<D>::finish() {
  if (steps_.empty()) return {};
  if (is_tight()) tree_.reclaim_unread();
  // The batches' versions, one after the other, of which only the last one is made.
  tree_.skip_to(tree_.next_version() + batches_in_steps_ - 1);
  for (const Step& step : steps_) {
    if (Status applied = apply_again(step); !applied) return applied;
  }
  tree_.publish();
  steps_.clear();
  batches_in_steps_ = 0;
  return {};
}

template <int D>
Status Replay<D>::apply_again(const Step& step) {
  using Room = typename rtree::Tree<D>::Room;
  const auto is_full = [](const Status& status) {
    return !status && status.error().code == ErrorCode::kOutOfMemory;
  };
  Status applied = apply(step, Room::kBudget);
  if (is_full(applied)) {
    tree_.reclaim_unread();
    applied = apply(step, Room::kBudget);
  }
  // It was done once: so there is enough, if not as the tree's nodes lie now.
  if (is_full(applied)) applied = apply(step, Room::kAdmitted);
  if (applied || is_full(applied)) return applied;
  return nonsense(step.lsn, applied.error().message);
}

template <int D>
Status Replay<D>::apply(const Step& step, typename rtree::Tree<D>::Room room) {
  switch (step.type) {
    case RecordType::kInsert:
      return tree_.insert({.id = step.id, .box = step.box}, room);
    case RecordType::kErase:
      return tree_.erase({.id = step.id, .box = step.box});
    case RecordType::kCompact: {
      const auto packed = tree_.compact(
          step.compaction.cursor, static_cast<double>(step.compaction.fill_permyriad) / 10'000);
      return packed ? Status() : fail(packed.error());
    }
    default:
      return tree_.update(step.id, step.box, step.to, room);
  }
}

template class Replay<2>;
template class Replay<3>;

}  // namespace silurus::replication
