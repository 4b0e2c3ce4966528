// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/group/log_replicator.h"
#include "replication/group/member.h"
#include "replication/group/protocol.h"
#include "rtree/node_ref.h"
#include "rtree/tree.h"
#include "tests/simulation/group/honest_replicator.h"
#include "tests/simulation/group/sim_view_store.h"
#include "transport/sim/fabric.h"

namespace silurus::simulation {

using replication::LogPosition;
using replication::Lsn;

constexpr group::GroupId kTestGroup = 0x6702;
/// Times of a group whose members notice soon what happens.
inline constexpr group::Timing kQuick = {.lease = 40 * kMillisecond,
                                         .heartbeat = 2 * kMillisecond,
                                         .silence = 15 * kMillisecond,
                                         .slowness = 20 * kMillisecond,
                                         .poll = 8 * kMillisecond,
                                         .candidacy = 4 * kMillisecond};

/// What every member has at the end of a batch.
struct Applied {
  std::uint64_t chain;
  rtree::Version version;
  friend bool operator==(const Applied&, const Applied&) = default;
};

/// Where a member listens for others.
std::string address_of(const sim::Host& host);

class SimDriver;

/// Views of a static group: who leads it, and what members keep of its views, crashes or not.
struct StaticViews {
  group::MemberId first = 1;
  std::string keeper = "sim://member1:7";
  bool takes_over = false;
  std::map<group::MemberId, std::string> kept = {};
};

/// What all members of one run have in common: what must hold of them together.
struct GroupWorld {
  sim::World& world;
  SimEtcd& etcd;
  group::Timing timing;
  sim::FabricOptions fabric;
  group::ReplicationProtocol protocol = group::ReplicationProtocol::kMulticast;
  std::size_t push_bytes = std::size_t{64} << 10;
  group::Ack ack = group::Ack::kAll;
  bool offers_copies = false;
  std::size_t window_bytes = std::size_t{8}
                             << 10;    ///< newest part of the log, that others read one-sidedly
  unsigned number = 0;                 ///< number of this group, if there are several in one world
  std::map<Lsn, Applied> agreed = {};  ///< at the ends of batches
  std::map<Lsn, Nanoseconds> first_applied = {};  ///< when any member had applied all before it
  std::vector<std::string> complaints = {};
  std::vector<std::string> trace = {};
  std::vector<const SimDriver*> drivers = {};     ///< all lives that have not been destroyed
  std::optional<StaticViews> static_views = {};   ///< else views are agreed on in etcd
  std::uint32_t slice = rtree::kSliceOfWork;      ///< work on writes in one turn
  std::optional<std::uint32_t> min_members = {};  ///< as all members are told
  group::GroupId id() const { return kTestGroup + number; }
  void note(const std::string& what);
  void complain(std::string what) { complaints.push_back(std::move(what)); }
  /// A member has applied a batch that ends there.
  void applied(LogPosition end, rtree::Version version);
  /// The primary of that view answers for all writes before `end`.
  void acknowledged(Lsn end, const group::View& view);
};

/// What group::Driver is with real fabrics, and a real etcd or none, on a simulated host: one life
/// of a member. Looks after each step whether what must hold of all members does.
class SimDriver {
 public:
  struct Options {
    group::MemberId id;
    std::uint64_t seed;        ///< seed of this life
    std::string clients = {};  ///< what they are told
  };
  /// `wake` has turn() called soon. All that is given must outlive it.
  SimDriver(GroupWorld& world, sim::Host& host, const Options& options, replication::Log& log,
            LogPosition applied, group::Machine& machine, std::function<void()> wake);
  ~SimDriver();
  SimDriver(const SimDriver&) = delete;

  /// What there is to do.
  Status turn();
  transport::Poller& poller() { return *poller_; }
  sim::SimFabric& fabric() { return fabric_; }
  group::Member& member() { return *member_; }
  const group::Member& member() const { return *member_; }
  const group::LogReplicator& replicator() const { return *replicator_; }
  const group::Links& links() const { return *links_; }
  group::Links& links() { return *links_; }
  sim::Host& host() const { return host_; }
  group::MemberId id() const { return id_; }
  /// What this life has made durable.
  Lsn durable() const { return log_.durable(); }
  /// Whether the host has not crashed since.
  bool works() const { return host_.alive() && host_.incarnation() == incarnation_; }

 private:
  void make_links(const Options& options);
  void make_store(const Options& options, std::function<void()> wake);
  group::Dialer dialer();
  void look();
  void compare(const SimDriver& other) const;
  void check_staleness();

  GroupWorld& world_;
  sim::Host& host_;
  const group::MemberId id_;
  const std::uint32_t incarnation_;
  replication::Log& log_;
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::vector<std::byte> window_;
  std::unique_ptr<group::Links> links_;
  std::unique_ptr<group::ViewStore> store_;
  std::unique_ptr<group::LogReplicator> replicator_;
  std::unique_ptr<HonestReplicator> honest_;  ///< that the member speaks through
  std::unique_ptr<group::Member> member_;
  group::Role last_role_ = group::Role::kOutside;
};

}  // namespace silurus::simulation
