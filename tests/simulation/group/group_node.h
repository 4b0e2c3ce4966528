// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "replication/group/tree_machine.h"
#include "replication/state_transfer/source.h"
#include "tests/simulation/group/sim_driver.h"
#include "tests/support/crash_memory.h"
#include "tests/support/received_tree.h"

namespace silurus::simulation {

using testing_support::CrashMemory;
using testing_support::Power;

/// Keys are columns of the plane; a value of a key is an entry in its column.
constexpr unsigned kKeys = 4;
constexpr unsigned kValues = 64;

/// What a client asks of a member.
struct Request {
  enum class Kind : std::uint8_t { kAdd, kRemove, kRead };
  Kind kind = Kind::kRead;
  unsigned key = 0;
  unsigned value = 0;
  std::uint64_t client = 0;
  std::uint64_t sequence = 0;  ///< sequence of a write
};
struct Answer {
  bool done = false;            ///< else: not here, or not now
  std::uint64_t found = 0;      ///< kRead: a bit for each value
  group::MemberId primary = 0;  ///< whom else to ask
};
using OnAnswer = std::function<void(const Answer&)>;

/// The tree that a member's log is the log of.
class TreeMachine final : public group::Machine {
 public:
  /// Empty, or a copy of another member's.
  TreeMachine(GroupWorld& world, const Clock& clock, const testing_support::ReceivedTree<2>* copy);
  ~TreeMachine() override;
  Result<LogPosition> apply(const replication::Log& log, LogPosition from, Lsn commit) override;
  bool has_more() const override { return machine_->has_more(); }
  replication::Stamp stamp() const override { return machine_->stamp(); }
  /// A bit for each value of the key.
  std::uint64_t values(unsigned key) const;
  const group::MachineState& state() const { return machine_->state(); }
  const group::RequestTable& requests() const { return machine_->requests(); }
  rtree::Snapshot<2> snapshot() const { return tree_->snapshot(); }
  /// The memory of the tree: all that it will need here.
  std::span<std::byte> slab() const;

 private:
  class Slabs;
  GroupWorld& world_;
  std::unique_ptr<Slabs> slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::unique_ptr<group::TreeMachine<2>> machine_;
};

/// One life of a member: what ships, but for the tree and its server, on a simulated host.
class MemberLife {
 public:
  MemberLife(GroupWorld& world, sim::Host& host, group::MemberId id, CrashMemory::Content& content,
             std::uint64_t seed, Power::Failure failure,
             const testing_support::ReceivedTree<2>* copy = nullptr);

  void ask(const Request& request, OnAnswer answer);
  const group::Member& member() const { return driver_->member(); }
  group::Member& member() { return driver_->member(); }
  const TreeMachine& machine() const { return machine_; }
  const group::LogReplicator& replicator() const { return driver_->replicator(); }
  const group::Links& links() const { return driver_->links(); }
  const replication::Log& log() const { return *log_; }
  /// Forgets the log up to where the tree is, as after a checkpoint.
  void trim() { log_->trim(member().applied()); }
  const replication::TransferSource<2>& copies() const { return *copies_; }
  sim::Host& host() { return host_; }
  Power& power() { return power_; }
  /// CPU time of each of its turns.
  Nanoseconds turn = kMicrosecond;

 private:
  struct Asked {
    Request request;
    OnAnswer answer;
  };
  void step(sim::Process& process);
  void serve();
  void write(Asked asked);
  void answer_applied();
  void offer_copies();

  GroupWorld& world_;
  sim::Host& host_;
  Power power_;
  std::unique_ptr<replication::Log> log_;
  TreeMachine machine_;
  std::unique_ptr<SimDriver> driver_;
  std::unique_ptr<replication::TransferSource<2>> copies_;
  std::unique_ptr<sim::Process> process_;
  std::deque<Asked> queue_;
  bool has_written_ = false;                       ///< batches that the member has not been told of
  std::multimap<Lsn, Asked> waiting_;              ///< writes by the end of their batch
  std::map<std::uint64_t, std::uint64_t> logged_;  ///< the sequence of each client's newest write
};

}  // namespace silurus::simulation
