// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/result.h"
#include "protocol/decode.h"
#include "rtree/geometry.h"
#include "rtree/tree.h"
#include "server/job_list.h"
#include "server/served_collections.h"

namespace silurus::server {

/// The server's one place for a bulk load: the session that has it may stage entries, and others
/// neither load nor write meanwhile. Any thread.
class LoadSlot {
 public:
  /// `staging_bytes`: limit of what may be staged.
  explicit LoadSlot(std::uint64_t staging_bytes) : staging_limit_bytes_(staging_bytes) {}

  bool try_take() { return !taken_.exchange(true, std::memory_order_acq_rel); }
  void give_back() {
    staged_bytes_.store(0, std::memory_order_relaxed);
    taken_.store(false, std::memory_order_release);  // pairs with try_take() of the next owner
  }
  bool taken() const { return taken_.load(std::memory_order_acquire); }
  std::uint64_t staging_limit_bytes() const { return staging_limit_bytes_; }
  std::uint64_t staged_bytes() const { return staged_bytes_.load(std::memory_order_relaxed); }
  void set_staged_bytes(std::uint64_t bytes) {
    staged_bytes_.store(bytes, std::memory_order_relaxed);
  }

 private:
  const std::uint64_t staging_limit_bytes_;
  std::atomic<bool> taken_{false};
  std::atomic<std::uint64_t> staged_bytes_{0};
};

/// What is said of writes while a bulk load is under way.
Error load_is_under_way();
/// The error, with what to do about it if it is a tree that does not fit its memory.
Error with_remedy(Error error);

/// A bulk load under way: holds the slot from begin() until it is destroyed, and the entries staged
/// so far. Belongs to one session, then to the task that builds.
template <int D>
class Load {
 public:
  /// kConflict if another load is under way.
  static Result<std::unique_ptr<Load>> begin(LoadSlot& slot);
  ~Load() { slot_.give_back(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  /// Stages the entries of one message, of degrees or not, or none of them: a bad box
  /// (kInvalidArgument, named by its place), or no room (kOutOfMemory).
  Status stage(const protocol::Array<rtree::Entry<D>>& entries, bool lonlat = false);
  std::uint64_t count() const { return count_; }
  /// All entries, in order; leaves none here.
  std::vector<rtree::Entry<D>> take_entries();

 private:
  explicit Load(LoadSlot& slot) : slot_(slot) {}

  LoadSlot& slot_;
  std::uint64_t count_ = 0;
  // In pieces, so that growing never copies what is there (the worker has other clients).
  std::vector<std::vector<rtree::Entry<D>>> pieces_;
};

/// A build on its way through the executor and back to its worker.
template <int D>
struct LoadJob {
  LoadJob* next = nullptr;
  JobOwner<LoadJob>* owner = nullptr;  ///< the worker, to which it is given back
  std::uint64_t session = 0;
  std::uint32_t request_id = 0;
  std::uint64_t fencing_token = 0;  ///< the connection's (AdmissionControl)
  /// Who asked for what, for the log, which also tells the outcome; empty: the log does not tell.
  std::string audit = {};
  CollectionPtr<D> collection = nullptr;  ///< into which; null: the default one
  std::unique_ptr<Load<D>> load;
  rtree::BulkLoadOptions options;
  // The outcome.
  Result<rtree::Version> version{0};
  std::uint64_t entries = 0;
};

}  // namespace silurus::server
