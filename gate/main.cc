// SPDX-License-Identifier: Apache-2.0

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "common/durable_file.h"
#include "common/log.h"
#include "gate/client_source.h"
#include "gate/http_server.h"
#include "gate/options.h"
#include "gate/service.h"

// silurus-gate: exit status 0 after a clean stop, 1 if it cannot listen, 2 for wrong usage.

namespace {

constexpr int kCannotServe = 1;
constexpr int kWrongUsage = 2;

int complain(const std::string& message, int status) {
  std::fprintf(stderr, "silurus-gate: %s\n", message.c_str());
  return status;
}

/// Signals that end the program. Before any thread is started, so that all leave them to main().
sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// One descriptor for each connection.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const silurus::gate::RunCommand& command) {
  const sigset_t signals = block_stop_signals();
  allow_many_descriptors();
  silurus::gate::HttpCounters counters;
  silurus::gate::Service service(command.service, counters);
  const auto server = silurus::gate::HttpServer::start(
      command.http, counters,
      [&] { return std::make_unique<silurus::gate::ClientSource>(command.server, command.client); },
      [&](const silurus::gate::HttpRequest& request, silurus::gate::Source& source) {
        return service.answer(request, source);
      });
  if (!server) return complain(server.error().message, kCannotServe);
  const bool is_ipv6 = command.http.address.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? "[" + command.http.address + "]" : command.http.address;
  const std::string address = "http://" + host + ":" + std::to_string((*server)->port());
  if (!command.ready_file.empty()) {
    if (const auto ok = silurus::write_durably(command.ready_file, address + "\n", 0666); !ok) {
      return complain(ok.error().message, kCannotServe);
    }
  }
  std::printf("listening on %s\n", address.c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  silurus::log::info("stopping after signal " + std::to_string(signal));
  if (!command.ready_file.empty()) std::remove(command.ready_file.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = silurus::gate::parse_command({argv + 1, argv + argc});
  if (!command) {
    return complain(command.error().message + "\nTry 'silurus-gate --help'.", kWrongUsage);
  }
  if (const auto* print = std::get_if<silurus::gate::PrintCommand>(&*command)) {
    std::fputs(print->text.c_str(), stdout);
    return 0;
  }
  return run(std::get<silurus::gate::RunCommand>(*command));
}
