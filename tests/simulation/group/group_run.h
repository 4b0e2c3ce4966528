// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/group/fault_run.h"
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
class GroupRun final : public FaultRun<MemberLife, CrashMemory::Content> {
 public:
  using Counters = GroupCounters;
  explicit GroupRun(std::uint64_t seed, bool is_static = false);
  ~GroupRun();

  /// Everything: the first complaint, or nothing.
  std::string run();
  const GroupCounters& counters() const { return counters_; }

 private:
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

  std::unique_ptr<MemberLife> make_life(Node& node, std::uint64_t seed,
                                        Power::Failure failure) override;
  void on_end(Node& node) override;
  std::string describe(const MemberLife& life) const override;
  std::string describe_clients() const override;
  void collect(const MemberLife& life);
  bool has_converged() const;

  void begin(Client& client);
  void try_once(Client& client);
  void end(Client& client, const Answer& answer);
  std::string check();

  std::vector<Client> clients_;
  std::vector<testing_support::SetHistory> histories_;
  std::vector<unsigned> next_value_;
  bool is_stopping_ = false;
  GroupCounters counters_;
};

}  // namespace silurus::simulation
