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
#include "server/limits.h"
#include "server/membership.h"

namespace silurus::server {

/// On loopback. The first member of a static group listens where `cluster` says instead.
constexpr const char* kAnyGroupAddress = "tcp://127.0.0.1:0";

/// Of which group a server is a member, and how.
struct GroupOptions {
  std::string cluster;     ///< "etcd://127.0.0.1:2379/name", "static://127.0.0.1:7400/name"
  bool lead = false;       ///< of a static group: as its first member
  bool take_over = false;  ///< ... instead of the one before, which is lost for good
  std::uint32_t shard = 0;
  std::string listen = kAnyGroupAddress;  ///< for other members
  bool allow_other_users = false;         ///< to be members: to listen where they can connect
  std::string multicast;                  ///< "rdma://239.1.2.3:7472"; empty: none
  /// How the log gets to the others; the same at all members.
  replication::group::ReplicationProtocol protocol =
      replication::group::ReplicationProtocol::kMulticast;
  /// What a write needs to be acknowledged, where this member founds the group.
  replication::group::Ack ack = replication::group::Ack::kAll;
  std::string advertise;            ///< what clients are told; empty: where it listens
  Nanoseconds lease = 2 * kSecond;  ///< the same at all members
  transport::WaitPolicy wait = transport::WaitPolicy::kAdaptive;
  /// Told, by the group's thread, that a copy of the group's tree waits in the data directory: the
  /// server is to be started again, and does nothing for the group until then.
  std::function<void()> renew;
};

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
  using Opened = typename Membership<D>::Opened;
  /// Opens the data directory, or makes it. kConflict if it is another group's.
  static Result<Opened> open(const DurabilityOptions& durability, const GroupOptions& group,
                             const replication::TreePlace& place);
  ~ReplicaThread() override {
    stop();
    this->end_copies();  // of one that has never joined, too: they use the driver
  }

  Status join(rtree::Tree<D>& tree, Writer<D>& writer, History<D>& history,
              const std::string& clients) override;
  /// With a last checkpoint.
  void stop() override;
  DurabilityStats stats() const override;

 private:
  using Found = typename Membership<D>::Found;
  ReplicaThread(const DurabilityOptions& durability, const GroupOptions& group,
                replication::group::Agreement agreement, replication::DirectoryLock lock,
                Found& found);
  Status wait_for_views();
  std::unique_ptr<CopyFetch> make_fetch(std::uint64_t tree_bytes);
  void run(std::stop_token stop);
  Status turn();
  void serve_checkpoints();
  Result<std::optional<CheckpointBasis<D>>> ask_for_basis(const std::atomic<bool>& cancel);

  const DurabilityOptions durability_;
  const GroupOptions options_;
  const replication::group::Agreement agreement_;
  replication::DirectoryLock lock_;
  SystemClock clock_;
  std::unique_ptr<replication::group::Driver> driver_;
  std::optional<Error> ended_;  ///< why the group's thread takes no further step
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
