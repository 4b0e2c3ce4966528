// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "replication/group/etcd_view_store.h"
#include "replication/group/log_replicator.h"
#include "replication/group/member.h"
#include "replication/group/protocol.h"
#include "replication/group/static_group.h"
#include "transport/shm/memory.h"
#include "transport/waiter.h"

namespace silurus::replication::group {

/// Where the members of a group agree on its views.
using Agreement = std::variant<EtcdAddress, StaticGroup>;
/// What stores and messages of the cluster are marked with.
std::string cluster_name(const Agreement& agreement);

struct DriverOptions {
  Agreement agreement;
  std::uint32_t shard = 0;
  MemberId id = 0;      ///< the store's member
  std::string listen;   ///< for other members: "tcp://10.0.0.1:7471", "shm:///run/a.sock"
  std::string clients;  ///< what clients are told; may be empty
  std::optional<access::Key> key = {};  ///< LinksOptions::key
  std::string multicast;                ///< "rdma://239.1.2.3:7472"; empty: over connections
  ReplicationProtocol protocol = ReplicationProtocol::kMulticast;
  Ack ack = Ack::kAll;                            ///< for a group that is founded
  std::optional<std::uint32_t> min_members = {};  ///< MemberOptions::min_members
  Timing timing;
  std::size_t window_bytes = std::size_t{16} << 20;
  /// Bytes of the window into which a protocol that writes one-sidedly writes here.
  std::size_t push_bytes = std::size_t{1} << 20;
  transport::WaitPolicy wait = transport::WaitPolicy::kAdaptive;
};

/// A member on real fabrics and the system's clock, with a real etcd or none. One thread, which the
/// owner gives:
///
///   while (!ending) {
///     if (Status done = driver->turn(-1); !done) break;   // the log or the machine failed
///     serve(driver->member());
///   }
class Driver {
 public:
  /// Listens; whether etcd and others are there is found out later. log, machine: must outlive it.
  /// Errors of a static group say what of the log contradicts what of the view that was kept.
  static Result<std::unique_ptr<Driver>> create(const DriverOptions& options, Log& log,
                                                LogPosition applied, Machine& machine);
  Driver(const Driver&) = delete;

  /// Waits until something has happened, the member wants a step, or that time has passed
  /// (negative: no matter how long); then does what there is to do.
  Status turn(Nanoseconds timeout);
  /// Any thread: ends the wait of a turn.
  void wake() { waiter_->wake(); }

  Member& member() { return *member_; }
  /// What members of the group know each other by.
  GroupId group() const;
  Links& links() { return *links_; }
  bool reads_one_sidedly() const {
    return has(fabric_->capabilities(), transport::Capability::kOneSidedRead);
  }
  const LogReplicator& replicator() const { return *replicator_; }

 private:
  explicit Driver(const DriverOptions& options) : options_(options) {}
  Status make_links(Incarnation incarnation);
  Status make_store(Incarnation incarnation, const Log& log);
  Status make_static_store(const StaticGroup& group, Incarnation incarnation, const Log& log);
  Dialer dialer();

  const DriverOptions options_;
  SystemClock clock_;
  std::unique_ptr<transport::Fabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Waiter> waiter_;
  std::optional<transport::shm::SharedSlab> window_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<LogReplicator> replicator_;
  std::unique_ptr<ViewStore> store_;
  std::unique_ptr<Member> member_;
};

}  // namespace silurus::replication::group
