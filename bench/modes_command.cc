#include <cstdio>
#include <cxxopts.hpp>
#include <string>

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
  std::vector<std::string> edges;
  std::vector<unsigned> clients;
  std::string json;
  cxxopts::Options options("silurus-bench modes",
                           "Compares TCP, messaging, offloading and adaptive access to a server");
  options.add_options()                                                                       //
      ("data", "what the server loads (silurus-server --load)", cxxopts::value(chosen.data))  //
      ("edges", "of query windows; power-law is a mix", cxxopts::value(edges))                //
      ("clients", "numbers of clients, each with one operation in flight",
       cxxopts::value(clients))                                          //
      ("runs", "of each measurement", cxxopts::value(chosen.runs))       //
      ("seconds", "that one run takes", cxxopts::value(chosen.seconds))  //
      ("seed", "of queries", cxxopts::value(chosen.seed))                //
      ("server", "a running server, instead of one of our own (with --tcp)",
       cxxopts::value(chosen.server_url), "URL")                                                //
      ("tcp", "the same server, or its like, over TCP", cxxopts::value(chosen.tcp_url), "URL")  //
      ("json", "write the rows to FILE", cxxopts::value(json), "FILE")                          //
      ("h,help", "print this text");
  try {
    const auto given = options.parse(argc, argv);
    if (!edges.empty()) chosen.edges = edges;
    if (!clients.empty()) chosen.clients = clients;
    if (given.count("help") != 0) {
      std::printf("%s", options.help().c_str());
      return 0;
    }
    if (!given.unmatched().empty() || !is_sensible(chosen)) {
      std::fprintf(
          stderr,
          "silurus-bench modes: --clients are numbers from 1 to 1000, --edges numbers from "
          "1e-9 to 1 or power-law, --runs at least 1, --seconds at most 60; --server and "
          "--tcp go together; there are no other arguments\n");
      return 2;
    }
  } catch (const cxxopts::exceptions::exception& error) {
    std::fprintf(stderr, "silurus-bench modes: %s\n", error.what());
    return 2;
  }
  Report report(command_line);
  Status done = run_modes(chosen, report);
  report.print_summary();
  if (done && !json.empty()) done = report.write_json(json);
  if (!done) {
    std::fprintf(stderr, "silurus-bench modes: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}

}  // namespace silurus::bench
