// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/group/fault_run.h"
#include "tests/simulation/service/service_client.h"

namespace silurus::simulation {

struct ServiceCounters {
  std::uint64_t operations = 0;
  std::uint64_t in_doubt = 0;
  std::uint64_t failed = 0;
  std::uint64_t any_reads = 0;
  std::uint64_t asked_of_backups = 0;
  std::uint64_t read_from_backups = 0;  ///< one-sided reads among those
  std::uint64_t too_old = 0;            ///< answers of backups
  std::uint64_t offloaded = 0;
  std::uint64_t reconnects = 0;
  std::uint64_t crashes = 0;
  std::uint64_t torn = 0;  ///< crashes in the midst of writing
  std::uint64_t checkpoints = 0;
  std::uint64_t elections = 0;
  replication::StateTransferCounters copies;
  std::uint64_t arrived_by_message = 0;
  std::uint64_t sources_died = 0;  ///< in the midst of being copied
  std::uint64_t copiers_died = 0;
  std::uint64_t loads = 0;          ///< in bulk
  std::uint64_t loads_failed = 0;   ///< tries
  std::uint64_t loads_refused = 0;  ///< loads refused after all entries were sent
  std::uint64_t rival_loads = 0;    ///< runs in which two clients loaded at a time
  std::uint64_t loads_taken = 0;    ///< copies of their nodes
  std::uint64_t load_sources_died = 0;
  std::uint64_t load_copiers_died = 0;
};

/// Three servers that ship, as the members of a group, an etcd, and clients that ship, through the
/// faults of one seed.
class ServiceRun final : public FaultRun<ServerLife, ServerDisk> {
 public:
  using Counters = ServiceCounters;
  explicit ServiceRun(std::uint64_t seed);
  ~ServiceRun();

  /// Everything: the first complaint, or nothing.
  std::string run();
  const ServiceCounters& counters() const { return counters_; }

 private:
  void draw_copies();
  void add_clients();
  ClientOptions draw_client();
  std::unique_ptr<ServerLife> make_life(Node& node, std::uint64_t seed,
                                        Power::Failure failure) override;
  void on_end(Node& node) override;
  void crash_while_writing(std::size_t member) override;
  std::string describe(const ServerLife& life) const override;
  std::string describe_clients() const override;
  std::size_t place_of(const sim::Host& host) const;
  void collect(const ServerLife& life);
  bool has_converged() const;
  std::string check();

  std::unique_ptr<Service> service_;
  Ledger ledger_;
  std::vector<std::unique_ptr<ServiceClient>> clients_;
  ServiceCounters counters_;
};

}  // namespace silurus::simulation
