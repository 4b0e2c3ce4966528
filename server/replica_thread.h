// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "common/result.h"
#include "replication/group/driver.h"
#include "server/durability.h"
#include "server/group_options.h"
#include "server/limits.h"
#include "server/membership.h"

namespace silurus::server {

/// Where the group agrees on its views. `data`: the member's data directory. kInvalidArgument names
/// the option that is wrong.
Result<replication::group::Agreement> agreement_of(const GroupOptions& group,
                                                   const std::string& data);
/// What all of a group's times follow from.
replication::group::Timing timing_of(Nanoseconds lease);

/// A server's part in a group with a thread, a data directory, a real etcd or none, and real
/// fabrics: the
/// thread has the log, the group's driver and the batches.
template <int D>
class ReplicaThread final : public Membership<D> {
 public:
  using Opened = OpenedMembership<D>;
  /// Opens the data directory, or makes it. kConflict if it is another group's.
  static Result<Opened> open(const DurabilityOptions& durability, const GroupOptions& group,
                             const replication::TreePlace& place);
  ~ReplicaThread() override {
    stop();
    this->end_copies();  // also if it has never joined: they use the driver
  }

  using Joined = typename Membership<D>::Joined;
  Status join(const Joined& joined, const std::string& clients) override;
  /// With a last checkpoint.
  void stop() override;

 private:
  DurabilityStats stats() const override;
  void wake() override {
    if (driver_ != nullptr) driver_->wake();
  }
  using Found = typename Membership<D>::Found;
  ReplicaThread(const DurabilityOptions& durability, const GroupOptions& group,
                replication::group::Agreement agreement, std::optional<access::Key> key,
                replication::DirectoryLock lock, Found& found);
  Status wait_for_views();
  void run(std::stop_token stop);
  Status take_turn();
  void serve_checkpoints();
  Result<std::optional<CheckpointBasis<D>>> ask_for_basis(std::stop_token stop);

  const DurabilityOptions durability_;
  const GroupOptions options_;
  const replication::group::Agreement agreement_;
  const std::optional<access::Key> key_;  ///< key of the cluster
  replication::DirectoryLock lock_;
  SystemClock clock_;
  std::unique_ptr<replication::group::Driver> driver_;
  std::optional<Error> ended_;  ///< why the group's thread takes no further step
  std::unique_ptr<Checkpoints<D>> checkpoints_;

  // A checkpoint's basis is of one moment of the group's thread: the background thread asks it.
  std::mutex basis_mutex_;
  std::condition_variable_any basis_ready_;
  std::atomic<bool> basis_wanted_{false};
  bool basis_given_ = false;
  std::optional<CheckpointBasis<D>> basis_;

  std::atomic<bool> is_running_{false};  ///< the group's thread
  std::jthread thread_;
};

}  // namespace silurus::server
