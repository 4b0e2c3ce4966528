// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "bench/command_line.h"
#include "bench/modes.h"

namespace silurus::bench {
namespace {

bool is_sensible(const ModesBenchOptions& options) {
  if (options.runs == 0 || !(options.seconds > 0) || options.seconds > 60) return false;
  for (const unsigned clients : options.clients) {
    if (clients == 0 || clients > 1000) return false;
  }
  for (const std::string& edge : options.edges) {
    if (edge == "power-law") continue;
    char* end = nullptr;
    const double value = std::strtod(edge.c_str(), &end);
    if (*end != '\0' || !(value >= 1e-9 && value <= 1)) return false;
  }
  return options.server_url.empty() == options.tcp_url.empty();
}

}  // namespace

int modes_command(int argc, char** argv, const std::string& command_line) {
  ModesBenchOptions chosen;
  CommandLine line("silurus-bench modes",
                   "Compares TCP, messaging, offloading and adaptive access to a server");
  line.option("data", "what the server loads (silurus-server --load)", chosen.data);
  line.option("edges", "of query windows; power-law is a mix", chosen.edges);
  line.option("clients", "numbers of clients, each with one operation in flight", chosen.clients);
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seconds", "that one run takes", chosen.seconds);
  line.option("seed", "of queries", chosen.seed);
  line.option("server", "a running server, instead of one of our own (with --tcp)",
              chosen.server_url, "URL");
  line.option("tcp", "the same server, or its like, over TCP", chosen.tcp_url, "URL");
  return line.measure(
      argc, argv, command_line,
      {.sensible = [&] { return is_sensible(chosen); },
       .rule = "--clients are numbers from 1 to 1000, --edges numbers from 1e-9 to 1 or power-law, "
               "--runs at least 1, --seconds at most 60; --server and --tcp go together",
       .run = [&](Report& report) { return run_modes(chosen, report); }});
}

}  // namespace silurus::bench
