#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <variant>

#include "common/log.h"
#include "server/options.h"
#include "server/server.h"

// silurus-server: exit status 0 after a clean stop, 1 if it cannot serve, 2 for wrong usage.

namespace {

using silurus::ErrorCode;
using silurus::Status;
using silurus::server::CheckCommand;
using silurus::server::Command;
using silurus::server::PrintCommand;
using silurus::server::RunCommand;
using silurus::server::Server;

constexpr int kCannotServe = 1;
constexpr int kWrongUsage = 2;
constexpr int kStartAgainMs = 1000;  ///< after a start in vain of a server that ran before

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
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

/// The signal that asks us to stop, or nothing if the server is to be started again, or so much
/// time has passed (-1: any).
std::optional<std::string> wait_for_end(int stop_fd, int renew_fd, int milliseconds = -1) {
  pollfd ends[] = {{stop_fd, POLLIN, 0}, {renew_fd, POLLIN, 0}};
  while (poll(ends, 2, milliseconds) <= 0) {
    if (milliseconds >= 0) return std::nullopt;
  }
  eventfd_t count = 0;
  if (ends[1].revents != 0 && eventfd_read(renew_fd, &count) == 0) return std::nullopt;
  signalfd_siginfo info{};
  while (read(stop_fd, &info, sizeof info) != sizeof info) {
  }
  const char* name = sigabbrev_np(static_cast<int>(info.ssi_signo));
  return name != nullptr ? "SIG" + std::string(name) : std::string("a signal");
}

/// Each client needs a few descriptors, and Debian's soft limit is 1,024.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // without it, fewer clients find room: no reason not to serve
}

/// All of the file or nothing: whoever waits for it may read it as soon as it is there.
Status write_ready_file(const std::string& path, const Server& server) {
  const std::string draft = path + ".new";
  {
    std::ofstream file(draft);
    for (const std::string& address : server.addresses()) file << address << '\n';
    if (!file.flush()) {
      return silurus::fail(silurus::errno_error(ErrorCode::kIo, "cannot write " + draft, errno));
    }
  }
  if (std::rename(draft.c_str(), path.c_str()) != 0) {
    return silurus::fail(silurus::errno_error(ErrorCode::kIo, "cannot write " + path, errno));
  }
  return {};
}

int complain(const std::string& message, int status) {
  std::fprintf(stderr, "silurus-server: %s\n", message.c_str());
  return status;
}

/// Whether a server that ran a moment ago may start a little later: etcd is away, or somebody has
/// its address for a moment.
bool may_pass(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kConflict || code == ErrorCode::kIo;
}

int run(RunCommand command, int stop_fd) {
  silurus::log::set_level(command.log_level);
  allow_many_descriptors();
  const int renew_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (command.server.group) command.server.group->renew = [=] { eventfd_write(renew_fd, 1); };
  auto server = Server::start(command.server);
  if (!server) return complain(server.error().message, kCannotServe);
  if (!command.ready_file.empty()) {
    if (const Status ok = write_ready_file(command.ready_file, **server); !ok) {
      return complain(ok.error().message, kCannotServe);
    }
  }
  for (const std::string& address : (*server)->addresses()) {
    std::printf("listening on %s\n", address.c_str());
  }
  std::fflush(stdout);
  std::optional<std::string> signal;
  while (!(signal = wait_for_end(stop_fd, renew_fd, server ? -1 : kStartAgainMs))) {
    if (server) {
      command.server.listen = (*server)->addresses();  // where clients know it
      (*server)->stop();
    }
    server = Server::start(command.server);
    if (server) continue;
    if (!may_pass(server.error().code)) {
      if (!command.ready_file.empty()) unlink(command.ready_file.c_str());
      return complain(server.error().message, kCannotServe);
    }
    silurus::log::error("cannot start again yet: " + server.error().message);
  }
  silurus::log::info("stopping after " + *signal);
  if (server) (*server)->stop();
  if (!command.ready_file.empty()) unlink(command.ready_file.c_str());
  return 0;
}

int check(const CheckCommand& command) {
  silurus::log::set_level(command.log_level);
  const auto text = silurus::server::check_data(command.server);
  if (!text) return complain(text.error().message, kCannotServe);
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
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
  return run(std::get<RunCommand>(*command), stop_fd);
}
