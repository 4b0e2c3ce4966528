// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/result.h"
#include "replication/checkpoint.h"
#include "replication/data_directory.h"
#include "replication/state_transfer/receiver.h"

namespace silurus::replication {

/// Where a member has room for a second store, which is to take the place of the one that serves.
class IncomingPlace {
 public:
  /// Leaves nothing of what has not arrived.
  virtual ~IncomingPlace() = default;
  /// Makes an empty store, as format_store() does. One that was made before, and is not used any
  /// more, is gone.
  virtual Result<Volume> make() = 0;
  /// From now on that store is the one that the member's next life finds, and what the old store is
  /// given from here on is lost. After an error it may be that, or not.
  virtual Status arrive() = 0;
};

/// A place in a member's data directory: whole or not at all, the store in it replaces the one that
/// serves when the directory is opened the next time. One thread at a time. One at a time in a
/// directory.
template <int D>
class IncomingDirectory final : public IncomingPlace {
 public:
  /// `options`: those of a member, with the id of the store that is to be replaced.
  IncomingDirectory(std::string path, DirectoryOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}
  ~IncomingDirectory() override;

  Result<Volume> make() override;
  Status arrive() override;

 private:
  const std::string path_;  ///< data directory of the store to be replaced
  const DirectoryOptions options_;
  std::optional<DirectoryLock> lock_;  ///< nothing: none was made
  bool has_arrived_ = false;
};

/// A member's store being made anew from another member's tree. The nodes go where a checkpoint
/// would put them as they come; none stays in memory.
///
///   IncomingStore<2> sink(std::make_unique<IncomingDirectory<2>>("/data/silurus", options));
///   receive_tree(fabric, source, {.group = group}, sink);
///   sink.arrive();
template <int D>
class IncomingStore final : public StateSink<D> {
 public:
  explicit IncomingStore(std::unique_ptr<IncomingPlace> place);
  ~IncomingStore() override;

  Status begin() override;
  /// kTooLarge if our tree may not become so large.
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node) override;
  Status finish(const TreeFacts& facts) override;
  /// See IncomingPlace::arrive(). It is finished; the thread of the transfer has ended.
  Status arrive() { return place_->arrive(); }

 private:
  struct Draft;
  const std::unique_ptr<IncomingPlace> place_;
  std::unique_ptr<Draft> draft_;
};

}  // namespace silurus::replication
