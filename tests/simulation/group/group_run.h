#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/group/faults.h"
#include "tests/simulation/group/group_node.h"
#include "tests/support/linearizability.h"

namespace silurus::simulation {

struct GroupCounters {
  std::uint64_t operations = 0;
  std::uint64_t elections = 0;
  std::uint64_t voted_out = 0;
  std::uint64_t reads = 0;    ///< one-sided, of gaps
  std::uint64_t fetches = 0;  ///< by message
  std::uint64_t truncations = 0;
  std::uint64_t pushed = 0;     ///< one-sidedly
  std::uint64_t forwarded = 0;  ///< along chains
  std::uint64_t crashes = 0;
};

/// A group of three members, with an etcd or led by the first of them always, and clients,
/// through the faults of one seed.
class GroupRun final : public Faults::Victims {
 public:
  explicit GroupRun(std::uint64_t seed, bool is_static = false);
  ~GroupRun();

  /// Protocol of this seed's group.
  group::ReplicationProtocol protocol() const {
    return static_cast<group::ReplicationProtocol>(seed_ % 3);
  }
  group::Ack ack() const { return static_cast<group::Ack>(seed_ / 3 % 3); }
  /// Everything: the first complaint, or nothing.
  std::string run();
  const GroupCounters& counters() const { return counters_; }
  /// What happened, for people.
  std::string trace() const;
  std::uint64_t trace_hash() const { return world_.trace_hash(); }

 private:
  struct Node {
    sim::Host* host;
    group::MemberId id;
    CrashMemory::Content content;
    std::unique_ptr<MemberLife> life;
  };
  /// Does one operation at a time, until it is done, whatever becomes of members.
  struct Client {
    sim::Host* host;
    std::uint64_t number;
    std::uint64_t sequence = 0;
    std::uint64_t attempt = 0;
    std::size_t asks = 0;  ///< which node it asks
    bool busy = false;
    Request request;
    std::size_t operation = 0;                       ///< in the history of its key
    std::vector<std::pair<unsigned, unsigned>> own;  ///< keys and values that it may remove
  };

  bool is_up(std::size_t member) const override { return nodes_[member].life != nullptr; }
  void start(std::size_t member) override;
  void crash(std::size_t member) override;
  void crash_while_writing(std::size_t member) override;
  void set_turn(std::size_t member, Nanoseconds turn) override {
    if (is_up(member)) nodes_[member].life->turn = turn;
  }
  void reap(std::size_t member);
  void collect(const MemberLife& life);
  bool has_converged() const;

  void begin(Client& client);
  void try_once(Client& client);
  void end(Client& client, const Answer& answer);
  std::string check();

  const std::uint64_t seed_;
  sim::World world_;
  Random random_;
  std::unique_ptr<SimEtcd> etcd_;
  std::unique_ptr<GroupWorld> group_;
  std::unique_ptr<Faults> faults_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<MemberLife>> dead_;
  std::vector<Client> clients_;
  std::vector<testing_support::SetHistory> histories_;
  std::vector<unsigned> next_value_;
  bool is_stopping_ = false;
  std::uint64_t lives_begun_ = 0;
  GroupCounters counters_;
};

}  // namespace silurus::simulation
