// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/core.h"
#include "tests/simulation/service/server_life.h"
#include "tests/support/linearizability.h"

namespace silurus::simulation {

/// What clients asked for and were told: a history for each column.
struct Ledger {
  std::vector<testing_support::SetHistory> histories =
      std::vector<testing_support::SetHistory>(kColumns);
  unsigned next_value[kColumns] = {};
  /// Operations that a column may have so far.
  std::size_t room = 0;
};

struct ServiceClientCounters {
  std::uint64_t operations = 0;
  std::uint64_t in_doubt = 0;
  std::uint64_t failed = 0;     ///< operations known to have done nothing
  std::uint64_t any_reads = 0;  ///< searches that any member may answer
  std::uint64_t loads = 0;      ///< in bulk, done
  std::uint64_t loads_failed = 0;
  std::uint64_t loads_refused = 0;  ///< loads known to have done nothing, as they were told
  ClientStatistics statistics;
};

/// A client that ships, on a simulated host, which asks and writes until it is stopped, and looks
/// at each answer: whether it is of a version that was published, and of all of it, and no staler
/// than was asked for. What must be linearizable goes into the ledger.
class ServiceClient final : private client::Network {
 public:
  struct Options {
    ClientOptions client;
    bool knows_members = true;  ///< or finds them in etcd
    std::size_t in_flight = 1;
    Nanoseconds longest_rest = 12 * kMillisecond;  ///< between two operations
  };
  ServiceClient(Service& service, Ledger& ledger, sim::Host& host,
                const std::vector<std::string>& urls, const Options& options);
  ~ServiceClient();

  /// Begins that many more operations, no others, and rests no longer.
  void finish_with(std::size_t operations);
  /// Begins a bulk load at that time of its clock, or soon after: load number `which` of kLoads.
  void plan_load(Nanoseconds at, unsigned which);
  /// What a history says of a column in which that was found.
  static std::uint64_t for_history(std::uint64_t found);
  bool is_idle() const { return under_way_ == 0 && (!last_ || *last_ == 0); }
  ServiceClientCounters counters() const;
  /// All that it searches.
  bool reads_one_sidedly() const { return options_.client.mode == Mode::kOffload; }
  /// For people.
  std::string to_string() const;
  sim::Host& host() { return host_; }

 private:
  class EtcdOfMembers;
  enum class LoadStep : std::uint8_t { kNone, kPlanned, kBegun, kStaged };
  /// As it was when a search began.
  struct Before {
    rtree::Version newest;  ///< newest version in any answer
    Nanoseconds called;     ///< the world's time
  };

  Result<Route> route_to(const transport::Address&) override {
    return Route{&fabric_, poller_.get()};
  }
  void connect();
  void step(sim::Process& process);
  void begin();
  std::optional<unsigned> choose_column();
  void read(unsigned column);
  void add(unsigned column);
  void remove();
  void write(const protocol::Operation<2>& operation, unsigned column, unsigned value,
             testing_support::SetOperation::Kind kind);
  void end_read(unsigned column, std::size_t operation, const Before& before,
                const Result<RangeAnswer<2>*>& answer);
  void end_write(unsigned column, std::size_t operation, const Result<WriteAnswer*>& answer);
  /// Looks at an answer to a search of that column; what it found.
  std::uint64_t check(unsigned column, const Before& before, const RangeAnswer<2>& answer);
  void check_end(Nanoseconds called);
  void work_on_load();
  void fail_load(const Error& error);
  void end_load();
  /// Forgets an operation that did nothing, so that it is not looked for.
  void forget(unsigned column, std::size_t operation);
  testing_support::SetOperation& entry(unsigned column, std::size_t operation) {
    return ledger_.histories[column].operations[operation];
  }
  void complain(const std::string& what) { service_.group.complain(host_.name() + ": " + what); }
  bool reads_any() const { return options_.client.read.from == ReadFrom::kAny; }

  Service& service_;
  Ledger& ledger_;
  sim::Host& host_;
  const Options options_;
  Random random_;
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  const std::vector<std::string> urls_;
  std::unique_ptr<client::ClientCore<2>> group_;
  std::unique_ptr<sim::Process> process_;
  std::size_t under_way_ = 0;
  Nanoseconds next_ = 0;                            ///< when the next one begins
  std::optional<std::size_t> last_;                 ///< operations that it begins still
  rtree::Version newest_ = 0;                       ///< newest version in any answer so far
  std::vector<std::pair<unsigned, unsigned>> own_;  ///< columns and values that it may remove
  ServiceClientCounters counters_;

  LoadStep load_ = LoadStep::kNone;
  bool load_waits_ = false;  ///< for an answer
  Nanoseconds load_at_ = 0;
  unsigned load_tries_ = 0;
  unsigned load_value_ = 0;     ///< that stands for the load in the histories
  bool may_be_loaded_ = false;  ///< by a try of which it is not known what came of it
  std::vector<rtree::Entry<2>> loaded_;
  std::vector<std::size_t> load_operations_;  ///< for each column
};

}  // namespace silurus::simulation
