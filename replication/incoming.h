#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"
#include "replication/checkpoint.h"
#include "replication/data_directory.h"

namespace silurus::replication {

/// A member's store being made anew of another member's tree. The nodes go where a checkpoint would
/// put them as they come; none stays in memory. One thread.
template <int D>
class IncomingStore {
 public:
  /// `volume`: of an empty store, as format_store() makes it.
  static Result<std::unique_ptr<IncomingStore>> create(Volume volume);
  IncomingStore(const IncomingStore&) = delete;
  IncomingStore& operator=(const IncomingStore&) = delete;

  /// The root first, each chunk once. kTooLarge if our tree may not become so large.
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node);
  /// Nothing of it is there yet.
  bool is_untouched() const { return !root_header_; }
  /// All of it is there: makes it durable.
  Status finish(LogPosition log, Stamp stamp, std::span<const std::byte> extra);

 private:
  IncomingStore(Volume volume, const Superblock& superblock, const RootRecord& empty);

  Volume volume_;
  Checkpointer<D> checkpointer_;
  rtree::NodeRef root_;
  std::optional<rtree::NodeHeader> root_header_;
};

/// One in a member's data directory, beside the store that serves, which it replaces when the
/// directory is opened the next time: whole or not at all. One thread at a time. One at a time in a
/// directory.
///
///   auto incoming = IncomingDirectory<2>::create("/data/silurus", options);
///   for (each node) incoming->store().take(ref, node);
///   incoming->store().finish(log, stamp, extra);
///   incoming->arrive();
template <int D>
class IncomingDirectory {
 public:
  /// `options`: of a member, with the id of the store that is to be replaced.
  static Result<std::unique_ptr<IncomingDirectory>> create(const std::string& path,
                                                           const DirectoryOptions& options);
  /// Leaves nothing of what has not arrived.
  ~IncomingDirectory();
  IncomingDirectory(const IncomingDirectory&) = delete;
  IncomingDirectory& operator=(const IncomingDirectory&) = delete;

  IncomingStore<D>& store() { return *store_; }
  /// It is finished: from now on it is what the directory holds, and what the old store is given
  /// from here on is lost.
  Status arrive();

 private:
  IncomingDirectory(const std::string& path, DirectoryLock lock,
                    std::unique_ptr<IncomingStore<D>> store)
      : path_(path), lock_(std::move(lock)), store_(std::move(store)) {}

  const std::string path_;  ///< the store to be replaced
  const DirectoryLock lock_;
  const std::unique_ptr<IncomingStore<D>> store_;
  bool has_arrived_ = false;
};

}  // namespace silurus::replication
