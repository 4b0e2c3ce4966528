// SPDX-License-Identifier: Apache-2.0

#include "bench/replicated/replicated.h"

#include <algorithm>

#include "bench/command_line.h"
#include "bench/durable_parts.h"
#include "bench/group_processes.h"
#include "bench/replicated/etcd_cluster.h"

namespace silurus::bench {
namespace {

constexpr double kEtcdBar = 10;
constexpr double kAloneBar = 0.4;

Status compare(const std::string& name, const ReplicatedBenchOptions& options,
               Client<2>& replicated, Client<2>& alone, EtcdCluster& etcd, Report& report) {
  for (const std::uint32_t in_flight : options.in_flight) {
    Paired to_etcd;
    Paired to_alone;
    for (unsigned run = 0; run < options.runs; ++run) {
      const std::uint64_t seed = options.seed + run;
      auto puts = etcd.put_rate(in_flight, options.seconds, seed);
      if (!puts) return fail(puts.error());
      auto ours = insert_rate(replicated, in_flight, options.seconds, seed);
      if (!ours) return fail(ours.error());
      auto single = insert_rate(alone, in_flight, options.seconds, seed);
      if (!single) return fail(single.error());
      to_etcd.add(*ours, *puts);
      to_alone.add(*ours, single->per_second);
    }
    const std::string row = name + "/insert/in-flight=" + std::to_string(in_flight);
    report.add(row_of(row, to_etcd, "ops/s", "etcd, three members", kEtcdBar));
    report.add(row_of(row + "/of-alone", to_alone, "ops/s", "a server alone", kAloneBar));
  }
  return expect_all_in_view(replicated, 0);
}

}  // namespace

Status run_replicated(const ReplicatedBenchOptions& options, Report& report) {
  const Folder folder(options.directory);
  auto etcd = EtcdCluster::start(folder / "etcd");
  if (!etcd) return fail(etcd.error());
  auto alone = Service::start(folder / "alone.sock", {"--data", folder / "alone"});
  if (!alone) return fail(alone.error());
  for (const std::string& protocol : options.protocols) {
    for (const std::string& ack : options.acks) {
      const std::string name = protocol + "-" + ack;
      auto group = GroupProcesses::start(folder, name,
                                         {"--memory", "2G", "--cluster", (*etcd)->url(name),
                                          "--replicator", protocol, "--ack", ack});
      if (!group) return fail(group.error());
      if (auto ok = compare("replicated/" + protocol + "/ack=" + ack, options, *group->client,
                            alone->client, **etcd, report);
          !ok) {
        return ok;
      }
    }
  }
  return {};
}

int replicated_command(int argc, char** argv, const std::string& command_line) {
  ReplicatedBenchOptions options;
  CommandLine line("silurus-bench replicated",
                   "Durable inserts into three replicas, against etcd and one server");
  line.option("directory", "where all logs are kept: on a disk, or /dev/shm for memory",
              options.directory, "DIR");
  line.option("replicator", "how the log gets to members: multicast, log-write, chain",
              options.protocols);
  line.option("ack", "at how many members they are durable: all, quorum (as etcd's), metadata",
              options.acks);
  line.option("in-flight", "writes under way at once", options.in_flight);
  line.option("seconds", "of one run", options.seconds);
  line.option("runs", "of each figure", options.runs);
  line.option("seed", "of the boxes", options.seed);
  const auto sensible = [&] {
    return options.runs > 0 && options.seconds > 0 && !options.in_flight.empty() &&
           std::ranges::find(options.in_flight, 0u) == options.in_flight.end();
  };
  return line.measure(argc, argv, command_line,
                      {.sensible = sensible,
                       .rule = "--runs, --seconds and --in-flight are more than nothing",
                       .run = [&](Report& report) { return run_replicated(options, report); }});
}

}  // namespace silurus::bench
