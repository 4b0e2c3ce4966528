#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/result.h"
#include "replication/group/driver.h"
#include "server/durability.h"
#include "server/replica.h"

namespace silurus::server {

/// Of which group a server is a member, and how.
struct GroupOptions {
  std::string cluster;  ///< "etcd://127.0.0.1:2379/name"
  std::uint32_t shard = 0;
  std::string listen = "tcp://127.0.0.1:0";  ///< for other members
  bool allow_other_users = false;            ///< to be members: to listen where they can connect
  std::string multicast;                     ///< "rdma://239.1.2.3:7472"; empty: none
  /// How the log gets to the others; the same at all members.
  replication::group::ReplicationProtocol protocol =
      replication::group::ReplicationProtocol::kMulticast;
  /// What a write needs to be acknowledged, where this member founds the group.
  replication::group::Ack ack = replication::group::Ack::kAll;
  std::string advertise;            ///< what clients are told; empty: where it listens
  Nanoseconds lease = 2 * kSecond;  ///< the same at all members
  transport::WaitPolicy wait = transport::WaitPolicy::kAdaptive;
};

/// What all of a group's times follow from.
replication::group::Timing timing_of(Nanoseconds lease);

/// A server as the member of a group: its store, and the thread that has the log, the group's
/// driver and the batches. Owned by the shard; any thread may call what is not said to be of
/// set-up.
template <int D>
class ReplicaThread {
 public:
  struct Opened {
    std::unique_ptr<ReplicaThread> replica;
    std::unique_ptr<rtree::Tree<D>> tree;
  };
  /// Opens the data directory, or makes it. kConflict if it is another group's.
  static Result<Opened> open(const DurabilityOptions& durability, const GroupOptions& group,
                             const replication::TreePlace& place);
  ~ReplicaThread() { stop(); }
  ReplicaThread(const ReplicaThread&) = delete;
  ReplicaThread& operator=(const ReplicaThread&) = delete;

  // --- set-up
  /// Takes part in the group from now on. `clients`: where this server listens, as clients are to
  /// be told. All that is given must outlive it. kUnavailable if etcd does not answer.
  Status join(rtree::Tree<D>& tree, Writer<D>& writer, History<D>& history,
              const std::string& clients);
  /// Leaves without a word, with a last checkpoint. No worker is running; jobs come back once more.
  void stop();

  // --- any thread
  const Standing& standing() const { return *standing_; }
  DurabilityStats stats() const;
  std::uint64_t batches() const { return replica_ != nullptr ? replica_->batches() : 0; }
  replication::Stamp stamp() const { return stamp_.load(std::memory_order_relaxed); }

 private:
  ReplicaThread(const DurabilityOptions& durability, const GroupOptions& group,
                replication::group::EtcdAddress etcd, replication::DirectoryLock lock);
  Status wait_for_etcd();
  void run(std::stop_token stop);
  Status turn();
  void serve_checkpoints();
  Result<std::optional<CheckpointBasis<D>>> ask_for_basis(const std::atomic<bool>& cancel);

  const DurabilityOptions durability_;
  const GroupOptions options_;
  const replication::group::EtcdAddress etcd_;
  replication::DirectoryLock lock_;
  SystemClock clock_;
  std::unique_ptr<replication::Store<D>> store_;
  replication::RecoveryReport recovery_;
  std::uint64_t id_ = 0;
  replication::LogPosition applied_;
  std::optional<replication::group::RequestTable> requests_;  ///< until join()
  std::atomic<replication::Stamp> stamp_{0};
  std::atomic<std::uint64_t> log_end_{0};
  std::unique_ptr<Standing> standing_;
  std::unique_ptr<Replica<D>> replica_;
  std::unique_ptr<replication::group::Driver> driver_;
  std::unique_ptr<Checkpoints<D>> checkpoints_;

  // A checkpoint's basis is of one moment of the group's thread: the background thread asks it.
  std::mutex basis_mutex_;
  std::condition_variable basis_ready_;
  std::atomic<bool> basis_wanted_{false};
  bool basis_given_ = false;
  std::optional<CheckpointBasis<D>> basis_;

  std::atomic<bool> is_running_{false};  ///< the group's thread
  std::jthread thread_;
};

}  // namespace silurus::server
