// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "access/authorization.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/result.h"
#include "server/durability_options.h"
#include "server/group_options.h"
#include "server/history.h"
#include "server/limits.h"
#include "transport/waiter.h"

namespace silurus::server {

/// What an operator may choose.
struct ServerOptions {
  std::vector<std::string> listen;  ///< URLs; at least one, at most kMaxListeners
  int dimensions = 2;               ///< 2 or 3
  unsigned threads = 0;             ///< workers; 0: one for each core that we may use
  std::vector<int> cpus;            ///< pin worker i to cpus[i mod size]; empty: not pinned
  std::uint64_t memory_bytes = kDefaultMemoryBytes;
  std::uint64_t ring_budget_bytes = kDefaultRingBudgetBytes;
  std::uint32_t max_clients = kDefaultMaxClients;
  std::uint32_t max_clients_per_peer = kDefaultMaxClientsPerPeer;  ///< at each address
  Nanoseconds handshake_timeout = kDefaultHandshakeTimeout;
  Nanoseconds idle_timeout = 0;  ///< 0: a client may be idle for ever
  Nanoseconds grace = kDefaultGrace;
  Nanoseconds heartbeat = kDefaultHeartbeat;
  transport::WaitPolicy wait = transport::WaitPolicy::kAdaptive;
  /// What a request may have to wait for a pause of its worker; 0: no pauses. Nothing: 1 ms, with
  /// WaitPolicy::kPeriodic 5 ms.
  std::optional<Nanoseconds> longest_pause;
  bool huge_pages = false;
  bool allow_other_users = false;  ///< to connect, and to read and write
  std::string access = {};         ///< a file that says who may do what (access/rules.h)
  /// The rules in force, for a server that is started again; nothing: they are read at the start.
  std::shared_ptr<access::RuleBook> rules = nullptr;
  /// Whether others than our own user may connect at all.
  bool admits_others() const { return allow_other_users || !access.empty(); }
  /// Where writes are made durable; nothing: nowhere.
  std::optional<DurabilityOptions> durability;
  std::optional<GroupOptions> group;  ///< whose member it is
  HistoryOptions history;             ///< which old versions can still be asked
  std::string load;     ///< a data set (datasets::open_dataset) to begin with; empty: none
  std::string columns;  ///< which of its columns is which (datasets::OpenOptions); empty: its
                        ///< header says it
  /// Told of each step of the start, by the thread that starts the server; may be empty.
  std::function<void(const std::string& step)> progress = {};
  /// Called when all is ready, before clients can connect; an error of it is one of the start. May
  /// be empty.
  std::function<Status()> before_listening = {};
};

struct LogOptions {
  log::Level level = log::Level::kInfo;
  log::Format format = log::Format::kText;
};

/// What silurus-server was asked to do.
struct RunCommand {
  ServerOptions server;
  LogOptions log;
  std::string ready_file;  ///< gets the addresses, one a line, once clients may connect; or empty
  bool outlive = false;    ///< under a keeper, which outlives the server (server/keeper)
  Nanoseconds restart_hung = 0;  ///< what the keeper takes for the end; 0: not said
};
/// To verify a data directory that no server uses, and change nothing.
struct CheckCommand {
  ServerOptions server;  ///< dimensions, memory_bytes, durability
  LogOptions log;
};
/// Text to print, and nothing more to do (--help, --version, --print-config).
struct PrintCommand {
  std::string text;
};
using Command = std::variant<RunCommand, CheckCommand, PrintCommand>;

/// The arguments of silurus-server, and what the file of --config adds to them. kInvalidArgument
/// names the option, or the line of the file, and what would be right.
Result<Command> parse_command(int argc, const char* const* argv);

/// Whether the options make sense together; what Server::start() checks first.
Status check_options(const ServerOptions& options);

}  // namespace silurus::server
