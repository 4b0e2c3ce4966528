#include "bench/replicated/replicated.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "bench/command_line.h"
#include "bench/durable_parts.h"
#include "bench/replicated/etcd_cluster.h"
#include "common/json.h"

namespace silurus::bench {
namespace {

constexpr int kMembers = 3;
constexpr double kEtcdBar = 10;
constexpr double kAloneBar = 0.4;

/// Three servers that replicate one shard, and a client.
struct Group {
  std::vector<ServerProcess> members;
  std::unique_ptr<Client<2>> client;
};

/// How many members belong to the view, as the client's server says.
Result<int> members_in_view(Client<2>& client) {
  const auto said = client.cluster();
  if (!said) return fail(said.error());
  const auto view = parse_json(*said);
  return static_cast<int>(std::ranges::count_if(
      json_array(view, "members"),
      [](const auto& member) { return json_field(member, "in_view") == true; }));
}

/// An insert is to be durable at all of them: not before they are a group, nor after it has lost
/// one.
Status expect_all_in_view(Client<2>& client, Nanoseconds patience) {
  const SystemClock clock;
  const Nanoseconds until = clock.now() + patience;
  Result<int> members = members_in_view(client);
  for (; members && *members < kMembers && clock.now() < until; members = members_in_view(client)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (!members) return fail(members.error());
  if (*members == kMembers) return {};
  return fail(ErrorCode::kUnavailable,
              std::to_string(*members) + " of 3 members belong to the group");
}

Result<Group> start_group(const Folder& folder, const std::string& cluster,
                          const std::string& protocol, const std::string& ack) {
  Group group;
  std::string all;
  for (int i = 1; i <= kMembers; ++i) {
    const std::string name = protocol + "-" + ack + std::to_string(i);
    auto member = ServerProcess::start(
        {"--listen", "shm://" + (folder / (name + ".sock")), "--threads", "1", "--memory", "2G",
         "--log-level", "warning", "--data", folder / name, "--cluster", cluster, "--group-address",
         "shm://" + (folder / (name + ".group")), "--replicator", protocol, "--ack", ack});
    if (!member) return fail(member.error());
    all += (all.empty() ? "" : ",") + member->address("shm://");
    group.members.push_back(std::move(*member));
  }
  auto client = Client<2>::connect(all);
  if (!client) return fail(client.error());
  group.client = std::make_unique<Client<2>>(std::move(*client));
  if (auto ok = expect_all_in_view(*group.client, 60 * kSecond); !ok) return fail(ok.error());
  return group;
}

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
      auto group = start_group(folder, (*etcd)->url(protocol + "-" + ack), protocol, ack);
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
