// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "silurus/router.h"
#include "tests/simulation/service/service_client.h"
#include "tests/simulation/shards/sim_environment.h"

namespace silurus::simulation {

/// What all clients and coordinators of one run have in common.
struct ShardWorld {
  GroupWorld& everyone;  ///< what is noted and complained of
  EtcdOfShards& etcd;
  sim::FabricOptions fabric;
  Ledger ledger = {};
};

struct RouterCounters {
  std::uint64_t operations = 0;
  std::uint64_t in_doubt = 0;
  std::uint64_t failed = 0;  ///< operations known to have done nothing
  std::uint64_t nearest = 0;
  std::uint64_t counts = 0;
  std::uint64_t visits = 0;
};

/// A router that ships, in a thread of a simulated host, which asks and writes until it is stopped.
/// What it was told goes into the ledger. If its host crashes, what it was about is in doubt.
class RouterClient {
 public:
  struct Options {
    ClientOptions client;
    Nanoseconds longest_rest = 12 * kMillisecond;  ///< between two operations
    /// Else it sends nothing that tells it of a server's end, if it reads one-sidedly.
    bool writes = true;
  };
  RouterClient(ShardWorld& shards, sim::Host& host, const Options& options);

  /// Goes on until that many more operations were good, without rests, and then reads everything.
  void finish_with(std::size_t operations) { last_ = operations; }
  bool is_finished() const { return is_finished_; }
  const RouterCounters& counters() const { return counters_; }
  sim::Host& host() { return host_; }
  /// Ends the thread; for a host that has crashed.
  void end() { thread_->end(); }
  /// For people.
  std::string to_string() const;

 private:
  using Operation = testing_support::SetOperation;

  void run(sim::Thread& self);
  void operate(Router<2>& router);
  std::optional<unsigned> choose_column();
  void read(Router<2>& router, unsigned column);
  void nearest(Router<2>& router, unsigned column);
  void count(Router<2>& router, unsigned column);
  void add(Router<2>& router, unsigned column);
  void remove(Router<2>& router);
  void read_everything(Router<2>& router);
  /// Writes down that it begins; its place in the ledger.
  std::size_t begin(unsigned column, Operation::Kind kind, unsigned value = 0);
  void end_write(unsigned column, std::size_t operation, const Result<Version>& answer);
  /// Forgets an operation that did nothing, so that it is not looked for.
  void forget(unsigned column, std::size_t operation, const Error& why);
  void expect_fault(const Error& why);
  Operation& entry(unsigned column, std::size_t operation) {
    return shards_.ledger.histories[column].operations[operation];
  }
  bool has_room(unsigned column) const {
    return shards_.ledger.histories[column].operations.size() < shards_.ledger.room;
  }
  Nanoseconds now() const { return shards_.everyone.world.now(); }
  void complain(const std::string& what) { shards_.everyone.complain(host_.name() + ": " + what); }

  ShardWorld& shards_;
  sim::Host& host_;
  const Options options_;
  Random random_;
  sim::Thread* self_ = nullptr;  ///< while it runs
  std::optional<std::size_t> last_;
  bool is_finished_ = false;
  std::string doing_ = "nothing";                   ///< for people
  std::vector<std::pair<unsigned, unsigned>> own_;  ///< columns and values that it may remove
  RouterCounters counters_;
  std::unique_ptr<sim::Thread> thread_;  ///< ends before all that it uses
};

}  // namespace silurus::simulation
