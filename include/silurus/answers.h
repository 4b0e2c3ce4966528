// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "silurus/inline_function.h"
#include "silurus/policy.h"
#include "silurus/result.h"
#include "silurus/time.h"
#include "silurus/types.h"

// What the calls of a client return.

namespace silurus {

/// What a range search found: count, ids, boxes (RangeResult), and where it was found.
template <int D>
struct RangeAnswer : RangeResult<D> {
  Version version = 0;  ///< the version that was searched
  Access access = Access::kMessaging;
};

/// Neighbours, nearest first; equal distances in the order of ids.
struct NearestAnswer {
  NearestResult neighbors;
  Version version = 0;
  Access access = Access::kMessaging;

  std::size_t size() const { return neighbors.size(); }
  bool empty() const { return neighbors.empty(); }
  const Neighbor& operator[](std::size_t i) const { return neighbors[i]; }
  auto begin() const { return neighbors.begin(); }
  auto end() const { return neighbors.end(); }
};

/// Pairs of entries, in no particular order: of one version of both collections.
struct JoinAnswer {
  std::vector<IdPair> pairs;
  Version version = 0;  ///< version of the first collection
};

/// Entries of a keyed collection, by their ids.
template <int D>
struct GetAnswer {
  std::vector<KeyedEntry<D>> entries;  ///< in the order of the ids asked for
  std::vector<Record>
      records;  ///< those of the entries, if asked for; empty ones where there is none
  std::vector<std::uint64_t> missing;  ///< ids of which there is none, in that order
  Version version = 0;                 ///< that all of them are of
  Access access = Access::kMessaging;
};

/// What a put has done.
struct PutAnswer {
  Version version = 0;    ///< in which the entry was written: its own, for an IfVersion
  bool replaced = false;  ///< it gave an entry that was there another box
};

/// On which condition an entry of a keyed collection is written, where others may write it too.
struct IfVersion {
  /// Only if it was written last in that version, which get() and put() tell (else kConflict);
  /// 0: in any.
  Version version = 0;
};

/// An operation of a batch that had no effect, and why.
struct FailedWrite {
  std::size_t index;  ///< in the batch
  ErrorCode code;
};

/// The batch is visible in this version, save for the operations that failed.
struct WriteAnswer {
  Version version = 0;
  std::vector<FailedWrite> failed;
  /// Puts, by their places in the batch, that gave entries that were there another box.
  std::vector<std::size_t> replaced;
};

struct LoadAnswer {
  Version version = 0;
  std::uint64_t entries = 0;  ///< in the tree
};

/// What one step of a compaction came to.
struct CompactAnswer {
  std::uint64_t next = 0;  ///< where the next step begins
  bool is_done = false;    ///< there is no next one
  /// The step was put off until memory that older versions took has come back: ask again in some
  /// milliseconds.
  bool must_wait = false;
  double share = 0;  ///< how much of the compaction is done: in [0, 1]
  std::uint64_t saved_nodes = 0;
  std::uint64_t saved_bytes = 0;
  Version version = 0;
  std::uint64_t nodes = 0;  ///< that the tree has now
  std::uint64_t bytes = 0;
  std::uint64_t bytes_retired = 0;  ///< bytes that older versions take besides
  std::uint64_t bytes_held = 0;     ///< part of these that is held for readers
};

/// A version that the server keeps (its option --retain).
struct KeptVersion {
  Version version = 0;
  std::int64_t unix_ns = 0;  ///< when it was published
  std::uint64_t entries = 0;
};

/// What changed from one version to another: ids of entries.
struct Difference {
  Version from = 0;
  Version to = 0;
  std::vector<std::uint64_t> inserted;
  std::vector<std::uint64_t> erased;
  std::vector<std::uint64_t> moved;
};

/// A copy of the tree that the server has written.
struct BackupAnswer {
  std::string path;  ///< on the server's machine
  Version version = 0;
  std::uint64_t entries = 0;
};

/// A member of a group of replicas.
struct GroupMember {
  std::string id;
  std::string url;  ///< addresses for clients, parted by commas; may be empty
  bool is_in_view = true;
};

/// What a server says of its group; alone, it is the primary of a group of one.
struct GroupInfo {
  std::uint64_t epoch = 0;  ///< the view's number; 0: there is no group
  std::string self;         ///< id of the one that says it
  std::string primary;      ///< id; empty between two views
  std::string role;         ///< "primary", "backup", "joining", "failed"
  std::vector<GroupMember> members;
  std::string json;  ///< all that it says
};

/// What a server says of itself.
struct ServerStatistics {
  Version version = 0;
  std::string state;  ///< "serving"; else why it takes no writes, or nothing
  double uptime_seconds = 0;
  std::uint32_t dimensions = 0;
  std::uint64_t entries = 0;
  std::uint64_t nodes = 0;
  std::uint32_t height = 0;         ///< levels of the tree
  std::uint64_t bytes = 0;          ///< memory that its nodes take
  std::uint64_t bytes_retired = 0;  ///< memory that older versions' nodes take
  std::uint64_t memory_budget_bytes = 0;
  std::uint64_t clients = 0;  ///< connected
  std::uint64_t write_operations = 0;
  std::uint64_t failed_operations = 0;  ///< those without effect
  double cpu_seconds = 0;
  std::string json;  ///< all that it says
};

/// What a collection is, decided when it is created.
struct CollectionOptions {
  bool keyed = false;    ///< an id is unique in it
  bool lonlat = false;   ///< coordinates are degrees of longitude and latitude
  bool records = false;  ///< an entry may carry a record; then an id is unique as well
};

/// A named collection of a server.
struct CollectionInfo {
  std::string name;
  std::uint32_t dimensions = 2;
  CollectionOptions options = {};
  std::uint64_t entries = 0;
  Version version = 0;  ///< in which it was changed last
  std::string note;     ///< text of its owner
};

/// Changes that become visible at once, in one version.
///
///   WriteBatch<2> batch;
///   batch.insert(1, {{0, 0}, {1, 1}}).erase(2, {{3, 3}, {4, 4}});
template <int D>
class WriteBatch {
 public:
  WriteBatch& insert(std::uint64_t id, const Box<D>& box) {
    operations_.push_back({id, OperationKind::kInsert, 0, box, {}});
    return *this;
  }
  WriteBatch& erase(std::uint64_t id, const Box<D>& box) {
    operations_.push_back({id, OperationKind::kErase, 0, box, {}});
    return *this;
  }
  /// Moves an entry: searches see it at the old box or at the new one, never at both or neither.
  WriteBatch& update(std::uint64_t id, const Box<D>& from, const Box<D>& to) {
    operations_.push_back({id, OperationKind::kUpdate, 0, from, {to}});
    return *this;
  }

  // For keyed collections, where an id is unique; there insert() is "put if there is none".

  /// Gives `id` that box, and no record: a new entry, or the one that is there. With a condition,
  /// only one that is there.
  WriteBatch& put(std::uint64_t id, const Box<D>& box, IfVersion condition = {}) {
    return add_by_id(id, OperationKind::kPut, box, condition);
  }
  /// The same with a record, in a collection with records; without one the entry has none.
  WriteBatch& put(std::uint64_t id, const Box<D>& box, const Record& record,
                  IfVersion condition = {}) {
    return put(id, box, condition).add_record(record);
  }
  /// Adds an entry with a record.
  WriteBatch& insert(std::uint64_t id, const Box<D>& box, const Record& record) {
    return insert(id, box).add_record(record);
  }
  /// Gives an entry that is there (else kNotFound) another box; its record stays.
  WriteBatch& update(std::uint64_t id, const Box<D>& box, IfVersion condition = {}) {
    return add_by_id(id, OperationKind::kUpdateById, box, condition);
  }
  WriteBatch& erase(std::uint64_t id, IfVersion condition = {}) {
    return add_by_id(id, OperationKind::kEraseById, {}, condition);
  }

  void clear() {
    operations_.clear();
    records_.clear();
    bad_ = std::nullopt;
  }
  std::size_t size() const { return operations_.size(); }
  const std::vector<Operation<D>>& operations() const { return operations_; }
  /// What is wrong with a record that was given, and its id: then the batch is not written.
  SILURUS_API Status check() const;
  /// The records of the operations that have one, one behind the other, as they travel.
  const std::vector<std::byte>& records() const { return records_; }

 private:
  WriteBatch& add_by_id(std::uint64_t id, OperationKind kind, const Box<D>& box,
                        IfVersion condition) {
    operations_.push_back({id, kind, 0, box, {}});
    operations_.back().expected = condition.version;
    return *this;
  }

  SILURUS_API WriteBatch& add_record(const Record& record);

  std::vector<Operation<D>> operations_;
  std::vector<std::byte> records_;
  std::optional<Error> bad_;  ///< the first record that is none
};

/// Is told how an asynchronous operation ended, from within poll() or a blocking call, never from
/// within the call that began it. The answer belongs to the operation: take out (swap) what shall
/// outlive the callback. It may begin other operations. Captures of up to 48 bytes.
template <typename Answer>
using Callback = InlineFunction<void(Result<Answer*>)>;

}  // namespace silurus
