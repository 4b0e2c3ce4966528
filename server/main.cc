// SPDX-License-Identifier: Apache-2.0

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "common/clock.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "protocol/default_url.h"
#include "server/keeper/keeper.h"
#include "server/keeper/keeper_link.h"
#include "server/limits.h"
#include "server/options.h"
#include "server/server.h"
#include "server/service.h"
#include "transport/custody.h"

// silurus-server: exit status 0 after a clean stop, 1 if it cannot serve, 2 for wrong usage.

namespace {

using silurus::ErrorCode;
using silurus::kMillisecond;
using silurus::Nanoseconds;
using silurus::Status;
using silurus::SystemClock;
using silurus::server::CheckCommand;
using silurus::server::Command;
using silurus::server::PrintCommand;
using silurus::server::RunCommand;
using silurus::server::Server;
using silurus::server::ServiceManager;
using silurus::server::keeper::Keeper;
using silurus::server::keeper::KeeperLink;

constexpr int kCannotServe = 1;
constexpr int kWrongUsage = 2;

/// A descriptor that becomes readable when we are asked to stop. Before any thread is started, so
/// that all of them leave these signals to it.
int block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // what reaches a limit of file sizes is told as an error
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

/// The same for a keeper, which is not to wait for one, and is also told that its server has ended,
/// or is to be replaced.
int block_signals_of_keeper() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR2}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGCHLD, SIG_DFL);  // a parent may have had it ignored, and ends would not be told
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/// Why a wait is over: after its time, or with the signal that asks us to stop, or with nothing if
/// the server is to be started again.
struct Ended {
  bool timed_out = false;
  std::optional<std::string> signal = {};
};
Ended wait_for_end(int stop_fd, int renew_fd, int milliseconds) {
  pollfd ends[] = {{stop_fd, POLLIN, 0}, {renew_fd, POLLIN, 0}};
  while (poll(ends, 2, milliseconds) <= 0) {
    if (milliseconds >= 0) return {.timed_out = true};
  }
  eventfd_t count = 0;
  if (ends[1].revents != 0 && eventfd_read(renew_fd, &count) == 0) return {};
  signalfd_siginfo info{};
  while (read(stop_fd, &info, sizeof info) != sizeof info) {
  }
  const char* name = sigabbrev_np(static_cast<int>(info.ssi_signo));
  return {.signal = name != nullptr ? "SIG" + std::string(name) : std::string("a signal")};
}

/// Each client needs a few descriptors, and Debian's soft limit is 1,024.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // without it, fewer clients find room: no reason not to serve
}

/// All of the file or nothing, for all users to read: what waits for it may read it as soon as it
/// is there.
Status write_ready_file(const std::string& path, const Server& server) {
  std::string text;
  for (const std::string& address : server.addresses()) text += address + '\n';
  return silurus::write_durably(path, text, 0666);
}

void set_up_log(const silurus::server::LogOptions& options) {
  silurus::log::set_level(options.level);
  silurus::log::set_format(options.format);
}

int complain(const std::string& message, int status) {
  std::fprintf(stderr, "silurus-server: %s\n", message.c_str());
  return status;
}

/// Whether a server that ran a moment ago may start a little later: etcd is away, or another
/// process has its address for a moment.
bool may_pass(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kConflict || code == ErrorCode::kIo;
}

/// A server that runs until a signal, started again whenever its group says so.
class Service {
 public:
  Service(RunCommand command, const ServiceManager& manager, int stop_fd)
      : command_(std::move(command)),
        manager_(manager),
        stop_fd_(stop_fd),
        renew_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (const auto limit = manager_.watchdog_interval()) {
      look_ms_ = static_cast<int>(std::max<Nanoseconds>(*limit / 4 / kMillisecond, 1));
    }
    command_.server.progress = [this](const std::string& step) {
      manager_.advances(step);
      manager_.alive();
    };
    if (command_.server.group) {
      command_.server.group->renew = [fd = renew_fd_] { eventfd_write(fd, 1); };
    }
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() { close(renew_fd_); }

  int run();

 private:
  Status start_up();
  /// Starts again what ran, or tries to; an error that will not pass.
  Status start_again();
  /// Whether SIGHUP asks for new access rules, which are then in force; else it stops the server.
  bool take_hangup();
  /// Waits, and proves to the manager that there is life.
  std::optional<std::string> wait();

  RunCommand command_;
  const ServiceManager& manager_;
  const int stop_fd_;
  const int renew_fd_;
  int look_ms_ = -1;  ///< interval of signs of life
  std::unique_ptr<Server> server_;
};

Status Service::start_up() {
  for (const std::string& url : command_.server.listen) {
    if (Status ok = silurus::protocol::make_default_folder(url, geteuid()); !ok) return ok;
  }
  auto rules = silurus::server::read_rules(command_.server);
  if (!rules) return silurus::fail(rules.error());
  // They outlive a server that is started again: a file that has been spoilt since spoils nothing.
  command_.server.rules = std::make_shared<silurus::access::RuleBook>(std::move(*rules));
  auto server = Server::start(command_.server);
  if (!server) return silurus::fail(server.error());
  server_ = std::move(*server);
  if (!command_.ready_file.empty()) {
    if (Status ok = write_ready_file(command_.ready_file, *server_); !ok) return ok;
  }
  std::string places;
  for (const std::string& address : server_->addresses()) {
    places += (places.empty() ? "" : ", ") + address;
  }
  // Before the addresses are printed: who knows them may kill this server at once, and its keeper
  // replaces only what it knows to have served.
  manager_.ready("serving at " + places);
  for (const std::string& address : server_->addresses()) {
    std::printf("listening on %s\n", address.c_str());
  }
  std::fflush(stdout);
  return {};
}

std::optional<std::string> Service::wait() {
  const Nanoseconds until = SystemClock().now() + silurus::server::kStartAgainPause;
  for (;;) {
    int milliseconds = server_ != nullptr
                           ? -1
                           : static_cast<int>(silurus::server::kStartAgainPause / kMillisecond);
    if (look_ms_ > 0)
      milliseconds = server_ != nullptr ? look_ms_ : std::min(look_ms_, milliseconds);
    const Ended ended = wait_for_end(stop_fd_, renew_fd_, milliseconds);
    if (ended.signal == "SIGHUP" && take_hangup()) continue;
    if (!ended.timed_out) return ended.signal;
    // A server that is not there has no workers: trying to start it is the work then.
    if (look_ms_ > 0 && (server_ == nullptr || server_->workers_are_alive())) manager_.alive();
    if (server_ == nullptr && SystemClock().now() >= until) return std::nullopt;
  }
}

bool Service::take_hangup() {
  const std::string& path = command_.server.access;
  if (path.empty()) return manager_.is_there();  // it reloads, where a terminal says goodbye
  auto rules = silurus::server::read_rules(command_.server);
  if (!rules) {
    silurus::log::error("keeps the access rules of before, since the new ones are wrong: " +
                        rules.error().message);
    return true;
  }
  command_.server.rules->replace(std::move(*rules));
  if (server_ != nullptr) server_->wake_workers();
  silurus::log::info("read the access rules " + path + " again");
  return true;
}

Status Service::start_again() {
  if (server_ != nullptr) {
    command_.server.listen = server_->addresses();  // where clients know it
    server_->stop();
    server_.reset();
    manager_.alive();
  }
  auto server = Server::start(command_.server);
  if (server) {
    server_ = std::move(*server);
    manager_.status("serving again");
    return {};
  }
  if (!may_pass(server.error().code)) return silurus::fail(server.error());
  silurus::log::error("cannot start again yet: " + server.error().message);
  manager_.status("cannot start again yet: " + server.error().message);
  return {};
}

int Service::run() {
  if (const Status started = start_up(); !started) {
    return complain(started.error().message, kCannotServe);
  }
  std::optional<std::string> signal;
  while (!(signal = wait())) {
    if (const Status ok = start_again(); !ok) {
      if (!command_.ready_file.empty()) unlink(command_.ready_file.c_str());
      return complain(ok.error().message, kCannotServe);
    }
  }
  silurus::log::info("stopping after " + *signal);
  manager_.stopping("stopping after " + *signal);
  if (server_ != nullptr) server_->stop();
  if (!command_.ready_file.empty()) unlink(command_.ready_file.c_str());
  return 0;
}

int check(const CheckCommand& command) {
  set_up_log(command.log);
  const auto text = silurus::server::check_data(command.server);
  if (!text) return complain(text.error().message, kCannotServe);
  std::fputs(text->c_str(), stdout);
  return 0;
}

int keep(const RunCommand& run, const ServiceManager& manager, char* const* arguments) {
  Nanoseconds limit = run.restart_hung;
  if (limit == 0) limit = manager.watchdog_interval().value_or(0);
  Keeper keeper({.arguments = arguments, .hang_limit = limit}, manager, block_signals_of_keeper());
  return keeper.run();
}

ServiceManager manager_of(KeeperLink* link) {
  if (link == nullptr) return ServiceManager::from_environment();
  std::optional<Nanoseconds> watchdog;
  if (link->birth().watchdog > 0) watchdog = link->birth().watchdog;
  return ServiceManager::through([link](std::string_view lines) { link->notify(lines); },
                                 link->birth().has_manager, watchdog);
}

/// Lets the keeper hold what outlives this server, and has the life before end in time.
void be_kept(KeeperLink& link, silurus::server::ServerOptions& options) {
  if (options.group) link.hold_nothing();
  silurus::transport::set_custody(&link);
  options.before_listening = [&link] { return link.take_over(); };
}

}  // namespace

int main(int argc, char** argv) {
  const auto from_keeper = KeeperLink::from_environment();
  if (!from_keeper) return complain(from_keeper.error().message, kCannotServe);
  KeeperLink* const link = from_keeper->get();
  const ServiceManager manager = manager_of(link);
  const int stop_fd = block_stop_signals();
  const auto command = silurus::server::parse_command(argc, argv);
  if (!command) {
    return complain(command.error().message + "\nTry 'silurus-server --help'.", kWrongUsage);
  }
  if (const auto* print = std::get_if<PrintCommand>(&*command)) {
    std::fputs(print->text.c_str(), stdout);
    return 0;
  }
  if (const auto* asked = std::get_if<CheckCommand>(&*command)) return check(*asked);
  RunCommand run = std::get<RunCommand>(*command);
  set_up_log(run.log);
  allow_many_descriptors();
  if (run.outlive && link == nullptr) return keep(run, manager, argv);
  if (link != nullptr) be_kept(*link, run.server);
  return Service(std::move(run), manager, stop_fd).run();
}
