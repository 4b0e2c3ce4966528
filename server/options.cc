// SPDX-License-Identifier: Apache-2.0

#include "server/options.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "common/flags.h"
#include "common/units.h"
#include "datasets/columns.h"
#include "protocol/default_url.h"
#include "server/config_file.h"
#include "server/limits.h"
#include "server/machine.h"
#include "server/option_table.h"
#include "server/replica_thread.h"

namespace silurus::server {
namespace {

constexpr const char* kVersionText = "silurus-server " SILURUS_VERSION "\n";

tl::unexpected<Error> bad(std::string_view option, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument, "--" + std::string(option) + ": " + std::string(what));
}

Result<std::vector<int>> parse_cpus(std::string_view text) {
  std::vector<int> cpus;
  for (const std::string& part : flags::split(text)) {
    const auto cpu = flags::parse_whole(part, 0, 4095);
    if (!cpu) return fail(cpu.error());
    cpus.push_back(static_cast<int>(*cpu));
  }
  return cpus;
}

constexpr flags::Names<transport::WaitPolicy, 4> kWaitNames{
    {{"adaptive", transport::WaitPolicy::kAdaptive},
     {"spin", transport::WaitPolicy::kSpin},
     {"sleep", transport::WaitPolicy::kSleep},
     {"periodic", transport::WaitPolicy::kPeriodic}}};
constexpr flags::Names<log::Level, 5> kLevelNames{{{"debug", log::Level::kDebug},
                                                   {"info", log::Level::kInfo},
                                                   {"warning", log::Level::kWarning},
                                                   {"error", log::Level::kError},
                                                   {"off", log::Level::kOff}}};

constexpr flags::Names<log::Format, 2> kFormatNames{
    {{"text", log::Format::kText}, {"json", log::Format::kJson}}};

enum class DurabilityName { kSync, kAsync, kNone };
constexpr flags::Names<DurabilityName, 3> kDurabilityNames{{{"sync", DurabilityName::kSync},
                                                            {"async", DurabilityName::kAsync},
                                                            {"none", DurabilityName::kNone}}};

/// Fills server.durability, which stays empty if nothing is to be durable.
void set_durability(flags::Reader& reader, ServerOptions& server) {
  DurabilityOptions durability;
  DurabilityName name = DurabilityName::kSync;
  reader.one_of("durability", kDurabilityNames, name);
  reader.duration("flush-interval", durability.flush_interval);
  reader.duration("checkpoint-interval", durability.checkpoint_interval);
  reader.size("log-size", durability.log_bytes);
  reader.toggle("accept-damaged-log", durability.accept_damage);
  durability.sync = name == DurabilityName::kSync;
  const char* path = reader.values().has("check") ? "check" : "data";
  if (!reader.values().has(path)) return;
  reader.text(path, durability.path);
  if (name != DurabilityName::kNone) server.durability = durability;
}

/// Fills server.group, which stays empty if the server is a member of none.
void set_group(flags::Reader& reader, ServerOptions& server) {
  GroupOptions group;
  reader.number("shard", 0, kMaxShard, group.shard);
  reader.duration("group-lease", group.lease);
  reader.text("group-address", group.listen);
  reader.read("replicator", replication::group::parse_replication_protocol, group.protocol);
  reader.read("ack", replication::group::parse_ack, group.ack);
  if (reader.values().has("min-members")) {
    reader.read("min-members", replication::group::parse_min_members, group.min_members.emplace());
  }
  reader.text("cluster-key", group.cluster_key);
  reader.text("group-multicast", group.multicast);
  reader.text("advertise", group.advertise);
  reader.toggle("lead", group.lead);
  reader.toggle("take-over", group.take_over);
  group.wait = server.wait;
  if (!reader.values().has("cluster")) {
    if (group.lead || group.take_over) {
      reader.refuse(group.lead ? "lead" : "take-over",
                    "only with --cluster static://HOST:PORT/NAME");
    }
    return;
  }
  reader.text("cluster", group.cluster);
  server.group = group;
}

/// The error with the place where its option was given, if that is not the command line.
Error where_given(Error error, const flags::Values& values) {
  for (const flags::Option& option : values.options()) {
    const std::string start = flags::spelled(option.name) + ":";
    if (!error.message.starts_with(start)) continue;
    error.message = values.place(option.name) + error.message.substr(start.size() - 1);
  }
  return error;
}

/// Completes the command line with a configuration file, and with defaults that depend on the
/// machine and the environment.
Status complete(flags::Values& values, const Machine& machine) {
  if (values.has("config")) {
    const auto file = read_config(values.text("config"), values.options());
    if (!file) return fail(file.error());
    values.complete(*file);
  }
  if (!values.has("memory") && machine.memory_bytes != 0 &&
      machine.memory_bytes < kDefaultMemoryBytes) {
    const std::string all = std::to_string(machine.memory_bytes >> 20) + "M";
    if (auto ok = values.give("memory", all, "--memory"); !ok) return ok;
  }
  if (values.has("listen")) return {};
  auto url = protocol::default_listen_url();
  if (!url) return fail(url.error());
  return values.give("listen", std::move(*url), "--listen");
}

Result<Command> to_command(const flags::Values& values, const Machine& machine) {
  RunCommand command;
  ServerOptions& server = command.server;
  flags::Reader reader(values);
  server.listen = values.all("listen");
  reader.number("dimensions", 2, 3, server.dimensions);
  reader.number("threads", 0, kMaxThreads, server.threads);
  reader.number("max-clients", 1, kMaxClientsCeiling, server.max_clients);
  reader.number("max-clients-per-peer", 1, kMaxClientsCeiling, server.max_clients_per_peer);
  reader.duration("handshake-timeout", server.handshake_timeout);
  reader.duration("idle-timeout", server.idle_timeout);
  reader.size("memory", server.memory_bytes);
  reader.size("ring-budget", server.ring_budget_bytes);
  reader.duration("grace", server.grace);
  reader.duration("heartbeat", server.heartbeat);
  reader.one_of("wait", kWaitNames, server.wait);
  if (reader.values().has("longest-pause")) {
    reader.duration("longest-pause", server.longest_pause.emplace());
  }
  reader.one_of("log-level", kLevelNames, command.log.level);
  reader.one_of("log-format", kFormatNames, command.log.format);
  for (const std::string& list : values.all("cpus")) {
    std::vector<int> cpus;
    reader.read(
        "cpus", [&](std::string_view) { return parse_cpus(list); }, cpus);
    server.cpus.insert(server.cpus.end(), cpus.begin(), cpus.end());
  }
  reader.toggle("huge-pages", server.huge_pages);
  reader.toggle("allow-other-users", server.allow_other_users);
  reader.text("access", server.access);
  reader.text("load", server.load);
  reader.text("columns", server.columns);
  reader.text("ready-file", command.ready_file);
  reader.toggle("outlive", command.outlive);
  reader.duration("restart-hung", command.restart_hung);
  reader.duration("retain", server.history.age);
  reader.number("retain-versions", kMinRetainVersions, kMaxRetainVersions, server.history.versions);
  set_durability(reader, server);
  set_group(reader, server);
  if (values.has("restart-hung")) {
    if (!command.outlive) reader.refuse("restart-hung", "only with --outlive");
    if (command.restart_hung < kMinRestartHung || command.restart_hung > kMaxRestartHung) {
      reader.refuse("restart-hung", "between " + format_duration(kMinRestartHung) + " and " +
                                        format_duration(kMaxRestartHung));
    }
  }
  if (!reader.status()) return fail(reader.status().error());
  if (auto ok = check_options(server); !ok) return fail(where_given(ok.error(), values));
  if (auto ok = check_machine(server, machine); !ok) {
    return fail(where_given(ok.error(), values));
  }
  if (values.has("check")) {
    if ((values.has("data") && values.place("data") == "--data") || !server.durability) {
      return bad("check", "goes with neither --data nor --durability none");
    }
    return Command(CheckCommand{std::move(server), command.log});
  }
  return Command(std::move(command));
}

}  // namespace

Result<Command> parse_command(int argc, const char* const* argv) {
  std::vector<flags::Option> options;
  for (OptionSection& section : option_sections()) {
    std::ranges::move(section.options, std::back_inserter(options));
  }
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  auto values = flags::parse(options, arguments);
  if (!values) return fail(values.error());
  if (values->has("help")) return Command(PrintCommand{help_text()});
  if (values->has("version")) return Command(PrintCommand{kVersionText});
  if (!values->words().empty()) {
    return fail(ErrorCode::kInvalidArgument, "'" + values->words().front() + "' is not an option");
  }
  const Machine machine = this_machine();
  if (auto ok = complete(*values, machine); !ok) return fail(ok.error());
  auto command = to_command(*values, machine);
  if (command && values->has("print-config")) return Command(PrintCommand{to_toml(*values)});
  return command;
}

namespace {

Status check_durability(const DurabilityOptions& options) {
  if (options.path.empty()) return bad("data", "needs the path of a directory or a device");
  const auto check_time = [](const char* option, Nanoseconds time, Nanoseconds low,
                             Nanoseconds high) -> Status {
    if (time >= low && time <= high) return {};
    return bad(option, format_duration(time) + " is not between " + format_duration(low) + " and " +
                           format_duration(high));
  };
  if (auto ok = check_time("flush-interval", options.flush_interval, kMinFlushInterval,
                           kMaxFlushInterval);
      !ok) {
    return ok;
  }
  if (options.log_bytes < replication::kMinLogBytes ||
      options.log_bytes > replication::kMaxLogBytes || options.log_bytes % 4096 != 0) {
    return bad("log-size", format_size(options.log_bytes) + " is not between " +
                               format_size(replication::kMinLogBytes) + " and " +
                               format_size(replication::kMaxLogBytes) + ", in steps of 4 KiB");
  }
  return check_time("checkpoint-interval", options.checkpoint_interval, kMinCheckpointInterval,
                    kMaxCheckpointInterval);
}

Status check_group(const ServerOptions& options) {
  const GroupOptions& group = *options.group;
  const std::string data = options.durability ? options.durability->path : "";
  if (const auto agreement = agreement_of(group, data); !agreement) return fail(agreement.error());
  if (!options.durability || !options.durability->sync) {
    return bad("cluster",
               "needs --data DIRECTORY, and no --durability but sync: what a member says "
               "that it has it must not lose");
  }
  if (options.durability->accept_damage) {
    return bad("accept-damaged-log",
               "not for a member of a cluster: if another one serves, start this one with an empty "
               "directory (keep the old one until then), and it copies the tree from there");
  }
  if (!options.load.empty()) {
    return bad("load", "not for a member of a cluster: load by a client, at the primary");
  }
  if (const auto address = transport::Address::parse(group.listen); !address) {
    return bad("group-address", address.error().message);
  }
  if (const auto address = transport::Address::parse(group.multicast);
      !group.multicast.empty() && !address) {
    return bad("group-multicast", address.error().message);
  }
  if (group.advertise.size() > replication::group::kMaxAddressBytes) {
    return bad("advertise",
               "is longer than " + std::to_string(replication::group::kMaxAddressBytes) + " bytes");
  }
  if (group.lease < kMinGroupLease || group.lease > kMaxGroupLease) {
    return bad("group-lease", format_duration(group.lease) + " is not between " +
                                  format_duration(kMinGroupLease) + " and " +
                                  format_duration(kMaxGroupLease));
  }
  return {};
}

/// The pauses of the way to wait.
Status check_pauses(const ServerOptions& options) {
  if (!options.longest_pause) return {};
  const Nanoseconds pause = *options.longest_pause;
  using transport::WaitPolicy;
  if (options.wait != WaitPolicy::kAdaptive && options.wait != WaitPolicy::kPeriodic) {
    return bad("longest-pause", "only --wait adaptive and --wait periodic have pauses");
  }
  if (pause == 0 && options.wait == WaitPolicy::kAdaptive) return {};
  if (pause >= kMinLongestPause && pause <= kMaxLongestPause) return {};
  return bad("longest-pause", format_duration(pause) + " is not between " +
                                  format_duration(kMinLongestPause) + " and " +
                                  format_duration(kMaxLongestPause) +
                                  ", nor, with --wait adaptive, 0s: no pauses");
}

/// The times that clients are given.
Status check_patience(const ServerOptions& options) {
  const auto check = [](const char* option, Nanoseconds time, Nanoseconds low,
                        Nanoseconds high) -> Status {
    if (time >= low && time <= high) return {};
    return bad(option, format_duration(time) + " is not between " + format_duration(low) + " and " +
                           format_duration(high));
  };
  if (auto ok = check("handshake-timeout", options.handshake_timeout, kMinHandshakeTimeout,
                      kMaxHandshakeTimeout);
      !ok) {
    return ok;
  }
  if (options.idle_timeout == 0) return {};
  return check("idle-timeout", options.idle_timeout, kMinIdleTimeout, kMaxIdleTimeout);
}

}  // namespace

Status check_columns(const ServerOptions& options) {
  if (options.columns.empty()) return {};
  if (options.load.empty()) return bad("columns", "only with --load FILE");
  const auto error_of = [](const auto& columns) {
    return columns ? Status{} : fail(columns.error());
  };
  const Status ok = options.dimensions == 3
                        ? error_of(datasets::Columns<3>::of_list(options.columns))
                        : error_of(datasets::Columns<2>::of_list(options.columns));
  return ok ? ok : bad("columns", ok.error().message);
}

Status check_options(const ServerOptions& options) {
  const auto size_of = [](std::uint64_t bytes) { return format_size(bytes); };
  const auto time_of = [](Nanoseconds time) { return format_duration(time); };
  if (options.listen.empty() || options.listen.size() > kMaxListeners) {
    return bad("listen", "between 1 and " + std::to_string(kMaxListeners) + " addresses");
  }
  if (options.dimensions != 2 && options.dimensions != 3) return bad("dimensions", "2 or 3");
  if (options.threads > kMaxThreads) {
    return bad("threads", "at most " + std::to_string(kMaxThreads));
  }
  if (options.memory_bytes < kMinMemoryBytes) {
    return bad("memory", size_of(options.memory_bytes) + " is less than the least possible, " +
                             size_of(kMinMemoryBytes));
  }
  if (options.ring_budget_bytes / options.listen.size() < kMinRingBudgetBytes) {
    return bad("ring-budget", size_of(options.ring_budget_bytes) + " is less than " +
                                  size_of(kMinRingBudgetBytes) + " for each address");
  }
  if (options.grace < kMinGrace || options.grace > kMaxGrace) {
    return bad("grace", time_of(options.grace) + " is not between " + time_of(kMinGrace) + " and " +
                            time_of(kMaxGrace));
  }
  if (options.heartbeat < kMinHeartbeat || options.heartbeat > kMaxHeartbeat) {
    return bad("heartbeat", time_of(options.heartbeat) + " is not between " +
                                time_of(kMinHeartbeat) + " and " + time_of(kMaxHeartbeat));
  }
  if (auto ok = check_patience(options); !ok) return ok;
  if (auto ok = check_pauses(options); !ok) return ok;
  if (auto ok = check_columns(options); !ok) return ok;
  if (options.history.age > kMaxRetain) {
    return bad("retain", time_of(options.history.age) + " is more than " + time_of(kMaxRetain));
  }
  if (options.group) {
    if (auto ok = check_group(options); !ok) return ok;
  }
  return options.durability ? check_durability(*options.durability) : Status{};
}

}  // namespace silurus::server
