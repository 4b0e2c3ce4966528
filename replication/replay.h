// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/result.h"
#include "replication/collections.h"
#include "replication/record.h"
#include "rtree/tree.h"

namespace silurus::replication {

/// Applies the records of a log to the trees that they start from, so that they end as the version
/// of the last batch, with that version's number. Several batches are published as one version:
/// their numbers in between are left out. One thread; no other thread reads the trees meanwhile.
template <int D>
class Replay {
 public:
  explicit Replay(Collections<D>& collections)
      : collections_(collections), first_(collections.first()) {}

  /// Takes the next record, whose batch must be whole. kProtocol if the tree cannot have been what
  /// the log says, kOutOfMemory if its budget is too small.
  Status take(const Record& record);
  /// After the last record: publishes what is left.
  Status finish();

  std::uint64_t records() const { return records_; }
  std::uint64_t batches() const { return batches_; }

 private:
  /// Operations that are published together.
  static constexpr std::size_t kOperationsPerVersion = 1024;
  /// Bytes of their entries' records, with which there are enough of them.
  static constexpr std::size_t kRecordBytesPerVersion = std::size_t{1} << 20;

  struct Step {
    Lsn lsn;
    std::uint64_t batch;  ///< number of its batch among those in steps_
    RecordType type;
    std::uint64_t collection;
    std::uint64_t id;
    rtree::Box<D> box;
    rtree::Box<D> to;
    CompactPayload compaction;
    std::optional<std::vector<std::byte>>
        record;  ///< what the entry has then; none: it keeps what it has
  };
  Status take_part(const Record& record);
  Status end_batch(const Record& record);
  bool is_tight() const;
  Status apply(rtree::Tree<D>& tree, const Step& step, typename rtree::Tree<D>::Room room);
  Status apply_again(const Step& step);
  Status obey(const Record& record);

  Collections<D>& collections_;
  rtree::Tree<D>& first_;                        ///< first tree of the forest
  std::uint64_t selected_ = 0;                   ///< whose entries the operations are of
  std::vector<Step> steps_;                      ///< whole batches, not applied yet
  std::optional<std::vector<std::byte>> parts_;  ///< those of the next operation's record
  std::size_t record_bytes_ = 0;                 ///< in steps_
  bool batch_has_steps_ = false;
  std::uint64_t batches_in_steps_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t batches_ = 0;
};

}  // namespace silurus::replication
