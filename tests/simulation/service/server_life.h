// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "replication/state_transfer/state_transfer.h"
#include "replication/store.h"
#include "server/membership.h"
#include "tests/simulation/group/sim_driver.h"
#include "tests/simulation/service/sim_server.h"
#include "tests/support/crash_memory.h"

namespace silurus::simulation {

using testing_support::CrashMemory;
using testing_support::Power;

/// Keys are columns of the plane; a value of a key is an entry in its column, at most one.
constexpr unsigned kColumns = 4;
constexpr unsigned kColumnValues = 64;
rtree::Entry<2> entry_of(unsigned column, unsigned value);
/// Values from this one on are those of bulk loads: those of one load come at once, and stay.
constexpr unsigned kFirstLoaded = 52;
/// Loads that may compete: the tree has to be empty, so that one of them is in it at most.
constexpr unsigned kLoads = 2;
constexpr unsigned kValuesOfLoad = (kColumnValues - kFirstLoaded) / kLoads;
rtree::Box<2> window_of(unsigned column);
/// A bit for each value of the column that a search of its window has found; a complaint if any was
/// found twice or is of another column.
std::uint64_t values_of(unsigned column, const std::vector<std::uint64_t>& ids,
                        std::vector<std::string>& complaints);

/// What was published, by any member: the content of each version and since when it is not
/// the newest any more.
class Published {
 public:
  using Content = std::array<std::uint64_t, kColumns>;

  /// A member shows this version; false if another has shown a different one of that number.
  bool show(rtree::Version version, const Content& content, Nanoseconds now);
  /// Nothing if no member has shown it.
  const Content* find(rtree::Version version) const;
  /// When a newer one was first shown; INT64_MAX: there is none.
  Nanoseconds superseded(rtree::Version version) const;
  /// Whether all values of one of these bulk loads are there and no value of another, or none at
  /// all.
  static bool holds_one_or_none(const Content& content, const std::vector<Content>& loads);
  rtree::Version newest() const { return versions_.empty() ? 0 : versions_.rbegin()->first; }

 private:
  struct One {
    Content content;
    Nanoseconds first;  ///< when it, or a newer one, was shown
  };
  std::map<rtree::Version, One> versions_;
};

/// What a server leaves to its next life: the store that it serves from and, beside it, a copy of
/// another member's that may be on its way there or have taken its place.
class ServerDisk {
 public:
  ServerDisk();
  /// The store that counts.
  replication::Volume open(Power& power, const std::string& name);
  /// The other one, made anew and empty, for the same member.
  Result<replication::Volume> make_other(Power& power, const std::string& name, group::MemberId id);
  /// From now on the other one counts, as if it were renamed.
  Status switch_to_other(Power& power);
  /// However its life ended.
  void end_life(const Power& power);

 private:
  struct Files {
    void wipe();
    replication::Volume open(Power& power, const std::string& name);
    CrashMemory::Content super, log, nodes[2], extras[2];
  };
  std::uint64_t current() const;

  Files stores_[2];
  CrashMemory::Content name_;  ///< a word: which of them counts
};

class ServerLife;

/// What all servers of one run have in common.
struct Service {
  GroupWorld& group;
  Published published;
  sim::FabricOptions fabric;  ///< that clients come by
  std::size_t workers = 2;
  Nanoseconds grace = 5 * kMillisecond;
  Nanoseconds heartbeat = kMillisecond;
  /// Bytes of the log that are kept behind a checkpoint, of which there is one whenever that many
  /// were written; 0: as many as ships.
  std::uint64_t kept_log = 0;
  replication::StateTransferOptions copies = {.patience = 60 * kMillisecond,
                                              .pause = 10 * kMillisecond,
                                              .longest_pause = 80 * kMillisecond};
  Nanoseconds node_time = 0;  ///< that a disk takes for a node of a copy
  /// Called when a member begins to copy the tree of another one.
  std::function<void(const sim::Host& copier, const sim::Host& source)> on_copy =
      [](const sim::Host&, const sim::Host&) {};
  /// Called when a copy has arrived: the member does no more, and must be started again. Needed
  /// where a member may copy another one's tree.
  std::function<void(const sim::Host& member)> on_arrival = {};
  std::uint64_t sources_died = 0;              ///< in the midst of being copied
  std::uint64_t load_sources_died = 0;         ///< the same of a bulk load
  std::vector<Published::Content> loads = {};  ///< what clients load in bulk, and none removes
  unsigned loading = 0;  ///< clients about to load in bulk, for which the tree must be empty
  std::vector<const ServerLife*> lives = {};  ///< that have not been destroyed
};

/// One life of a server that is the member of a group: what ships (sessions, workers, writer,
/// replica, store with log and checkpoints, member, replicator, copies both ways), but for threads
/// and files, on a simulated host. The group's turns, each worker's and a copy under way are
/// processes of their own.
class ServerLife {
 public:
  ServerLife(Service& service, sim::Host& host, group::MemberId id, ServerDisk& disk,
             std::uint64_t seed, Power::Failure failure);
  ~ServerLife();

  Power& power() { return power_; }
  const SimDriver& driver() const;
  const group::Member& member() const { return driver().member(); }
  const server::Core<2>& core() const { return server_->core(); }
  const server::MemberStatus& member_status() const { return *core().shard().member_status(); }
  rtree::Snapshot<2> snapshot() const { return server_->snapshot(); }
  std::uint64_t checkpoints() const;
  const replication::StateTransfer<2>& copies() const;
  const server::LoadTaker<2>& load_taker() const;
  sim::Host& host() { return host_; }
  /// CPU time of each turn of the group's process.
  Nanoseconds turn = kMicrosecond;

 private:
  class Place;
  class Fetch;
  class Part;

  Service& service_;
  sim::Host& host_;
  Power power_;
  Part* part_ = nullptr;  ///< the server's
  std::unique_ptr<SimServer> server_;
};

}  // namespace silurus::simulation
