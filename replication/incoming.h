#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"
#include "replication/checkpoint.h"
#include "replication/data_directory.h"

namespace silurus::replication {

/// A member's store being made anew of another member's tree, beside the one that serves, which it
/// replaces when the data directory is opened the next time: whole or not at all. The nodes go
/// where a checkpoint would put them as they come; none stays in memory. One thread. One at a time
/// in a directory.
///
///   auto store = IncomingStore<2>::create("/data/silurus", options);
///   for (each node) (*store)->take(ref, node);
///   (*store)->finish(log, stamp, extra);
///   (*store)->arrive();
template <int D>
class IncomingStore {
 public:
  /// `options`: of a member, with the id of the store that is to be replaced.
  static Result<std::unique_ptr<IncomingStore>> create(const std::string& path,
                                                       const DirectoryOptions& options);
  /// Leaves nothing of what is not finished.
  ~IncomingStore();
  IncomingStore(const IncomingStore&) = delete;
  IncomingStore& operator=(const IncomingStore&) = delete;

  /// The root first, each chunk once. kTooLarge if our tree may not become so large.
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node);
  /// Nothing of it is there yet.
  bool is_untouched() const { return !root_header_; }
  /// All of it is there: makes it durable.
  Status finish(LogPosition log, Stamp stamp, std::span<const std::byte> extra);
  /// From now on it is what the directory holds: what the old store is given from here on is lost.
  Status arrive();

 private:
  IncomingStore(std::string path, OpenDirectory directory, const Superblock& superblock,
                const RootRecord& empty);

  const std::string path_;  ///< of the store to be replaced
  OpenDirectory directory_;
  Checkpointer<D> checkpointer_;
  rtree::NodeRef root_;
  std::optional<rtree::NodeHeader> root_header_;
  bool has_arrived_ = false;
};

}  // namespace silurus::replication
