// SPDX-License-Identifier: Apache-2.0

#include "server/keeper/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "common/units.h"
#include "server/keeper/keeper_link.h"

namespace silurus::server::keeper {
namespace {

/// For room for an answer: the server waits for it.
constexpr Nanoseconds kReplyPatience = kSecond;
/// How often the service manager is told that there is life, in its limit.
constexpr Nanoseconds kLooksPerLimit = 4;
/// Packets of the server in one turn, so that signals are heard between them.
constexpr int kPacketsPerTurn = 1024;

std::string name_of(int signal) {
  const char* const name = sigabbrev_np(signal);
  return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(signal);
}

/// Whether a child has ended, reaped or not.
bool has_ended(pid_t process) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
}

}  // namespace

Keeper::Keeper(const KeeperOptions& options, const ServiceManager& manager, int signals)
    : options_(options), manager_(manager), signals_(signals) {
  // The path, not the file: a release that has taken its place meanwhile is what is started next.
  std::error_code unknown;
  program_ = std::filesystem::read_symlink("/proc/self/exe", unknown);
}

/// However it ends: what is held is closed only after no reader believes it any more.
Keeper::~Keeper() { believed_.let_go(); }

int Keeper::run() {
  if (!start_server()) return 1;
  while (!exit_status_) {
    pollfd events[] = {{signals_, POLLIN, 0}, {server_ ? server_->socket.get() : -1, POLLIN, 0}};
    if (poll(events, 2, wait_milliseconds()) < 0 && errno != EINTR) {
      log::error(errno_error(ErrorCode::kIo, "the keeper cannot wait any more", errno).message);
      return 1;
    }
    if (events[1].revents != 0) hear_server();
    if (events[0].revents != 0) hear_signals();
    look_for_end();
    look_at_times();
  }
  return *exit_status_;
}

// --- starting ------------------------------------------------------------------------------------

bool Keeper::start_server() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
    log::error(errno_error(ErrorCode::kIo, "the keeper cannot make a socket", errno).message);
    return false;
  }
  transport::UniqueFd ours(sockets[0]);
  const transport::UniqueFd theirs(sockets[1]);
  const pid_t keeper = getpid();
  const pid_t process = fork();
  if (process < 0) {
    log::error(errno_error(ErrorCode::kIo, "the keeper cannot start a server", errno).message);
    return false;
  }
  ++lives_;
  if (process == 0) become_server(theirs.get(), keeper);
  server_.emplace(Server{});
  server_->process = process;
  server_->life = lives_;
  server_->socket = std::move(ours);
  server_->watch = HangWatch(options_.hang_limit);
  server_->watch.on_start(lives_ > 1, clock_.now());
  start_at_.reset();
  log::info("the keeper has started server " + std::to_string(process) + ", life " +
            std::to_string(lives_));
  return true;
}

/// What lacks for a process may be there in a moment: this counts as a start that failed.
void Keeper::start_successor() {
  start_at_.reset();
  if (start_server()) return;
  follow(policy_.on_end({.exit_status = 1}), "a successor, which could not be started");
}

/// In the child, which is alone with its one thread.
void Keeper::become_server(int socket, pid_t keeper) const {
  Birth birth;
  birth.socket = socket;
  birth.keeper = keeper;
  birth.life = lives_;
  birth.lock = lock_.get();
  birth.has_manager = manager_.is_there();
  birth.watchdog = options_.hang_limit;
  setenv(Birth::kVariable, birth.encode().c_str(), 1);
  fcntl(socket, F_SETFD, 0);
  if (lock_) fcntl(lock_.get(), F_SETFD, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(1);  // it died before that
  // The others stay blocked: one that is forwarded before the server listens to signals waits.
  sigset_t of_keepers_alone;
  sigemptyset(&of_keepers_alone);
  for (const int signal : {SIGCHLD, SIGUSR2}) sigaddset(&of_keepers_alone, signal);
  sigprocmask(SIG_UNBLOCK, &of_keepers_alone, nullptr);
  execv(program_.c_str(), options_.arguments);
  _exit(127);
}

// --- waiting -------------------------------------------------------------------------------------

int Keeper::wait_milliseconds() const {
  const Nanoseconds now = clock_.now();
  Nanoseconds until = INT64_MAX;
  if (start_at_) until = *start_at_;
  if (const auto limit = manager_.watchdog_interval()) {
    until = std::min(until, told_manager_at_ + *limit / kLooksPerLimit);
  }
  if (server_) until = std::min(until, server_->watch.due());
  if (until == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<Nanoseconds>((until - now) / kMillisecond + 1, 0, INT_MAX));
}

void Keeper::look_at_times() {
  const Nanoseconds now = clock_.now();
  if (const auto limit = manager_.watchdog_interval();
      limit && now - told_manager_at_ >= *limit / kLooksPerLimit) {
    told_manager_at_ = now;
    manager_.alive();
  }
  if (!exit_status_ && start_at_ && now >= *start_at_) start_successor();
  if (server_ && server_->watch.look(now)) {
    log::error("server " + std::to_string(server_->process) + " shows no life for " +
               format_duration(server_->watch.limit()) + ": the keeper kills and replaces it");
    server_->was_asked_to_end = server_->ready_since != 0;
    server_->has_hung_in_start = server_->ready_since == 0;
    kill_server();
  }
}

/// Its end may take a while yet, and is waited for like any other.
void Keeper::kill_server() {
  server_->watch.stop();
  kill(server_->process, SIGKILL);
}

void Keeper::hear_signals() {
  signalfd_siginfo info{};
  while (read(signals_, &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) continue;  // look_for_end()
    if (signal == SIGUSR2) {
      log::info("the keeper replaces the server after SIGUSR2");
      if (server_) {
        server_->was_asked_to_end = true;
        kill_server();
      }
      continue;
    }
    is_stopping_ = is_stopping_ || signal != SIGHUP;
    // A clean stop writes a checkpoint, and may take long.
    if (server_ && is_stopping_) server_->watch.stop();
    // Without a server, SIGHUP has nothing to do: a successor reads its rules anyway.
    if (server_) {
      kill(server_->process, signal);
    } else if (signal != SIGHUP) {
      log::info("the keeper stops after " + name_of(signal) + "; there is no server");
      exit_status_ = 0;
    }
  }
}

// --- what the server says ------------------------------------------------------------------------

void Keeper::hear_server() {
  for (int i = 0; i < kPacketsPerTurn && server_; ++i) {
    auto heard = receive(server_->socket.get(), 0);
    if (!heard) return;
    take(std::move(*heard));
  }
}

void Keeper::take(Heard heard) {
  const Packet& packet = heard.packet;
  switch (static_cast<Kind>(packet.kind)) {
    case Kind::kHold:
      return server_->holdings.hold(packet.ticket, std::move(heard.fd));
    case Kind::kRelease:
      return server_->holdings.release(packet.ticket);
    case Kind::kLock:
      if (!heard.fd) return answer(Kind::kFailed, "no descriptor came with it");
      lock_ = std::move(heard.fd);
      return answer(Kind::kDone, {});
    case Kind::kRoot: {
      auto page = LifePage::map(heard.fd.get(), packet.ticket);
      if (!page) return answer(Kind::kFailed, page.error().message);
      server_->holdings.set_page(std::move(*page));
      return answer(Kind::kDone, {});
    }
    case Kind::kServe:
      return take_over();
    case Kind::kNotify:
      return pass_on(packet.said());
    default:
      return;  // a packet of a newer release
  }
}

/// The order is the argument: the old process has ended, its life ends for readers, and only then
/// the successor hears that it may serve.
void Keeper::take_over() {
  // What has ended cannot serve: the life before stays the one that is believed.
  if (has_ended(server_->process)) return;
  const std::size_t held = believed_.size();
  believed_.let_go();
  server_->serves = true;
  if (server_->life > 1) {
    log::info("life " + std::to_string(server_->life) + " begins to serve; of the life before " +
              std::to_string(held) + " descriptors are closed");
  }
  answer(Kind::kDone, {});
}

void Keeper::answer(Kind kind, const std::string& text) {
  send(server_->socket.get(), kind, 0, text, -1, kReplyPatience);
}

/// Signs of life are for the keeper, which shows its own; the rest is for the service manager.
void Keeper::pass_on(std::string_view lines) {
  const Nanoseconds now = clock_.now();
  server_->watch.on_sign_of_life(now);
  if (lines == kSignOfLife) return;
  if (lines.starts_with("READY=1\n")) {
    server_->ready_since = now;
    server_->watch.on_ready(now);
  }
  if (is_stopping_ || server_->was_asked_to_end || lines.starts_with("STOPPING=1\n")) {
    server_->watch.stop();
  }
  manager_.pass_on(lines);
}

// --- the end of a server -------------------------------------------------------------------------

void Keeper::look_for_end() {
  int status = 0;
  if (!server_) return;
  const pid_t ended = waitpid(server_->process, &status, WNOHANG);
  if (ended < 0 && errno == ECHILD) {
    status = W_EXITCODE(1, 0);  // how it ended was told elsewhere
  } else if (ended != server_->process) {
    return;
  }
  // What it said before.
  while (auto heard = receive(server_->socket.get(), 0)) take(std::move(*heard));
  end_life(status);
}

void Keeper::end_life(int wait_status) {
  const Nanoseconds now = clock_.now();
  Server ended = std::move(*server_);
  server_.reset();
  const LifeEnd end{.exit_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0,
                    .signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0,
                    .was_ready = ended.ready_since != 0,
                    .ready_for = ended.ready_since != 0 ? now - ended.ready_since : 0,
                    .was_asked = ended.was_asked_to_end,
                    .has_hung_in_start = ended.has_hung_in_start};
  const std::string what = "server " + std::to_string(ended.process) + ", life " +
                           std::to_string(ended.life) + ", " + to_string(end);
  Verdict verdict = policy_.on_end(end);
  if (is_stopping_) verdict = {.exit_status = end.signal != 0 ? 1 : end.exit_status};
  // One that never served has no readers; the life before it is still the one that is believed.
  if (ended.serves) believed_ = std::move(ended.holdings);
  follow(verdict, what);
}

/// Does what the policy says. `what`: has ended, or was not started, and how.
void Keeper::follow(const Verdict& verdict, const std::string& what) {
  if (!verdict.restarts) {
    if (verdict.exit_status != 0) {
      log::error(what + "; the keeper ends, and starts no other");
    }
    exit_status_ = verdict.exit_status;
    return;
  }
  if (verdict.lets_go) believed_.let_go();
  start_at_ = clock_.now() + verdict.pause;
  const std::string text =
      what + ": " +
      (believed_.size() != 0 ? "the old memory answers reads over " +
                                   std::to_string(believed_.size()) + " descriptors, and "
                             : std::string()) +
      "a successor starts " +
      (verdict.pause == 0 ? std::string("now") : "in " + format_duration(verdict.pause));
  log::warning(text);
  manager_.status(text);
}

}  // namespace silurus::server::keeper
