// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"
#include "datasets/windows.h"
#include "silurus/client.h"

namespace silurus::bench {

/// How searches reach the server, and where it is.
struct Way {
  std::string name;  ///< in rows: "offload"
  std::string url;
  ClientOptions client = {};
};

/// All ways there are: tcp (sleeping between messages), tcp-spin, messaging, offload, and the
/// adaptive ones, catfish and adaptive (by cost). `tcp_sleeping` is a server that sleeps too.
std::vector<Way> all_ways(const std::string& server, const std::string& tcp,
                          const std::string& tcp_sleeping);

/// What is asked, and by how many clients at once.
struct Workload {
  datasets::WindowOptions<2> windows = {};
  ResultShape shape = ResultShape::kIds;
  double insert_share = 0;  ///< share of operations; the others are range searches
  unsigned clients = 1;     ///< each with one operation in flight
};

/// What some clients did in a while.
struct Figures {
  double seconds = 0;
  double server_cpu_seconds = 0;
  double client_cpu_seconds = 0;  ///< CPU time of the driver's thread
  double idle_share = 0;  ///< share of the driver's sweeps over its clients that met no answer
  ClientStatistics statistics = {};

  AccessStatistics all_searches() const;  ///< in either way
  std::uint64_t searches() const {
    return statistics.messaging.completed + statistics.offload.completed;
  }
  std::uint64_t operations() const { return searches() + statistics.writes.completed; }
  double ops_per_second() const { return static_cast<double>(operations()) / seconds; }
  // CPU time per operation in microseconds, or of a million in seconds:
  double server_cpu_us() const;
  double client_cpu_us() const;
  // Latencies of searches, in either way:
  double p50_us() const;
  double p99_us() const;
  double round_trips() const;  ///< per search
  /// Bytes that one-sided reads bring over a card's link per search: with the headers of an answer
  /// of RoCE (Ethernet 18, IP 20, UDP 8, BTH 12, AETH 4, less the frame's checksum, which both
  /// have).
  double wire_bytes() const;
  double bytes() const;  ///< per search
  // Counters of the clients' connections:
  double doorbells() const;      ///< per operation
  double work_requests() const;  ///< per operation

 private:
  double per_search(std::uint64_t AccessStatistics::*total) const;
};

/// The figures of some runs of the same.
struct Runs {
  std::vector<Figures> figures;

  /// `of`: a function of Figures, or a member function of it.
  template <typename Of>
  std::vector<double> all(const Of& of) const {
    std::vector<double> values;
    for (const Figures& one : figures) values.push_back(std::invoke(of, one));
    return values;
  }
  template <typename Of>
  double middle(const Of& of) const {
    return median(all(of));
  }
  /// Operations a second, with their CPU time and the latency of all searches.
  Row rate_row(std::string name) const;
};

/// CPU time that a client's server has used, by its own account.
Result<double> server_cpu_seconds(Client<2>& client);

/// A closed loop: that many clients, each of which asks again as soon as it is answered, all driven
/// by the calling thread. A lone client blocks in its calls, and so waits as its options say;
/// several are polled by turns, and
/// share a policy, since what one does itself keeps the others waiting.
class Driver {
 public:
  static Result<std::unique_ptr<Driver>> create(const Way& way, const Workload& workload,
                                                std::uint64_t seed);
  /// Keeps all clients busy for that time; the figures are of that time alone.
  Result<Figures> run(Nanoseconds duration);
  Result<double> server_cpu_seconds() { return bench::server_cpu_seconds(lanes_.front()->client); }

 private:
  /// One client and what it is at.
  struct Lane {
    Client<2> client;
    datasets::WindowGenerator<2> windows;
    Random random;
    std::uint64_t next_id;
    WriteBatch<2> batch = {};
    bool busy = false;
    bool answered = false;
  };

  explicit Driver(const Workload& workload) : workload_(workload) {}
  Status begin(Lane& lane);
  Status do_one(Lane& lane);
  rtree::RangeQuery<2> next_query(Lane& lane) const;
  bool next_is_insert(Lane& lane) const;
  Status run_lone(Nanoseconds deadline);
  Status run_many(Nanoseconds deadline, Figures& figures);

  Workload workload_;
  SystemClock clock_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Status failure_;
};

}  // namespace silurus::bench
