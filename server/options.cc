#include "server/options.h"

#include <array>
#include <charconv>
#include <cxxopts.hpp>
#include <string_view>
#include <thread>
#include <utility>

#include "common/units.h"
#include "datasets/open.h"
#include "protocol/default_url.h"

namespace silurus::server {
namespace {

constexpr const char* kVersionText = "silurus-server " SILURUS_VERSION "\n";

cxxopts::Options describe() {
  cxxopts::Options options("silurus-server",
                           "Serves an R-tree in memory to clients on this machine and others.\n");
  options.add_options()  //
      ("listen",
       "where to listen: shm:///PATH, tcp://HOST:PORT or rdma://HOST:PORT; may be repeated "
       "(default: "
       "$SILURUS_SERVER, else a socket of this user)",
       cxxopts::value<std::vector<std::string>>(), "URL")                               //
      ("dimensions", "2 or 3", cxxopts::value<std::string>()->default_value("2"), "N")  //
      ("threads", "threads that serve clients (default: one for each core)",
       cxxopts::value<std::string>()->default_value("0"), "N")  //
      ("cpus", "pin the threads to these cores, in turn: 0,1", cxxopts::value<std::string>(),
       "LIST")  //
      ("memory", "what the tree may take", cxxopts::value<std::string>()->default_value("4G"),
       "SIZE")  //
      ("ring-budget", "what all message rings may take",
       cxxopts::value<std::string>()->default_value("64M"), "SIZE")  //
      ("max-clients", "clients at once", cxxopts::value<std::string>()->default_value("4096"),
       "N")  //
      ("grace", "time that one-sided readers have for a search",
       cxxopts::value<std::string>()->default_value("50ms"), "TIME")  //
      ("heartbeat", "interval of heartbeats to active clients",
       cxxopts::value<std::string>()->default_value("10ms"), "TIME")  //
      ("wait",
       "adaptive (spin a little, then sleep), spin, sleep, or nap (look now and then: CPU time in "
       "proportion to the load, requests wait up to 5 ms where there are few)",
       cxxopts::value<std::string>()->default_value("adaptive"), "HOW")        //
      ("huge-pages", "keep the tree in huge pages where the system has them")  //
      ("allow-other-users", "let others than this user connect")               //
      ("allow-orders",
       "let them split, move and retire this server's shard, too (silurus cluster)")  //
      ("data", "directory or devdax device that keeps the tree (default: only memory does)",
       cxxopts::value<std::string>(), "PATH")  //
      ("durability",
       "sync: an answer waits until its write is durable; async: not, a crash may take back the "
       "last --flush-interval; none: keep nothing",
       cxxopts::value<std::string>()->default_value("sync"), "HOW")  //
      ("flush-interval", "of --durability async",
       cxxopts::value<std::string>()->default_value("10ms"), "TIME")  //
      ("checkpoint-interval", "a checkpoint is taken so often, and when the log is half full",
       cxxopts::value<std::string>()->default_value("60s"), "TIME")  //
      ("log-size", "what the log of a new data directory takes",
       cxxopts::value<std::string>()->default_value("256M"), "SIZE")  //
      ("cluster",
       "be a member of this cluster (with --data). Its views are in etcd: etcd://HOST:PORT/NAME; "
       "or at its first member, which leads it for good: static://HOST:PORT/NAME, where that one "
       "listens for the others",
       cxxopts::value<std::string>(), "URL")  //
      ("lead",
       "as the first member of a static:// cluster: founds it, and leads it after each start")  //
      ("take-over",
       "with --lead, once: instead of the first member, which is lost for good, and of whose last "
       "view this one was")  //
      ("shard", "which shard of the cluster", cxxopts::value<std::string>()->default_value("0"),
       "N")  //
      ("group-address",
       "where to listen for other members: tcp://HOST:PORT, rdma://HOST:PORT or shm:///PATH",
       cxxopts::value<std::string>()->default_value(kAnyGroupAddress), "URL")  //
      ("replicator",
       "how the log gets to other members: multicast, log-write or chain; the same at all members",
       cxxopts::value<std::string>()->default_value("multicast"), "HOW")  //
      ("ack",
       "who must have a write before it is acknowledged, in a cluster that this server founds: all "
       "members, a quorum of them, or metadata (the primary, while the others know of it)",
       cxxopts::value<std::string>()->default_value("all"), "WHO")  //
      ("group-multicast", "where members send the log by multicast: rdma://239.1.2.3:PORT",
       cxxopts::value<std::string>(), "URL")  //
      ("advertise", "what clients are told of where this member listens (default: --listen)",
       cxxopts::value<std::string>(), "URLS")  //
      ("group-lease",
       "how long reads at the primary are good for without word from the others, and so how soon "
       "a primary can be replaced; the same at all members",
       cxxopts::value<std::string>()->default_value("2s"), "TIME")  //
      ("retain", "how far back in time the tree can be asked (default: not at all)",
       cxxopts::value<std::string>()->default_value("0"), "TIME")  //
      ("retain-versions", "how many versions are kept for that; beyond, the older are thinned out",
       cxxopts::value<std::string>()->default_value("256"), "N")                                 //
      ("accept-damaged-log", "start though durable records are damaged, and lose what follows")  //
      ("check", "verify a data directory, say what a start would do, change nothing",
       cxxopts::value<std::string>(), "PATH")  //
      ("load", "data set to begin with: " + std::string(datasets::kDatasetForms),
       cxxopts::value<std::string>(), "DATA")  //
      ("ready-file", "file to write the addresses to once clients may connect",
       cxxopts::value<std::string>(), "PATH")  //
      ("log-level", "debug, info, warning, error or off",
       cxxopts::value<std::string>()->default_value("info"), "LEVEL")  //
      ("version", "print the version")                                 //
      ("help", "print this text");
  return options;
}

tl::unexpected<Error> bad(std::string_view option, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument, "--" + std::string(option) + ": " + std::string(what));
}

Result<std::uint64_t> parse_number(std::string_view option, std::string_view text,
                                   std::uint64_t low, std::uint64_t high) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < low || number > high) {
    return bad(option, "'" + std::string(text) + "' is not a number from " + std::to_string(low) +
                           " to " + std::to_string(high));
  }
  return number;
}

Result<std::vector<int>> parse_cpus(std::string_view text) {
  std::vector<int> cpus;
  while (true) {
    const std::size_t comma = text.find(',');
    const auto cpu = parse_number("cpus", text.substr(0, comma), 0, 4095);
    if (!cpu) return fail(cpu.error());
    cpus.push_back(static_cast<int>(*cpu));
    if (comma == std::string_view::npos) return cpus;
    text.remove_prefix(comma + 1);
  }
}

/// The value that a name stands for.
template <typename T, std::size_t N>
Result<T> parse_name(std::string_view option, std::string_view text,
                     const std::array<std::pair<std::string_view, T>, N>& names) {
  std::string all;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  return bad(option, "'" + std::string(text) + "' is none of " + all);
}

constexpr std::array kWaitNames{
    std::pair{std::string_view("adaptive"), transport::WaitPolicy::kAdaptive},
    std::pair{std::string_view("spin"), transport::WaitPolicy::kSpin},
    std::pair{std::string_view("sleep"), transport::WaitPolicy::kSleep},
    std::pair{std::string_view("nap"), transport::WaitPolicy::kNap}};
constexpr std::array kLevelNames{std::pair{std::string_view("debug"), log::Level::kDebug},
                                 std::pair{std::string_view("info"), log::Level::kInfo},
                                 std::pair{std::string_view("warning"), log::Level::kWarning},
                                 std::pair{std::string_view("error"), log::Level::kError},
                                 std::pair{std::string_view("off"), log::Level::kOff}};

enum class DurabilityName { kSync, kAsync, kNone };
constexpr std::array kDurabilityNames{std::pair{std::string_view("sync"), DurabilityName::kSync},
                                      std::pair{std::string_view("async"), DurabilityName::kAsync},
                                      std::pair{std::string_view("none"), DurabilityName::kNone}};

/// Moves a value to its place, or remembers the first error.
class Settings {
 public:
  explicit Settings(const cxxopts::ParseResult& parsed) : parsed_(parsed) {}

  std::string text(const char* option) const { return parsed_[option].as<std::string>(); }
  template <typename T, typename U>
  void set(const char* option, Result<T> value, U& place) {
    if (!status_) return;
    if (value) {
      place = static_cast<U>(std::move(*value));
      return;
    }
    Error error = std::move(value.error());
    const std::string prefix = "--" + std::string(option) + ": ";
    if (!error.message.starts_with(prefix)) error.message = prefix + error.message;
    status_ = fail(std::move(error));
  }
  const Status& status() const { return status_; }

 private:
  const cxxopts::ParseResult& parsed_;
  Status status_;
};

/// Fills server.durability, which stays empty if nothing is to be durable.
void set_durability(const cxxopts::ParseResult& parsed, Settings& settings, ServerOptions& server) {
  DurabilityOptions durability;
  DurabilityName name = DurabilityName::kSync;
  settings.set("durability",
               parse_name("durability", settings.text("durability"), kDurabilityNames), name);
  settings.set("flush-interval", parse_duration(settings.text("flush-interval")),
               durability.flush_interval);
  settings.set("checkpoint-interval", parse_duration(settings.text("checkpoint-interval")),
               durability.checkpoint_interval);
  settings.set("log-size", parse_size(settings.text("log-size")), durability.log_bytes);
  durability.sync = name == DurabilityName::kSync;
  durability.accept_damage = parsed.count("accept-damaged-log") != 0;
  const char* path = parsed.count("check") != 0 ? "check" : "data";
  if (parsed.count(path) == 0) return;
  durability.path = settings.text(path);
  if (name != DurabilityName::kNone) server.durability = durability;
}

/// Fills server.group, which stays empty if the server is a member of none.
void set_group(const cxxopts::ParseResult& parsed, Settings& settings, ServerOptions& server) {
  GroupOptions group;
  settings.set("shard", parse_number("shard", settings.text("shard"), 0, kMaxShard), group.shard);
  settings.set("group-lease", parse_duration(settings.text("group-lease")), group.lease);
  group.listen = settings.text("group-address");
  settings.set("replicator",
               replication::group::parse_replication_protocol(settings.text("replicator")),
               group.protocol);
  settings.set("ack", replication::group::parse_ack(settings.text("ack")), group.ack);
  if (parsed.count("group-multicast") != 0) group.multicast = settings.text("group-multicast");
  if (parsed.count("advertise") != 0) group.advertise = settings.text("advertise");
  group.allow_other_users = server.allow_other_users;
  group.wait = server.wait;
  group.lead = parsed.count("lead") != 0;
  group.take_over = parsed.count("take-over") != 0;
  if (parsed.count("cluster") == 0) {
    if (group.lead || group.take_over) {
      settings.set("lead",
                   Result<bool>(bad(group.lead ? "lead" : "take-over",
                                    "only with --cluster static://HOST:PORT/NAME")),
                   group.lead);
    }
    return;
  }
  group.cluster = settings.text("cluster");
  server.group = group;
}

Result<Command> to_command(const cxxopts::ParseResult& parsed) {
  RunCommand command;
  ServerOptions& server = command.server;
  Settings settings(parsed);
  if (parsed.count("listen") != 0) {
    server.listen = parsed["listen"].as<std::vector<std::string>>();
  } else {
    server.listen = {protocol::default_url()};
  }
  const auto number = [&](const char* option, std::uint64_t low, std::uint64_t high) {
    return parse_number(option, settings.text(option), low, high);
  };
  settings.set("dimensions", number("dimensions", 2, 3), server.dimensions);
  settings.set("threads", number("threads", 0, kMaxThreads), server.threads);
  settings.set("max-clients", number("max-clients", 1, kMaxClientsCeiling), server.max_clients);
  settings.set("memory", parse_size(settings.text("memory")), server.memory_bytes);
  settings.set("ring-budget", parse_size(settings.text("ring-budget")), server.ring_budget_bytes);
  settings.set("grace", parse_duration(settings.text("grace")), server.grace);
  settings.set("heartbeat", parse_duration(settings.text("heartbeat")), server.heartbeat);
  settings.set("wait", parse_name("wait", settings.text("wait"), kWaitNames), server.wait);
  settings.set("log-level", parse_name("log-level", settings.text("log-level"), kLevelNames),
               command.log_level);
  if (parsed.count("cpus") != 0) {
    settings.set("cpus", parse_cpus(settings.text("cpus")), server.cpus);
  }
  set_durability(parsed, settings, server);
  server.allow_other_users = parsed.count("allow-other-users") != 0;
  server.allow_orders = parsed.count("allow-orders") != 0;
  set_group(parsed, settings, server);
  settings.set("retain", parse_duration(settings.text("retain")), server.history.age);
  settings.set("retain-versions", number("retain-versions", kMinRetainVersions, kMaxRetainVersions),
               server.history.versions);
  if (!settings.status()) return fail(settings.status().error());
  server.huge_pages = parsed.count("huge-pages") != 0;
  if (parsed.count("load") != 0) server.load = settings.text("load");
  if (parsed.count("ready-file") != 0) command.ready_file = settings.text("ready-file");
  if (auto ok = check_options(server); !ok) return fail(ok.error());
  if (parsed.count("check") != 0) {
    if (parsed.count("data") != 0 || !server.durability) {
      return bad("check", "goes with neither --data nor --durability none");
    }
    return Command(CheckCommand{std::move(server), command.log_level});
  }
  return Command(std::move(command));
}

}  // namespace

Result<Command> parse_command(int argc, const char* const* argv) {
  cxxopts::Options options = describe();
  try {
    const cxxopts::ParseResult parsed = options.parse(argc, argv);
    if (parsed.count("help") != 0) return Command(PrintCommand{options.help()});
    if (parsed.count("version") != 0) return Command(PrintCommand{kVersionText});
    if (!parsed.unmatched().empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  "'" + parsed.unmatched().front() + "' is not an option");
    }
    return to_command(parsed);
  } catch (const cxxopts::exceptions::exception& error) {
    return fail(ErrorCode::kInvalidArgument, error.what());
  }
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

}  // namespace

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
  if (options.history.age > kMaxRetain) {
    return bad("retain", time_of(options.history.age) + " is more than " + time_of(kMaxRetain));
  }
  if (options.group) {
    if (auto ok = check_group(options); !ok) return ok;
  }
  return options.durability ? check_durability(*options.durability) : Status{};
}

}  // namespace silurus::server
